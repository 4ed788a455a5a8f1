"""Blocks that the models share: convolutions with their initializers, residual connections, output stages."""

import typing
from collections.abc import Callable

import keras

from tfmisr.layers.upsampling import BicubicUpsampling, DepthToSpace, UnitRange


def batch_normalization(name: str) -> keras.layers.Layer:
    """Returns batch normalization whose statistics are synchronized across devices.

    The momentum is 0.9, not Keras's 0.99, so that runs of a few hundred steps forget the initial statistics.
    """
    synchronized = keras.backend.backend() == "tensorflow"
    return keras.layers.BatchNormalization(momentum=0.9, synchronized=synchronized, name=name)


def conv(filters: int, name: str, kernel_size: int = 3, **kwargs: typing.Any) -> keras.layers.Layer:
    """Returns a `Conv2D` with `same` padding and He-normal initialization.

    Args:
        filters: Number of filters.
        name: Name of the layer.
        kernel_size: Side of the kernel in pixels.
        **kwargs: Other arguments of `Conv2D`.
    """
    kwargs.setdefault("kernel_initializer", "he_normal")
    return keras.layers.Conv2D(filters, kernel_size, padding="same", name=name, **kwargs)


def small_variance_conv(filters: int, name: str, kernel_size: int = 3, **kwargs: typing.Any) -> keras.layers.Layer:
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
