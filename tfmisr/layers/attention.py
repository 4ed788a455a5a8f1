"""Layers by which a pixel sees far beyond its neighbours. A network with one of them cannot be cut into tiles.

What is summed over a whole image is worked out in float32 whatever the policy.
"""

import keras
from keras import ops

from tfmisr import layers
from tfmisr.layers.receptive_field import ReceptiveField

_EPSILON = 1e-6  # of a variance: features of a black patch have none


@keras.saving.register_keras_serializable("tfmisr")
class ContrastPooling(keras.layers.Layer):
    """Mean plus standard deviation of each channel over the image.

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
    """Means of the rows of the square root of the channels' covariance matrix.

    The root comes from Newton's and Schulz's iteration, of products of matrices alone.

    Args:
        iterations: Of Newton and Schulz.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, 1, 1, channels)`.

    Reference:
        Li et al., Towards Faster Training of Global Covariance Pooling Networks by Iterative Matrix Square Root
        Normalization, CVPR 2018, https://arxiv.org/abs/1712.01034
    """

    def __init__(self, iterations=5, **kwargs):
        super().__init__(**kwargs)
        self.iterations = iterations

    def call(self, inputs):
        channels = inputs.shape[-1]
        x = ops.reshape(ops.cast(inputs, "float32"), (-1, _places(inputs), channels))
        x = x - ops.mean(x, 1, keepdims=True)
        rows = ops.transpose(x, (0, 2, 1))
        covariance = ops.matmul(rows, x) / ops.cast(_places(inputs), "float32")
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

    def multiply_adds(self, input_shape):
        _, height, width, channels = input_shape
        products = 3 * self.iterations - 3  # the first iteration needs one, the last leaves `z` out
        return height * width * channels**2 + products * channels**3

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1, 1, input_shape[3])

    def receptive_field(self, inputs: ReceptiveField) -> None:
        """Returns `None`, the whole image."""
        return None

    def get_config(self):
        return {**super().get_config(), "iterations": self.iterations}


def _places(x):
    shape = ops.shape(x)
    return shape[1] * shape[2]


@keras.saving.register_keras_serializable("tfmisr")
class RegionAttention(keras.layers.Layer):
    """Non-local means inside each region: every pixel becomes an average, weighted by likeness, of its region.

    Called with queries and keys `(batch, height, width, depth)` and values `(batch, height, width, channels)`. Regions
    that reach over the lower or right edge hold fewer pixels.

    Args:
        region: Side of a region in pixels.

    Output shape: that of the values.

    Reference:
        Wang et al., Non-local Neural Networks, CVPR 2018, https://arxiv.org/abs/1711.07971
    """

    def __init__(self, region, **kwargs):
        super().__init__(**kwargs)
        self.region = region

    def call(self, query, key, value):
        query, key, value = (ops.cast(x, "float32") for x in (query, key, value))
        height, width = ops.shape(value)[1:3]
        inside = ops.transpose(self._cut(ops.ones_like(value[..., :1])), (0, 2, 1))
        likeness = ops.matmul(self._cut(query), ops.transpose(self._cut(key), (0, 2, 1)))
        weights = ops.softmax(likeness + (inside - 1.0) * 1e9, axis=-1)
        found = ops.matmul(weights, self._cut(value))
        return ops.cast(self._joined(found, height, width), self.compute_dtype)

    def _cut(self, x):
        """Returns (batch * regions, region * region, depth), with zeros beyond the image."""
        side, depth = self.region, x.shape[-1]
        height, width = ops.shape(x)[1:3]
        x = _padded(x, -height % side, -width % side)
        across = -(-width // side)
        x = ops.reshape(x, (-1, side, across, side * depth))
        return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, side * side, depth))

    def _joined(self, x, height, width):
        side, depth = self.region, x.shape[-1]
        down, across = -(-height // side), -(-width // side)
        x = ops.reshape(x, (-1, across, side, side * depth))
        x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, down * side, across * side, depth))
        return x[:, :height, :width]

    def multiply_adds(self, query_shape, key_shape, value_shape):
        down, across = (-(-side // self.region) for side in value_shape[1:3])
        return down * across * self.region**4 * (query_shape[3] + value_shape[3])

    def compute_output_shape(self, query_shape, key_shape, value_shape):
        return value_shape

    def receptive_field(self, inputs: ReceptiveField) -> None:
        """Returns `None`, the whole image: the regions lie on a grid that begins at its corner."""
        return None

    def get_config(self):
        return {**super().get_config(), "region": self.region}


def _padded(x, below, right):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Keras' own takes no amounts that are known only when the image is there.
        return tf.pad(x, [[0, 0], [0, below], [0, right], [0, 0]])
    return ops.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))


@keras.saving.register_keras_serializable("tfmisr")
class BilinearResizing(keras.layers.Layer):
    """Brings a map to the height and width of another, by bilinear interpolation on half-pixel centres.

    Called with the map and the other, both `(batch, height, width, channels)`. Its gradient has no XLA kernel.

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
    """Adds a second tensor times one learned weight, 0 at the start, to a first one of the same shape."""

    def build(self, inputs_shape, source_shape):
        self.weight = self.add_weight((), "zeros", name="weight")

    def call(self, inputs, source):
        return inputs + self.weight * source

    def compute_output_shape(self, inputs_shape, source_shape):
        return inputs_shape

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField:
        """Returns `inputs`: each pixel is treated alone."""
        return inputs


def channel_gate(x, pooled, reduced: int, name: str):
    """Returns `x` with each channel weighted from 0 to 1 by two 1x1 convolutions of what was pooled from it.

    Args:
        x: Tensor `(batch, height, width, channels)`.
        pooled: Tensor `(batch, 1, 1, channels)`.
        reduced: Channels between the two convolutions.
        name: Start of the layers' names.
    """
    y = layers.conv(reduced, f"{name}_squeeze", kernel_size=1)(pooled)
    y = keras.layers.ReLU(name=f"{name}_relu")(y)
    y = layers.conv(x.shape[-1], f"{name}_excite", kernel_size=1)(y)
    y = keras.layers.Activation("sigmoid", name=f"{name}_sigmoid")(y)
    return keras.layers.Multiply(name=f"{name}_weighted")([x, y])
