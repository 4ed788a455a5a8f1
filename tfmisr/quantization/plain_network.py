"""Networks that are one row of convolutions and add to the interpolation: what can be told and done of these alone."""

import keras
import numpy as np

from tfmisr import layers
from tfmisr.edge import dihedral
from tfmisr.edge.deprecation import renamed


def convolutions(network: keras.Model) -> list | None:
    """Returns the convolutions of such a network, the one that makes the image last; `None` for another network.

    It has a ReLU behind each convolution but the last and ends as `layers.global_residual` does.
    """
    found = [layer for layer in network.layers if type(layer) is keras.layers.Conv2D]
    expected = [keras.layers.InputLayer, *[keras.layers.Conv2D, keras.layers.ReLU] * (len(found) - 1)]
    expected += [keras.layers.Conv2D, layers.DepthToSpace, layers.BicubicUpsampling, keras.layers.Add]
    kinds = [type(layer) for layer in network.layers]
    return found if found and sorted(map(str, kinds)) == sorted(map(str, expected)) else None


def merge_self_ensemble(network: keras.Model, ways: int) -> keras.Model:
    """Returns a network that gives the mean over orientations of its input of what a row of convolutions gives.

    A convolution of a turned image is one with a turned kernel, so the row stands there once for each orientation, and
    one last convolution reads all of them. It takes `ways` times as long.

    Args:
        network: See `convolutions`.
        ways: Number of orientations, 2 to 8; the first two are half a turn apart, 4 are all that keep the sides.

    Reference:
        Timofte, Rothe and Van Gool, Seven Ways to Improve Example-Based Single Image Super Resolution, CVPR 2016,
        https://arxiv.org/abs/1511.02228
    """
    *hidden, last = convolutions(network)
    relus = [layer for layer in network.layers if type(layer) is keras.layers.ReLU]
    chosen = dihedral.TRANSFORMS[:ways]
    towers = [_tower(network.input, hidden, relus, way) for way in chosen]
    (kernel, bias), scale = last.get_weights(), network.get_layer("output_shuffle").scale
    x = keras.layers.Concatenate(name="orientations")(towers)
    kernel = np.concatenate([_lying(kernel, scale, way) for way in chosen], 2) / ways
    bias = np.mean([_turned_places(bias, scale, way) for way in chosen], 0)
    x = _added(last, "", x, kernel, bias)
    return keras.Model(network.input, layers.global_residual_shuffled(x, network.input, scale), name=network.name)


def _tower(x, hidden, relus, way):
    for conv, relu in zip(hidden, relus, strict=True):
        kernel, bias = conv.get_weights()
        x = _added(conv, f"_way{way}", x, dihedral.invert_dihedral(kernel, way), bias)
        x = type(relu).from_config({**relu.get_config(), "name": f"{relu.name}_way{way}"})(x)
    return x


def _added(conv, ending, x, *weights):
    """Returns what a convolution with other weights makes of `x`."""
    layer = keras.layers.Conv2D.from_config({**conv.get_config(), "name": conv.name + ending})
    x = layer(x)
    layer.set_weights(weights)
    return x


def _lying(kernel, scale, way):
    return _turned_places(dihedral.invert_dihedral(kernel, way), scale, way)


def _turned_places(values, scale, way):
    """Returns values, whose last axis is the channels before a shuffle, with the shuffle's rows and columns turned."""
    apart = np.moveaxis(values.reshape(*values.shape[:-1], scale, scale, -1), (-3, -2), (0, 1))
    return np.moveaxis(dihedral.invert_dihedral(apart, way), (0, 1), (-3, -2)).reshape(values.shape)


__getattr__ = renamed(__name__, folded="merge_self_ensemble")
