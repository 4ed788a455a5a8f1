"""What a network costs, before it is trained."""

from tfmisr.edge.files import atomic_write

SIDE = 512  # of the enlarged image that multiply-adds are counted for
_ROUNDS = 30


def count(network, scale: int) -> dict:
    """Returns `parameters`, and `multiply_adds` for one image of 512x512 pixels after the enlargement."""
    from tfmisr.models import _cost

    return {
        "parameters": network.count_params(),
        "multiply_adds": _cost.multiply_adds(network, SIDE // scale, SIDE // scale),
    }


def window_ms(network, scale: int, tile: int, path) -> float:
    """Returns the median milliseconds of one window in LiteRT, float32, one thread, on this machine.

    Args:
        network: Keras network in float32.
        scale: Upsampling factor.
        tile: Side of the window in low-resolution pixels.
        path: Where the `.tflite` file is written.
    """
    from tfmisr.edge import card
    from tfmisr.export import benchmark, cards, convert
    from tfmisr.inference import upscalers

    core = convert.exported_subgraph(convert.in_float32(network), "float32")
    radius = upscalers.receptive_radius(core.network)
    described = cards.describe("trial", "float32", core, scale, tile, radius, {})
    with atomic_write(path) as temporary:
        temporary.write_bytes(card.attach(convert.to_tflite(core, "float32", tile), described))
    return benchmark.measure([path], threads=[1], rounds=_ROUNDS)["models"][0]["window_ms"]
