"""The standard feature network of FID and KID: Inception v3 of 2015-12-05, with the weights of TensorFlow 1.

Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, NIPS 2017,
https://arxiv.org/abs/1706.08500. It differs from Keras Applications' Inception v3 in its weights and in the pooling of
its last block, and its input is resized as in TensorFlow 1. Names of tensors are those of torchvision.
"""

import keras
import numpy as np

from tfmisr.edge.errors import InputError

SIDE = 299


class Inception:
    """Maps an image to 2048 features.

    Args:
        tensors: Tensors by torchvision's names, as in `weights-inception-2015-12-05-6726825d.pth`.

    Raises:
        InputError: The tensors are those of another network.
    """

    def __init__(self, tensors: dict[str, np.ndarray]):
        self.network, names = _network()
        try:
            values = [_weights_of(tensors, name) for name in names]
            for name, weights in zip(names, values, strict=True):
                layer = name.replace(".", "_")  # no dots in Keras's names
                self.network.get_layer(layer).set_weights(weights[:1])
                self.network.get_layer(f"{layer}_bn").set_weights(weights[1:])
        except (KeyError, ValueError) as error:
            raise InputError(f"expected weights of Inception v3, found others: {error}") from error

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns the features of an image `(height, width, 3)` in [0, 1], in float64."""
        # As in the graph of 2015: 0 to 255, minus 128.
        inputs = (resize(image * 255.0, SIDE) - 128) / 128
        return np.asarray(self.network(inputs[None].astype(np.float32), training=False), np.float64)[0]


def resize(image: np.ndarray, side: int) -> np.ndarray:
    """Returns `(side, side, channels)`, bilinear as in TensorFlow 1: no half-pixel centers, no antialiasing.

    Published values of FID and KID depend on this resizing.
    """
    for axis in (0, 1):
        length = image.shape[axis]
        position = np.arange(side) * (length / side)
        low = np.floor(position).astype(int)
        fraction = np.expand_dims(position - low, (1, 2) if axis == 0 else (0, 2))
        first, second = (np.take(image, np.minimum(low + i, length - 1), axis) for i in (0, 1))
        image = first + (second - first) * fraction
    return image


def _weights_of(tensors, name):
    kernel = np.transpose(tensors[f"{name}.conv.weight"], (2, 3, 1, 0))
    return [kernel, *(tensors[f"{name}.bn.{end}"] for end in ("weight", "bias", "running_mean", "running_var"))]


def _network():
    """Returns the network and the names of its convolutions."""
    names = []

    def conv(x, name, filters, kernel=1, strides=1, padding="same"):
        names.append(name)
        layer = name.replace(".", "_")
        x = keras.layers.Conv2D(filters, kernel, strides, padding, use_bias=False, name=layer, dtype="float32")(x)
        x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{layer}_bn", dtype="float32")(x)
        return keras.layers.ReLU(dtype="float32")(x)

    x = inputs = keras.Input((SIDE, SIDE, 3))
    x = conv(x, "Conv2d_1a_3x3", 32, 3, 2, "valid")
    x = conv(x, "Conv2d_2a_3x3", 32, 3, 1, "valid")
    x = conv(x, "Conv2d_2b_3x3", 64, 3)
    x = conv(_max_pool(x), "Conv2d_3b_1x1", 80)
    x = _max_pool(conv(x, "Conv2d_4a_3x3", 192, 3, 1, "valid"))
    for block, features in (("5b", 32), ("5c", 64), ("5d", 64)):
        x = _block_a(conv, x, f"Mixed_{block}", features)
    x = _block_b(conv, x, "Mixed_6a")
    for block, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        x = _block_c(conv, x, f"Mixed_{block}", width)
    x = _block_d(conv, x, "Mixed_7a")
    x = _block_e(conv, x, "Mixed_7b", keras.layers.AveragePooling2D)
    x = _block_e(conv, x, "Mixed_7c", keras.layers.MaxPooling2D)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(dtype="float32")(x)), names


def _max_pool(x):
    return keras.layers.MaxPooling2D(3, 2, dtype="float32")(x)


def _concatenate(*branches):
    return keras.layers.Concatenate(dtype="float32")(branches)


def _pool_same(x, pooling=keras.layers.AveragePooling2D):
    return pooling(3, 1, "same", dtype="float32")(x)


def _block_a(conv, x, name, features):
    wide = conv(conv(x, f"{name}.branch5x5_1", 48), f"{name}.branch5x5_2", 64, 5)
    double = conv(conv(x, f"{name}.branch3x3dbl_1", 64), f"{name}.branch3x3dbl_2", 96, 3)
    double = conv(double, f"{name}.branch3x3dbl_3", 96, 3)
    return _concatenate(
        conv(x, f"{name}.branch1x1", 64), wide, double, conv(_pool_same(x), f"{name}.branch_pool", features)
    )


def _block_b(conv, x, name):
    double = conv(conv(x, f"{name}.branch3x3dbl_1", 64), f"{name}.branch3x3dbl_2", 96, 3)
    double = conv(double, f"{name}.branch3x3dbl_3", 96, 3, 2, "valid")
    return _concatenate(conv(x, f"{name}.branch3x3", 384, 3, 2, "valid"), double, _max_pool(x))


def _block_c(conv, x, name, width):
    single, double = conv(x, f"{name}.branch7x7_1", width), conv(x, f"{name}.branch7x7dbl_1", width)
    single = conv(single, f"{name}.branch7x7_2", width, (1, 7))
    single = conv(single, f"{name}.branch7x7_3", 192, (7, 1))
    for number, kernel in ((2, (7, 1)), (3, (1, 7)), (4, (7, 1)), (5, (1, 7))):
        double = conv(double, f"{name}.branch7x7dbl_{number}", 192 if number == 5 else width, kernel)
    return _concatenate(
        conv(x, f"{name}.branch1x1", 192), single, double, conv(_pool_same(x), f"{name}.branch_pool", 192)
    )


def _block_d(conv, x, name):
    first = conv(conv(x, f"{name}.branch3x3_1", 192), f"{name}.branch3x3_2", 320, 3, 2, "valid")
    second = conv(conv(x, f"{name}.branch7x7x3_1", 192), f"{name}.branch7x7x3_2", 192, (1, 7))
    second = conv(second, f"{name}.branch7x7x3_3", 192, (7, 1))
    second = conv(second, f"{name}.branch7x7x3_4", 192, 3, 2, "valid")
    return _concatenate(first, second, _max_pool(x))


def _block_e(conv, x, name, pooling):
    single = conv(x, f"{name}.branch3x3_1", 384)
    double = conv(conv(x, f"{name}.branch3x3dbl_1", 448), f"{name}.branch3x3dbl_2", 384, 3)
    branches = [conv(x, f"{name}.branch1x1", 320)]
    for start, branch in ((single, "3x3_2"), (double, "3x3dbl_3")):
        branches.append(conv(start, f"{name}.branch{branch}a", 384, (1, 3)))
        branches.append(conv(start, f"{name}.branch{branch}b", 384, (3, 1)))
    return _concatenate(*branches, conv(_pool_same(x, pooling), f"{name}.branch_pool", 192))
