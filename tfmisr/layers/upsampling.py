"""Layers and blocks that the models share: upsampling, padding, convolutions, residual connections.

Height and width are never fixed, so a network takes images of any size.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from tfmisr.edge.deprecation import renamed
from tfmisr.layers.receptive_field import ReceptiveField


def _bicubic_weight(distance: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Returns Keys' cubic kernel; a = -0.5 as in Pillow and MATLAB."""
    x = np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@keras.saving.register_keras_serializable("tfmisr")
class DepthToSpace(keras.layers.Layer):
    """Rearranges channels into pixels (pixel shuffle of the sub-pixel convolution).

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

            # LiteRT has a kernel for this operation, and none for a transposition of rank 6.
            return tf.nn.depth_to_space(inputs, self.scale)
        s = self.scale
        _, height, width, depth = ops.shape(inputs)
        x = ops.reshape(inputs, (-1, height, width, s, s, depth // s**2))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, height * s, width * s, depth // s**2))

    def compute_output_shape(self, input_shape):
        batch, height, width, depth = input_shape
        upsampled = [None if side is None else side * self.scale for side in (height, width)]
        return (batch, *upsampled, depth // self.scale**2)

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField | None:
        """Returns `inputs` behind an upsampling: an output pixel comes from the channels of one input pixel."""
        return inputs.upsample()

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable("tfmisr")
class BicubicUpsampling(keras.layers.Layer):
    """Bicubic interpolation on half-pixel centers, as a convolution with fixed weights and a pixel shuffle.

    Equal to Pillow's `BICUBIC` except at the outermost two pixels of the input, where this layer mirrors the image.
    Unlike `tf.image.resize` it has gradients and kernels for XLA, LiteRT and deterministic mode. It computes in float32
    under every dtype policy, because half precision cannot represent the gray levels of a 16-bit image.

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

    def multiply_adds(self, input_shape: tuple) -> int:
        """Returns the multiply-adds of one image; see `tfmisr.models._cost`."""
        return self.kernel.size * input_shape[1] * input_shape[2]

    def call(self, inputs):
        margin = (self.radius, self.radius)
        padded = ops.pad(inputs, ((0, 0), margin, margin, (0, 0)), mode="symmetric")
        return self.shuffle(ops.conv(padded, ops.convert_to_tensor(self.kernel), padding="valid"))

    def compute_output_shape(self, input_shape):
        upsampled = [None if side is None else side * self.scale for side in input_shape[1:3]]
        return (input_shape[0], *upsampled, input_shape[3])

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField | None:
        """Returns `inputs` behind an upsampling that reads 5x5 input pixels."""
        return inputs.upsample(self.radius)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable("tfmisr")
class UnitRange(keras.layers.Layer):
    """Clips to [0, 1] in inference, but not in training, where a clipped pixel has no gradient."""

    def call(self, inputs, training=None):
        return inputs if training else ops.clip(inputs, 0.0, 1.0)

    def compute_output_shape(self, input_shape):
        return input_shape

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField:
        """Returns `inputs`: each pixel is processed alone."""
        return inputs


