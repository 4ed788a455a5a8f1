"""Layers that the models share. Sizes are never fixed, so a network takes an image of any height and width."""

import keras
import numpy as np
from keras import ops


def _bicubic_weight(distance: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Returns Keys' cubic kernel; a = -0.5 is Pillow's and MATLAB's choice."""
    x = np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@keras.saving.register_keras_serializable("tfmisr")
class DepthToSpace(keras.layers.Layer):
    """Rearranges channels into pixels: the sub-pixel convolution's shuffle.

    Args:
        scale: Factor by which height and width grow.

    Input shape: `(batch, height, width, scale**2 * channels)`.
    Output shape: `(batch, scale * height, scale * width, channels)`.

    Reference:
        Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
        Convolutional Neural Network, CVPR 2016, https://arxiv.org/abs/1609.05158
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # One operation that LiteRT knows, where reshapes and a transposition of rank 6 are none.
            return tf.nn.depth_to_space(inputs, self.scale)
        s = self.scale
        _, height, width, depth = ops.shape(inputs)
        x = ops.reshape(inputs, (-1, height, width, s, s, depth // s**2))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, height * s, width * s, depth // s**2))

    def compute_output_shape(self, input_shape):
        batch, height, width, depth = input_shape
        grown = [None if side is None else side * self.scale for side in (height, width)]
        return (batch, *grown, depth // self.scale**2)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable("tfmisr")
class BicubicUpsampling(keras.layers.Layer):
    """Bicubic interpolation on half-pixel centres, as a convolution with fixed weights and a shuffle.

    Equal to Pillow's `BICUBIC` except at the outermost two pixels of the input, where this layer mirrors the
    image. Unlike `tf.image.resize` it has gradients and kernels everywhere: XLA, LiteRT, deterministic mode.
    It works in float32 whatever the policy, because half precision would cost a 16-bit image its depth.

    Args:
        scale: Factor by which height and width grow.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, scale * height, scale * width, channels)`.

    Reference:
        Keys, Cubic Convolution Interpolation for Digital Image Processing, IEEE TASSP 1981,
        https://doi.org/10.1109/TASSP.1981.1163711
    """

    radius = 2  # input pixels on each side that an output pixel depends on

    def __init__(self, scale, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.scale = scale
        self.shuffle = DepthToSpace(scale, dtype="float32", name="shuffle")

    def build(self, input_shape):
        channels = input_shape[-1]
        phase = (np.arange(self.scale) + 0.5) / self.scale - 0.5
        taps = _bicubic_weight(np.arange(-2, 3)[:, None] - phase[None, :])  # (5, scale)
        kernel = np.einsum("yp,xq,cd->yxcpqd", taps, taps, np.eye(channels))
        self.kernel = kernel.reshape(5, 5, channels, -1).astype("float32")

    def call(self, inputs):
        margin = (self.radius, self.radius)
        padded = ops.pad(inputs, ((0, 0), margin, margin, (0, 0)), mode="symmetric")
        return self.shuffle(ops.conv(padded, ops.convert_to_tensor(self.kernel), padding="valid"))

    def compute_output_shape(self, input_shape):
        grown = [None if side is None else side * self.scale for side in input_shape[1:3]]
        return (input_shape[0], *grown, input_shape[3])

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def batch_normalization(name: str) -> keras.layers.Layer:
    """Returns batch normalisation whose statistics are those of the whole batch on any number of devices.

    The momentum is 0.9, not Keras's 0.99: a run of some hundred steps must forget the first ones.
    """
    synchronized = keras.backend.backend() == "tensorflow"
    return keras.layers.BatchNormalization(momentum=0.9, synchronized=synchronized, name=name)


def conv(filters: int, name: str, kernel_size: int = 3, **kwargs) -> keras.layers.Layer:
    """Returns a `Conv2D` with zero padding to the same size and He's initialisation."""
    kwargs.setdefault("kernel_initializer", "he_normal")
    return keras.layers.Conv2D(filters, kernel_size, padding="same", name=name, **kwargs)


def residual_block(x, num_filters: int, name: str, final_relu: bool = True):
    """Returns `x` plus two convolutions of it, each with batch normalisation, ReLU after the first.

    Args:
        x: Tensor `(batch, height, width, num_filters)`.
        num_filters: Number of filters.
        name: Start of the layers' names.
        final_relu: Apply ReLU after the sum, as ResNet does; SRGAN's blocks leave it out.
    """
    y = conv(num_filters, f"{name}_conv1", use_bias=False)(x)
    y = keras.layers.ReLU(name=f"{name}_relu1")(batch_normalization(f"{name}_bn1")(y))
    y = conv(num_filters, f"{name}_conv2", use_bias=False)(y)
    y = keras.layers.Add(name=f"{name}_add")([x, batch_normalization(f"{name}_bn2")(y)])
    return keras.layers.ReLU(name=f"{name}_relu2")(y) if final_relu else y


def interpolation_plus(x, low_res, scale: int):
    """Returns the bicubic interpolation of `low_res` plus a sub-pixel convolution of the features `x`.

    The convolution starts at zero, so an untrained network is the interpolation itself.

    Args:
        x: Features, `(batch, height, width, filters)`.
        low_res: The network's input, `(batch, height, width, channels)`.
        scale: Upsampling factor.

    Returns:
        float32 tensor `(batch, scale * height, scale * width, channels)`.
    """
    channels = low_res.shape[-1]
    x = conv(scale**2 * channels, "output_conv", kernel_initializer="zeros")(x)
    x = DepthToSpace(scale, name="output_shuffle")(x)
    upsampled = BicubicUpsampling(scale, name="bicubic")(low_res)
    return keras.layers.Add(name="super_res", dtype="float32")([upsampled, x])
