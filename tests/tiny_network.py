"""A network small enough to be converted in a second, whose weights all differ from their initial values."""

import numpy as np

from tfmisr import models


def tiny_network(name="cnn5", scale=2, channels=1, seed=0, **kwargs):
    """Returns a network of 4 filters whose batch normalisations all do something, and whose residual is small."""
    network = models.create(name, scale, channels, num_filters=4, **kwargs)
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        size = 0.02 if "output_conv" in weight.path else 0.2
        start = 1.0 if weight.name in ("gamma", "moving_variance") else 0.0
        weight.assign(start + size * rng.uniform(-1, 1, weight.shape))
    return network


def picture(height, width, channels=1, seed=0):
    """Returns a float32 image in [0, 1] of smooth shapes, edges and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = 0.5 + 0.3 * np.sin(x / 9) * np.cos(y / 7) + 0.1 * np.sign(np.sin((x + y) / 11))
    image = image[..., None] + rng.normal(0, 0.01, (height, width, channels))
    return np.clip(image, 0, 1).astype(np.float32)


def write_tflite(path, network, flavor="float32", tile=32, **run_fields):
    """Converts a network and writes it with its card, as `python -m tfmisr.export` does."""
    from tfmisr.edge import card
    from tfmisr.export import cards, convert
    from tfmisr.inference import upscalers

    subgraph = convert.exported_subgraph(network, flavor)
    channels = network.input_shape[-1]
    content = convert.to_tflite(subgraph, flavor, tile, lambda: samples(channels))
    radius = upscalers.receptive_radius(subgraph.network)
    described = cards.describe("tiny", flavor, subgraph, models.scale_of(network), tile, radius, run_fields)
    path.write_bytes(card.attach(content, described))
    return path


def samples(channels=1):
    """Yields images to calibrate on, of the whole range."""
    from tfmisr.export import calibration

    for seed in range(4):
        yield picture(32, 32, channels, seed)
    yield calibration.pyramid((32, 32, channels))