@keras.saving.register_keras_serializable("tfmisr")
class SymmetricPadding(keras.layers.Layer):
    """Pads an image with its mirror image (`symmetric`: the outermost pixels are repeated).

    Args:
        margin: Pixels added on each side; an image must have at least as many rows and columns.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, height + 2 * margin, width + 2 * margin, channels)`.
    """

    def __init__(self, margin, **kwargs):
        super().__init__(**kwargs)
        self.margin = margin

    def call(self, inputs):
        margin = (self.margin, self.margin)
        return ops.pad(inputs, ((0, 0), margin, margin, (0, 0)), mode="symmetric")

    def compute_output_shape(self, input_shape):
        padded = [None if side is None else side + 2 * self.margin for side in input_shape[1:3]]
        return (input_shape[0], *padded, input_shape[3])

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField:
        """Returns `inputs` with a wider margin."""
        return inputs.pad(self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable("tfmisr")
class NearIdentity(keras.initializers.Initializer):
    """Initializes a kernel near the identity: 1 at its center for each channel, plus scaled He-normal values.

    Args:
        share: Standard deviation of the random values as a fraction of He's.
        seed: Of the random values; by default Keras's global one.
    """

    def __init__(self, share=0.5, seed=None):
        self.share, self.seed = share, seed

    def __call__(self, shape, dtype=None):
        random = keras.initializers.HeNormal(self.seed)(shape, dtype)
        identity = np.zeros(shape, np.float32)
        middle = np.arange(min(shape[2:]))
        identity[shape[0] // 2, shape[1] // 2, middle, middle] = 1.0
        return self.share * random + keras.ops.cast(identity, random.dtype)

    def get_config(self):
        return {"share": self.share, "seed": self.seed}


def batch_normalization(name: str) -> keras.layers.Layer:
    """Returns batch normalization whose statistics are synchronized across devices.

    The momentum is 0.9, not Keras's 0.99, so that runs of a few hundred steps forget the initial statistics.
    """
    synchronized = keras.backend.backend() == "tensorflow"
    return keras.layers.BatchNormalization(momentum=0.9, synchronized=synchronized, name=name)


def conv(filters: int, name: str, kernel_size: int = 3, **kwargs) -> keras.layers.Layer:
    """Returns a `Conv2D` with `same` padding and He-normal initialization.

    Args:
        filters: Number of filters.
        name: Name of the layer.
        kernel_size: Side of the kernel in pixels.
        **kwargs: Other arguments of `Conv2D`.
    """
    kwargs.setdefault("kernel_initializer", "he_normal")
    return keras.layers.Conv2D(filters, kernel_size, padding="same", name=name, **kwargs)


def small_variance_conv(filters: int, name: str, kernel_size: int = 3, **kwargs) -> keras.layers.Layer:
    """Returns a `conv` initialized with a sixth of He's variance, for residual blocks without normalization.

    With He's variance every block would triple the variance of the features. It is PyTorch's default initialization,
    which the authors of EDSR, RDN and RCAN used.
    """
    initializer = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return conv(filters, name, kernel_size, kernel_initializer=initializer, **kwargs)


def output_conv(channels: int, kernel_size: int = 3) -> keras.layers.Layer:
    """Returns the output convolution `super_res`, which maps features on the high-resolution grid to the image.

    It computes in float32 under every dtype policy, because half precision cannot represent the gray levels of a 16-bit
    image.
    """
    return conv(channels, "super_res", kernel_size, kernel_initializer="lecun_normal", dtype="float32")


def prelu(name: str) -> keras.layers.Layer:
    """Returns a PReLU with one learned negative slope per channel, initialized to 0.25.

    Reference:
        He et al., Delving Deep into Rectifiers, ICCV 2015, https://arxiv.org/abs/1502.01852
    """
    return keras.layers.PReLU(keras.initializers.Constant(0.25), shared_axes=(1, 2), name=name)


def stages(scale: int) -> list[int]:
    """Returns the factors of progressive upsampling stages: [3] for scale 3, otherwise as many 2s as needed."""
    return [3] if scale == 3 else [2] * (scale.bit_length() - 1)


def pixel_shuffle_upsampling(
    x: keras.KerasTensor, scale: int, activation: Callable[[str], keras.layers.Layer] | None = None
) -> keras.KerasTensor:
    """Returns features upsampled by sub-pixel convolutions, one for each of `stages(scale)`.

    Args:
        x: Features, `(batch, height, width, filters)`.
        scale: Factor by which height and width grow.
        activation: Function from a name to the layer behind each pixel shuffle; none by default.
    """
    filters = x.shape[-1]
    for i, factor in enumerate(stages(scale), 1):
        x = small_variance_conv(factor**2 * filters, f"upsample{i}_conv")(x)
        x = DepthToSpace(factor, name=f"upsample{i}_shuffle")(x)
        x = activation(f"upsample{i}_activation")(x) if activation else x
    return x


def residual_block(x: keras.KerasTensor, num_filters: int, name: str, final_relu: bool = True) -> keras.KerasTensor:
    """Returns a residual block of two convolutions, each with batch normalization, ReLU after the first.

    Args:
        x: Tensor `(batch, height, width, num_filters)`.
        num_filters: Number of filters.
        name: Prefix of the layers' names.
        final_relu: Apply ReLU after the sum, as in ResNet; SRGAN's blocks have none.
    """
    y = conv(num_filters, f"{name}_conv1", use_bias=False)(x)
    y = keras.layers.ReLU(name=f"{name}_relu1")(batch_normalization(f"{name}_bn1")(y))
    y = conv(num_filters, f"{name}_conv2", use_bias=False)(y)
    y = keras.layers.Add(name=f"{name}_add")([x, batch_normalization(f"{name}_bn2")(y)])
    return keras.layers.ReLU(name=f"{name}_relu2")(y) if final_relu else y


def global_residual(x: keras.KerasTensor, low_res: keras.KerasTensor, scale: int) -> keras.KerasTensor:
    """Returns the bicubic interpolation of `low_res` plus a sub-pixel convolution of the features `x`.

    The convolution is initialized to zero, so an untrained network is the interpolation itself.

    Args:
        x: Features, `(batch, height, width, filters)`.
        low_res: The network's input, `(batch, height, width, channels)`.
        scale: Upsampling factor.

    Returns:
        float32 tensor `(batch, scale * height, scale * width, channels)`.
    """
    x = conv(scale**2 * low_res.shape[-1], "output_conv", kernel_initializer="zeros")(x)
    return global_residual_shuffled(x, low_res, scale)


def global_residual_shuffled(
    x: keras.KerasTensor, low_res: keras.KerasTensor, scale: int, dtype: str | None = None
) -> keras.KerasTensor:
    """Returns the bicubic interpolation of `low_res` plus the pixel shuffle of `x`.

    Args:
        x: Tensor `(batch, height, width, scale**2 * channels)`.
        low_res: The network's input, `(batch, height, width, channels)`.
        scale: Upsampling factor.
        dtype: Of the pixel shuffle; by default the dtype policy's.

    Returns:
        float32 tensor `(batch, scale * height, scale * width, channels)`.
    """
    x = DepthToSpace(scale, dtype=dtype, name="output_shuffle")(x)
    upsampled = BicubicUpsampling(scale, name="bicubic")(low_res)
    return keras.layers.Add(name="super_res", dtype="float32")([upsampled, x])


def pixel_shuffle_output(x: keras.KerasTensor, scale: int, channels: int) -> keras.KerasTensor:
    """Returns the image `super_res`, a sub-pixel convolution of the features `x` in float32.

    Args:
        x: Features, `(batch, height, width, filters)`.
        scale: Upsampling factor.
        channels: Channels of the image.
    """
    x = conv(scale**2 * channels, "output_conv", kernel_initializer="lecun_normal", dtype="float32")(x)
    return DepthToSpace(scale, name="super_res", dtype="float32")(x)


def anchor_residual(x: keras.KerasTensor, low_res: keras.KerasTensor, scale: int) -> keras.KerasTensor:
    """Returns the pixel shuffle of `x` plus nearest-neighbor upsampled `low_res` (the anchor), clipped to [0, 1].

    Args:
        x: Tensor `(batch, height, width, scale**2 * channels)`.
        low_res: The network's input, `(batch, height, width, channels)`.
        scale: Upsampling factor.

    Returns:
        float32 tensor `(batch, scale * height, scale * width, channels)`.

    Reference:
        Du et al., Anchor-based Plain Net for Mobile Image Super-Resolution, CVPR Workshops 2021,
        https://arxiv.org/abs/2105.09750
    """
    anchor = keras.layers.Concatenate(name="anchor", dtype="float32")([low_res] * scale**2)
    x = keras.layers.Add(name="anchor_add", dtype="float32")([anchor, x])
    x = DepthToSpace(scale, name="output_shuffle", dtype="float32")(x)
    return UnitRange(name="super_res", dtype="float32")(x)


__getattr__ = renamed(
    __name__,
    image_conv="output_conv",
    gentle_conv="small_variance_conv",
    interpolation_plus_shuffled="global_residual_shuffled",
    interpolation_plus="global_residual",
    anchor_plus="anchor_residual",
    shuffled_image="pixel_shuffle_output",
    shuffle_upsampling="pixel_shuffle_upsampling",
)
