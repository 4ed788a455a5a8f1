"""Quantisation-aware training: a network learns with the 8 bits that its integer file will have.

Krishnamoorthi, Quantizing deep convolutional networks for efficient inference: a whitepaper, 2018,
https://arxiv.org/abs/1806.08342; here for rows of convolutions. What is rounded, and how, is what `tfmisr.export` does
to such a network: a scale for each filter's weights, 256 levels from 0 to `REACH` behind each ReLU, and what the
network adds to the interpolation in two ranges.
"""

import keras
from keras import ops

from tfmisr import layers
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.quantization import equalization, plain_network

REACH = 6.0  # LiteRT has a ReLU that ends here within its convolutions
_FITTED = 2 * REACH  # burned-in letters reach twenty times as far as anatomy, whose levels are few enough
MAGNIFIED = 16  # Of 256 levels from -1 to 1 each is two gray levels of 8 bits; a sixteenth of that is no loss.
_WEIGHT_LEVELS = 127
_LEVELS = 255


def clip_activations(network: keras.Model) -> keras.Model:
    """Returns the same network, with weights of its own, in which each ReLU ends at `REACH`.

    Args:
        network: A row of convolutions, ReLU behind each but the last, that adds to the interpolation, as `plain` does.

    Raises:
        InputError: It is another network.
    """
    _row(network)

    def ended(layer):
        changed = {"max_value": REACH} if type(layer) is keras.layers.ReLU else {}
        return type(layer).from_config({**layer.get_config(), **changed})

    clone = keras.models.clone_model(network, clone_function=ended)
    clone.set_weights(network.get_weights())
    return clone


def scale_to_clip_range(network: keras.Model, images) -> list:
    """Returns weights with which each channel behind a ReLU reaches twice as far as `REACH`.

    The network does the same but for the few places, at burned-in letters, that then are cut off; it learns to do
    without them. The channels had half as many levels elsewhere if all fitted in.

    Args:
        network: A network without ends, as `models.create` gives it.
        images: float32 arrays (height, width, channels) that show how far the channels reach.
    """
    return equalization.equalize(network, images, _FITTED).get_weights()


def fake_quantize(network: keras.Model) -> keras.Model:
    """Returns a model on the variables of a network that works as its integer file will, to be trained in its place.

    Args:
        network: What `clip_activations` returns.
    """
    *hidden, last = _row(network)
    x, step = network.input, 1.0  # an image of 8 bits lies on the levels of its input
    for conv in hidden:
        x, step = RoundedConv2D(conv, step, levels=True, name=f"rounded_{conv.name}")(x), REACH / _LEVELS
    x = RoundedConv2D(last, step, levels=False, name=f"rounded_{last.name}")(x)
    scale = network.get_layer("output_shuffle").scale
    return keras.Model(network.input, layers.global_residual_shuffled(x, network.input, scale, "float32"))


def _row(network) -> list:
    """Returns the convolutions of a network."""
    found = plain_network.convolutions(network)
    if found is None:
        raise InputError(
            "quantization_aware needs a row of convolutions with a ReLU behind each that adds to the interpolation, "
            f"such as plain. Received: {network.name}"
        )
    return found


def _rounded(values):
    """Returns the nearest whole numbers, with the gradient of the values themselves."""
    return values + ops.stop_gradient(ops.round(values) - values)


class RoundedConv2D(keras.layers.Layer):
    """A convolution with weights of 8 bits whose result is rounded too.

    Whole numbers up to 256 are exact in bfloat16, so it works on levels and not on what they stand for.

    Args:
        conv: `keras.layers.Conv2D` whose variables it uses.
        step: What one level of the input stands for.
        levels: Return levels of a ReLU from 0 to `REACH`; otherwise values, rounded in two ranges.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, height, width, filters)`.
    """

    def __init__(self, conv, step: float, levels: bool, **kwargs):
        super().__init__(dtype="float32", autocast=False, **kwargs)
        self.conv, self.step, self.levels = conv, step, levels

    def call(self, inputs):
        dtype, kernel = self.conv.compute_dtype, ops.convert_to_tensor(self.conv.kernel)
        widest = ops.maximum(ops.max(ops.abs(kernel), axis=(0, 1, 2)), 1e-9)
        weight_step = ops.stop_gradient(widest) / _WEIGHT_LEVELS
        x = ops.conv(ops.cast(inputs, dtype), ops.cast(_rounded(kernel / weight_step), dtype), padding="same")
        unit = REACH / _LEVELS if self.levels else 1.0
        x = x * ops.cast(weight_step * (self.step / unit), dtype) + ops.cast(self.conv.bias / unit, dtype)
        return _rounded(ops.clip(x, 0, _LEVELS)) if self.levels else _in_two_ranges(ops.cast(x, "float32"))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:3], self.conv.filters)


def _in_two_ranges(values):
    """Returns values rounded to 255 levels from -1 to 1, and those within a sixteenth of that to levels as fine."""
    half = _LEVELS / 2
    fine = ops.abs(values) < (half - 1) / half / MAGNIFIED
    return ops.where(fine, _rounded(values * half * MAGNIFIED) / (half * MAGNIFIED), _rounded(values * half) / half)


__getattr__ = renamed(__name__, aware="fake_quantize", bounded="clip_activations", fitted="scale_to_clip_range")
