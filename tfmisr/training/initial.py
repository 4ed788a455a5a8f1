"""Initial weights of a run: those of another run or of a `.tflite` file, or function-preserving deepening (Net2Net).

Net2DeeperNet of Chen et al., Net2Net: Accelerating Learning via Knowledge Transfer, ICLR 2016,
https://arxiv.org/abs/1511.05641: layers that the deeper network adds are initialized as the identity, here with small
random values, so that the deeper network computes nearly the same function.
"""

import os
import pathlib

import keras

from tfmisr.config.initial_weights import path_of
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError

_SHARE = 0.05  # of He-initialized random values that an added layer has beside the identity
_OUTPUT = "output_conv"  # starts at zero where it is new: the network is then the bicubic interpolation


def load(network: keras.Model, path: str | os.PathLike) -> None:
    """Initializes `network` with the weights of the same network, or of a shallower one (Net2Net).

    Deepening needs every layer of the shallower network in `network`, with the same name and shape, and added layers
    with a `NearIdentity` initializer, as `plain` has them. The output convolution may differ: for another scale it
    keeps its own initialization.

    Args:
        network: The network to train.
        path: A run's directory, a `.keras` or `.tflite` file, or the name of a model that comes with the package. The
            weights of an integer file are dequantized, and its clipping thresholds are lost; a file of a self-ensemble
            gives the network of its first branch.

    Raises:
        InputError: The weights are those of a network that does not match.
    """
    source = _network_of(path_of(path))
    shapes, source_shapes = ([(w.name, tuple(w.shape)) for w in model.weights] for model in (network, source))
    if shapes == source_shapes:
        network.set_weights(source.get_weights())
    elif source.name != network.name or not _deepen(network, source):
        raise InputError(
            f"initial_weights must be those of the network {network.name} of the same size, scale and channels, or of "
            f"a shallower one that can be deepened. Received: {path} with {source.name}, {len(source_shapes)} arrays "
            f"where {len(shapes)} are expected" + (", or of other shapes" if len(shapes) == len(source_shapes) else "")
        )


def _network_of(path: pathlib.Path) -> keras.Model:
    if path.suffix == ".tflite":
        from tfmisr.training import tflite_weights

        return tflite_weights.network(path)
    from tfmisr import models

    return models.load(path)


def _deepen(network, source) -> bool:
    """Makes `network` compute nearly what the shallower `source` does; returns false where that is impossible."""
    weights_of = {layer.name: layer.get_weights() for layer in source.layers if layer.weights}
    for layer in (layer for layer in network.layers if layer.weights):
        weights = weights_of.pop(layer.name, None) or _near_identity(layer)
        if not _fits(layer, weights) and layer.name == _OUTPUT:
            weights = layer.get_weights() if weights[0].shape[:3] == layer.kernel.shape[:3] else None
        if not _fits(layer, weights):
            return False
        layer.set_weights(weights)
    return not weights_of


def _near_identity(layer) -> list | None:
    """Returns a kernel that is the identity plus small random values, and a zero bias; `None` for other layers."""
    from tfmisr.layers.upsampling import NearIdentity

    if not isinstance(getattr(layer, "kernel_initializer", None), NearIdentity):
        return None
    kernel, bias = layer.get_weights()
    return [NearIdentity(_SHARE)(kernel.shape), 0 * bias]


def _fits(layer, weights) -> bool:
    return weights is not None and [w.shape for w in weights] == [tuple(w.shape) for w in layer.weights]


__getattr__ = renamed(__name__, digest="tfmisr.config.initial_weights.digest")
