"""Plain (chain) networks with a global bicubic residual: access to their layers, and self-ensemble merging."""

import keras
import numpy as np

from tfmisr import layers
from tfmisr.edge import dihedral
from tfmisr.edge.deprecation import renamed


def convolutions(network: keras.Model) -> list[keras.layers.Conv2D] | None:
    """Returns the convolutions of a plain network, the output convolution last; `None` for another network.

    A plain network has a ReLU behind each convolution but the last and ends as `layers.global_residual` does.
    """
    convs = [layer for layer in network.layers if type(layer) is keras.layers.Conv2D]
    expected = [keras.layers.InputLayer, *[keras.layers.Conv2D, keras.layers.ReLU] * (len(convs) - 1)]
    expected += [keras.layers.Conv2D, layers.DepthToSpace, layers.BicubicUpsampling, keras.layers.Add]
    classes = [type(layer) for layer in network.layers]
    return convs if convs and sorted(map(str, classes)) == sorted(map(str, expected)) else None


def merge_self_ensemble(network: keras.Model, num_transforms: int) -> keras.Model:
    """Returns one network that computes the geometric self-ensemble of a plain network.

    Convolving a flipped or rotated image is convolving the image with a flipped or rotated kernel. So the merged
    network has one branch of convolutions for each transform, and one last convolution that averages them. It takes
    `num_transforms` times as long.

    Args:
        network: A plain network; see `convolutions`.
        num_transforms: Number of dihedral transforms, 2 to 8, in the order of `dihedral.TRANSFORMS`: the first two are
            half a turn apart, the first four keep height and width.

    Reference:
        Timofte, Rothe and Van Gool, Seven Ways to Improve Example-Based Single Image Super Resolution, CVPR 2016,
        https://arxiv.org/abs/1511.02228
    """
    *hidden, last = convolutions(network)
    relus = [layer for layer in network.layers if type(layer) is keras.layers.ReLU]
    transforms = dihedral.TRANSFORMS[:num_transforms]
    branches = [_branch(network.input, hidden, relus, index) for index in transforms]
    (kernel, bias), scale = last.get_weights(), network.get_layer("output_shuffle").scale
    x = keras.layers.Concatenate(name="orientations")(branches)
    kernel = np.concatenate([_transformed_output_kernel(kernel, scale, i) for i in transforms], 2) / num_transforms
    bias = np.mean([_transformed_positions(bias, scale, index) for index in transforms], 0)
    x = _with_weights(last, "", x, kernel, bias)
    return keras.Model(network.input, layers.global_residual_shuffled(x, network.input, scale), name=network.name)


def _branch(x, hidden, relus, transform_index):
    """Returns the features of the transformed image, transformed back."""
    for conv, relu in zip(hidden, relus, strict=True):
        kernel, bias = conv.get_weights()
        kernel = dihedral.invert_dihedral(kernel, transform_index)
        x = _with_weights(conv, f"_way{transform_index}", x, kernel, bias)
        x = type(relu).from_config({**relu.get_config(), "name": f"{relu.name}_way{transform_index}"})(x)
    return x


def _with_weights(conv, suffix, x, *weights):
    """Returns the output for `x` of a convolution like `conv` with other weights and a suffix to its name."""
    layer = keras.layers.Conv2D.from_config({**conv.get_config(), "name": conv.name + suffix})
    x = layer(x)
    layer.set_weights(weights)
    return x


def _transformed_output_kernel(kernel, scale, transform_index):
    return _transformed_positions(dihedral.invert_dihedral(kernel, transform_index), scale, transform_index)


def _transformed_positions(values, scale, transform_index):
    """Returns values for the channels before a pixel shuffle, its sub-pixel positions transformed."""
    positions = np.moveaxis(values.reshape(*values.shape[:-1], scale, scale, -1), (-3, -2), (0, 1))
    positions = dihedral.invert_dihedral(positions, transform_index)
    return np.moveaxis(positions, (0, 1), (-3, -2)).reshape(values.shape)


__getattr__ = renamed(__name__, folded="merge_self_ensemble")
