"""Upsampling, padding and clipping layers that the models share.

Height and width are never fixed, so a network takes images of any size.
"""

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

    def __init__(self, scale: int, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        if self.scale == 1:  # networks of planes; TensorFlow's operation starts at 2
            return inputs
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

    def __init__(self, scale: int, **kwargs):
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

    def __init__(self, margin: int, **kwargs):
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

    def __init__(self, share: float = 0.5, seed: int | None = None):
        self.share, self.seed = share, seed

    def __call__(self, shape, dtype=None):
        random = keras.initializers.HeNormal(self.seed)(shape, dtype)
        identity = np.zeros(shape, np.float32)
        middle = np.arange(min(shape[2:]))
        identity[shape[0] // 2, shape[1] // 2, middle, middle] = 1.0
        return self.share * random + keras.ops.cast(identity, random.dtype)

    def get_config(self):
        return {"share": self.share, "seed": self.seed}


__getattr__ = renamed(
    __name__,
    image_conv="tfmisr.layers.blocks.output_conv",
    gentle_conv="tfmisr.layers.blocks.small_variance_conv",
    interpolation_plus_shuffled="tfmisr.layers.blocks.global_residual_shuffled",
    interpolation_plus="tfmisr.layers.blocks.global_residual",
    anchor_plus="tfmisr.layers.blocks.anchor_residual",
    shuffled_image="tfmisr.layers.blocks.pixel_shuffle_output",
    shuffle_upsampling="tfmisr.layers.blocks.pixel_shuffle_upsampling",
    batch_normalization="tfmisr.layers.blocks.batch_normalization",
    conv="tfmisr.layers.blocks.conv",
    small_variance_conv="tfmisr.layers.blocks.small_variance_conv",
    output_conv="tfmisr.layers.blocks.output_conv",
    prelu="tfmisr.layers.blocks.prelu",
    stages="tfmisr.layers.blocks.stages",
    pixel_shuffle_upsampling="tfmisr.layers.blocks.pixel_shuffle_upsampling",
    residual_block="tfmisr.layers.blocks.residual_block",
    global_residual="tfmisr.layers.blocks.global_residual",
    global_residual_shuffled="tfmisr.layers.blocks.global_residual_shuffled",
    pixel_shuffle_output="tfmisr.layers.blocks.pixel_shuffle_output",
    anchor_residual="tfmisr.layers.blocks.anchor_residual",
)
