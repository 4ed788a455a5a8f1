"""Attention and global pooling layers. Images cannot be cut into tiles for a network with one of them.

Sums over a whole image are computed in float32 under every dtype policy.
"""

import keras
from keras import ops

from tfmisr import layers
from tfmisr.layers.receptive_field import ReceptiveField

_EPSILON = 1e-6  # added to variances, which are 0 for the features of a black patch


@keras.saving.register_keras_serializable("tfmisr")
class ContrastPooling(keras.layers.Layer):
    """Contrast pooling: mean plus standard deviation of each channel over the image.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, 1, 1, channels)`.

    Reference:
        Hui et al., Lightweight Image Super-Resolution with Information Multi-distillation Network, ACM MM 2019,
        https://arxiv.org/abs/1909.11856
    """

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        mean = ops.mean(x, (1, 2), keepdims=True)
        variance = ops.mean(ops.square(x - mean), (1, 2), keepdims=True)
        return ops.cast(mean + ops.sqrt(variance + _EPSILON), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1, 1, input_shape[3])

    def receptive_field(self, inputs: ReceptiveField) -> None:
        """Returns `None`, the whole image."""
        return None


@keras.saving.register_keras_serializable("tfmisr")
class CovariancePooling(keras.layers.Layer):
    """Global covariance pooling: row means of the square root of the channels' covariance matrix.

    The matrix square root is computed by the Newton-Schulz iteration, which needs matrix products only.

    Args:
        iterations: Number of Newton-Schulz iterations.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, 1, 1, channels)`.

    Reference:
        Li et al., Towards Faster Training of Global Covariance Pooling Networks by Iterative Matrix Square Root
        Normalization, CVPR 2018, https://arxiv.org/abs/1712.01034
    """

    def __init__(self, iterations: int = 5, **kwargs):
        super().__init__(**kwargs)
        self.iterations = iterations

    def call(self, inputs):
        channels = inputs.shape[-1]
        x = ops.reshape(ops.cast(inputs, "float32"), (-1, _num_pixels(inputs), channels))
        x = x - ops.mean(x, 1, keepdims=True)
        rows = ops.transpose(x, (0, 2, 1))
        covariance = ops.matmul(rows, x) / ops.cast(_num_pixels(inputs), "float32")
        pooled = ops.mean(self._root(covariance, channels), 1)
        return ops.cast(ops.reshape(pooled, (-1, 1, 1, channels)), self.compute_dtype)

    def _root(self, covariance, channels):
        unit = ops.eye(channels, dtype="float32")
        trace = ops.sum(covariance * unit, (1, 2), keepdims=True) + _EPSILON
        y, z = covariance / trace, None
        for _ in range(self.iterations):
            half = 1.5 * unit - 0.5 * (y if z is None else ops.matmul(z, y))
            y, z = ops.matmul(y, half), half if z is None else ops.matmul(half, z)
        return y * ops.sqrt(trace)

    def multiply_adds(self, input_shape: tuple) -> int:
        """Returns the multiply-adds of one image; see `tfmisr.models._cost`."""
        _, height, width, channels = input_shape
        products = 3 * self.iterations - 3  # the first iteration needs one product, the last does not update `z`
        return height * width * channels**2 + products * channels**3

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1, 1, input_shape[3])

    def receptive_field(self, inputs: ReceptiveField) -> None:
        """Returns `None`, the whole image."""
        return None

    def get_config(self):
        return {**super().get_config(), "iterations": self.iterations}


def _num_pixels(x):
    shape = ops.shape(x)
    return shape[1] * shape[2]


