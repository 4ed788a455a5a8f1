"""Quantization-aware training: a network is trained with the rounding of its int8 file.

Krishnamoorthi, Quantizing deep convolutional networks for efficient inference: a whitepaper, 2018,
https://arxiv.org/abs/1806.08342; here for plain networks (see `tfmisr.quantization.plain_network`). The fake
quantization is what `tfmisr.export` does to such a network: one scale for the weights of each filter, 256 activation
levels from 0 to `ACTIVATION_CLIP` behind each ReLU, and a residual that is quantized in two ranges, coarse and fine.
"""

import keras
import numpy as np
from keras import ops

from tfmisr import layers
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.layers.receptive_field import ReceptiveField
from tfmisr.quantization import equalization, plain_network

ACTIVATION_CLIP = 6.0  # LiteRT fuses ReLU6 into its convolutions
FINE_SCALE = 16  # Of 256 levels from -1 to 1 each is two gray levels of 8 bits; a sixteenth of that is no loss.
_WEIGHT_LEVELS = 127
_LEVELS = 255


def clip_activations(network: keras.Model) -> keras.Model:
    """Returns a copy of a network, with its own weights, in which each ReLU saturates at `ACTIVATION_CLIP`.

    Args:
        network: A plain network; see `plain_network.convolutions`.

    Raises:
        InputError: It is another network.
    """
    _plain_convolutions(network)

    def clipped(layer):
        changed = {"max_value": ACTIVATION_CLIP} if type(layer) is keras.layers.ReLU else {}
        return type(layer).from_config({**layer.get_config(), **changed})

    clone = keras.models.clone_model(network, clone_function=clipped)
    clone.set_weights(network.get_weights())
    return clone


def scale_to_clip_range(network: keras.Model, images: list[np.ndarray], clip_fraction: float = 1.0) -> list[np.ndarray]:
    """Returns weights with which `clip_fraction` of the maximum of each channel behind a ReLU is `ACTIVATION_CLIP`.

    They initialize the ranges for quantization-aware training: on these images the clipped network computes the same,
    unless the fraction is below 1. Then the largest activations, such as those of burned-in letters, are clipped and
    have to be learned again, and all others have finer levels.

    Args:
        network: A plain network without clipping, as `models.create` returns it.
        images: float32 arrays (height, width, channels), on which the maxima are measured.
        clip_fraction: Fraction of a channel's maximum at which it is clipped, in (0, 1].
    """
    return equalization.equalize(network, images, ACTIVATION_CLIP / clip_fraction).get_weights()


def fake_quantize(network: keras.Model) -> keras.Model:
    """Returns a fake-quantized model on the variables of a network, to be trained in its place.

    Args:
        network: What `clip_activations` returns.
    """
    *hidden, last = _plain_convolutions(network)
    x, step = network.input, 1.0  # an image of 8 bits lies on the levels of its input
    for conv in hidden:
        x, step = FakeQuantConv2D(conv, step, levels=True, name=f"rounded_{conv.name}")(x), ACTIVATION_CLIP / _LEVELS
    x = FakeQuantConv2D(last, step, levels=False, name=f"rounded_{last.name}")(x)
    scale = network.get_layer("output_shuffle").scale
    return keras.Model(network.input, layers.global_residual_shuffled(x, network.input, scale, "float32"))


def _plain_convolutions(network):
    """Returns the convolutions of a plain network."""
    convolutions = plain_network.convolutions(network)
    if convolutions is None:
        raise InputError(
            "quantization_aware needs a plain network, a chain of convolutions with a ReLU behind each and a global "
            f"bicubic residual, such as plain. Received: {network.name}"
        )
    return convolutions


def straight_through_round(values: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the nearest integers, with the gradient of the values themselves (straight-through estimator)."""
    return values + ops.stop_gradient(ops.round(values) - values)


def fake_quantized_kernel(kernel: keras.Variable) -> tuple:
    """Returns a kernel on its 255 integer levels, and the step of each filter, as LiteRT quantizes weights."""
    kernel = ops.convert_to_tensor(kernel)
    largest = ops.maximum(ops.max(ops.abs(kernel), axis=(0, 1, 2)), 1e-9)
    step = ops.stop_gradient(largest) / _WEIGHT_LEVELS
    return straight_through_round(kernel / step), step


class FakeQuantConv2D(keras.layers.Layer):
    """A convolution with fake-quantized 8-bit weights and a fake-quantized output.

    It computes on quantization levels, not on the values they stand for: integers up to 256 are exact in bfloat16.

    Args:
        conv: `keras.layers.Conv2D` whose variables it uses.
        step: Value of one quantization level of the input.
        levels: Return quantization levels of a ReLU from 0 to `ACTIVATION_CLIP`; otherwise values, quantized in two
            ranges.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, height, width, filters)`.
    """

    def __init__(self, conv: keras.layers.Conv2D, step: float, levels: bool, **kwargs):
        super().__init__(dtype="float32", autocast=False, **kwargs)
        self.conv, self.step, self.levels = conv, step, levels

    def call(self, inputs):
        dtype = self.conv.compute_dtype
        rounded, weight_step = fake_quantized_kernel(self.conv.kernel)
        x = ops.conv(ops.cast(inputs, dtype), ops.cast(rounded, dtype), padding="same")
        unit = ACTIVATION_CLIP / _LEVELS if self.levels else 1.0
        x = x * ops.cast(weight_step * (self.step / unit), dtype) + ops.cast(self.conv.bias / unit, dtype)
        if self.levels:
            return straight_through_round(ops.clip(x, 0, _LEVELS))
        return dual_range(ops.cast(x, "float32"))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:3], self.conv.filters)

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField:
        """Returns that of the convolution."""
        return inputs.grow(max(self.conv.kernel_size) // 2)


def dual_range(values: keras.KerasTensor) -> keras.KerasTensor:
    """Returns values rounded to 255 levels from -1 to 1, and those below 1 / `FINE_SCALE` to levels as much finer."""
    half = _LEVELS / 2
    fine = ops.abs(values) < (half - 1) / half / FINE_SCALE
    return ops.where(
        fine,
        straight_through_round(values * half * FINE_SCALE) / (half * FINE_SCALE),
        straight_through_round(values * half) / half,
    )


__getattr__ = renamed(
    __name__,
    aware="fake_quantize",
    bounded="clip_activations",
    fitted="scale_to_clip_range",
    REACH="ACTIVATION_CLIP",
    MAGNIFIED="FINE_SCALE",
    RoundedConv2D="FakeQuantConv2D",
)
