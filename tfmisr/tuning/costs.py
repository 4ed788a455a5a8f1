"""The cost of a network: parameters, multiply-adds and latency, measured before it is trained."""

import pathlib

import keras

from tfmisr.edge.files import atomic_write

SIDE = 512  # pixels of the upscaled image that multiply-adds are counted for
_ROUNDS = 30


def count(network: keras.Model, scale: int) -> dict[str, int]:
    """Returns `parameters`, and `multiply_adds` for one upscaled image of 512x512 pixels."""
    from tfmisr.models import _cost

    return {
        "parameters": network.count_params(),
        "multiply_adds": _cost.multiply_adds(network, SIDE // scale, SIDE // scale),
    }


def window_ms(network: keras.Model, scale: int, tile: int, path: pathlib.Path) -> float:
    """Returns the median latency of one tile in LiteRT, float32, one thread, on this machine, in milliseconds.

    Args:
        network: Keras network in float32.
        scale: Upsampling factor.
        tile: Side of the tile in low-resolution pixels.
        path: Path of the `.tflite` file that is written and measured.
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