@keras.saving.register_keras_serializable("tfmisr")
class RegionAttention(keras.layers.Layer):
    """Non-local attention inside each region: every pixel becomes a similarity-weighted average of its region.

    Called with queries and keys `(batch, height, width, depth)` and values `(batch, height, width, channels)`. Regions
    at the lower or right edge may have fewer pixels.

    Args:
        region: Side of a region in pixels.

    Output shape: that of the values.

    Reference:
        Wang et al., Non-local Neural Networks, CVPR 2018, https://arxiv.org/abs/1711.07971
    """

    def __init__(self, region: int, **kwargs):
        super().__init__(**kwargs)
        self.region = region

    def call(self, query, key, value):
        query, key, value = (ops.cast(x, "float32") for x in (query, key, value))
        height, width = ops.shape(value)[1:3]
        inside = ops.transpose(self._split(ops.ones_like(value[..., :1])), (0, 2, 1))
        similarity = ops.matmul(self._split(query), ops.transpose(self._split(key), (0, 2, 1)))
        weights = ops.softmax(similarity + (inside - 1.0) * 1e9, axis=-1)
        attended = ops.matmul(weights, self._split(value))
        return ops.cast(self._merge(attended, height, width), self.compute_dtype)

    def _split(self, x):
        """Returns (batch * regions, region * region, depth), zero-padded beyond the image."""
        side, depth = self.region, x.shape[-1]
        height, width = ops.shape(x)[1:3]
        x = _pad(x, -height % side, -width % side)
        across = -(-width // side)
        x = ops.reshape(x, (-1, side, across, side * depth))
        return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, side * side, depth))

    def _merge(self, x, height, width):
        """Returns the inverse of `_split`: (batch, height, width, depth)."""
        side, depth = self.region, x.shape[-1]
        down, across = -(-height // side), -(-width // side)
        x = ops.reshape(x, (-1, across, side, side * depth))
        x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, down * side, across * side, depth))
        return x[:, :height, :width]

    def multiply_adds(self, query_shape: tuple, key_shape: tuple, value_shape: tuple) -> int:
        """Returns the multiply-adds of one image; see `tfmisr.models._cost`."""
        down, across = (-(-side // self.region) for side in value_shape[1:3])
        return down * across * self.region**4 * (query_shape[3] + value_shape[3])

    def compute_output_shape(self, query_shape, key_shape, value_shape):
        return value_shape

    def receptive_field(self, inputs: ReceptiveField) -> None:
        """Returns `None`, the whole image: the regions lie on a grid that begins at its corner."""
        return None

    def get_config(self):
        return {**super().get_config(), "region": self.region}


def _pad(x, below, right):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # `keras.ops.pad` takes no symbolic amounts, which depend on the image's size.
        return tf.pad(x, [[0, 0], [0, below], [0, right], [0, 0]])
    return ops.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))


@keras.saving.register_keras_serializable("tfmisr")
class BilinearResizing(keras.layers.Layer):
    """Resizes a map to the height and width of another by bilinear interpolation on half-pixel centers.

    Called with the map and the other one, both `(batch, height, width, channels)`. Its gradient has no XLA kernel.

    Output shape: `(batch, height, width, channels)`, height and width of the other.
    """

    def call(self, inputs, like):
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            resized = tf.image.resize(inputs, tf.shape(like)[1:3], "bilinear")
        else:
            resized = ops.image.resize(inputs, ops.shape(like)[1:3], "bilinear")
        return ops.cast(resized, self.compute_dtype)

    def compute_output_shape(self, inputs_shape, like_shape):
        return (inputs_shape[0], *like_shape[1:3], inputs_shape[3])

    def receptive_field(self, inputs: ReceptiveField) -> None:
        """Returns `None`, the whole image: the factor depends on its size."""
        return None


@keras.saving.register_keras_serializable("tfmisr")
class WeightedSum(keras.layers.Layer):
    """Adds a second tensor times one learned scalar, initialized to 0, to a first one of the same shape."""

    def build(self, inputs_shape, source_shape):
        self.weight = self.add_weight((), "zeros", name="weight")

    def call(self, inputs, source):
        return inputs + self.weight * source

    def compute_output_shape(self, inputs_shape, source_shape):
        return inputs_shape

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField:
        """Returns `inputs`: each pixel is processed alone."""
        return inputs


def channel_gate(x: keras.KerasTensor, pooled: keras.KerasTensor, reduced: int, name: str) -> keras.KerasTensor:
    """Returns `x` with each channel weighted from 0 to 1 (channel attention: two 1x1 convolutions of `pooled`).

    Args:
        x: Tensor `(batch, height, width, channels)`.
        pooled: Tensor `(batch, 1, 1, channels)`.
        reduced: Channels between the two convolutions.
        name: Prefix of the layers' names.
    """
    y = layers.conv(reduced, f"{name}_squeeze", kernel_size=1)(pooled)
    y = keras.layers.ReLU(name=f"{name}_relu")(y)
    y = layers.conv(x.shape[-1], f"{name}_excite", kernel_size=1)(y)
    y = keras.layers.Activation("sigmoid", name=f"{name}_sigmoid")(y)
    return keras.layers.Multiply(name=f"{name}_weighted")([x, y])
