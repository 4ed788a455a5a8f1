"""Quantization-aware training of networks beyond chains: residual blocks, attention, anchors, collapsible blocks.

Weights have one symmetric scale for each filter, activations one range for each tensor, as LiteRT's int8
(https://ai.google.dev/edge/litert/models/quantization_spec). The limits of the ranges are trained with the weights:
Esser et al., Learned Step Size Quantization, ICLR 2020, https://arxiv.org/abs/1902.08153, and Jain et al., Trained
Quantization Thresholds, MLSys 2020, https://arxiv.org/abs/1903.08066. Batch normalization is folded before training:
Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018,
https://arxiv.org/abs/1712.05877. Collapsible blocks stay wide, because they learn faster than the small convolutions
that they are equal to; the small kernels are rounded.

The network of a run has an `ActivationRange` behind each tensor that is quantized, which clips in `model.keras`;
training also rounds, and `tfmisr.export` gives TensorFlow's converter the limits.
"""

import keras
import numpy as np
from keras import ops

from tfmisr.edge.errors import InputError
from tfmisr.layers.activation_range import LEVELS, ActivationRange
from tfmisr.layers.collapsible import CollapsibleConv2D
from tfmisr.layers.receptive_field import ReceptiveField
from tfmisr.layers.upsampling import BicubicUpsampling
from tfmisr.quantization import graph
from tfmisr.quantization.aware_training import dual_range, fake_quantized_kernel, straight_through_round

_SUFFIX = "_range"
_BINS = 4096  # of the histogram that initial limits are chosen on
_SHRINKAGES = np.linspace(1.0, 0.25, 31)  # of the extremes to a limit that is tried


def has_ranges(network: keras.Model) -> bool:
    """Returns whether a network was made by `insert_ranges`."""
    return any(isinstance(layer, ActivationRange) for layer in network.layers)


def insert_ranges(network: keras.Model) -> keras.Model:
    """Returns a folded copy of a network, with its own weights and an `ActivationRange` behind each quantized tensor.

    Args:
        network: A network of float32, as `models.create` returns it.

    Raises:
        InputError: It has a layer that cannot be trained so, or computes in mixed precision.
    """
    if keras.mixed_precision.dtype_policy().compute_dtype != "float32":
        raise InputError(
            "quantization_aware needs --mixed_precision float32 for networks other than plain. Received: "
            f"{keras.mixed_precision.dtype_policy().name}"
        )
    source = graph.with_aligned_offsets(graph.folded(network))
    limits = graph.limits(source)

    def copied(layer):
        return type(layer).from_config(layer.get_config())

    inputs = {}

    def called(layer, *args, **kwargs):
        if isinstance(layer, BicubicUpsampling):  # the runtime interpolates the input as it is
            return layer(*args, **kwargs)
        args = [_ranged_inputs(argument, inputs) for argument in args]
        return _ranged(layer(*args, **kwargs), layer.name, limits[layer.name])

    clone = keras.models.clone_model(source, clone_function=copied, call_function=called)
    for layer in source.layers:
        clone.get_layer(layer.name).set_weights(layer.get_weights())
    return clone


def _ranged(tensor, name, limits):
    if limits is None or limits == graph.DUAL_RANGE:
        return tensor
    fixed = limits != graph.LEARNED
    low, high = limits if fixed else (-1.0, 1.0)
    return ActivationRange(low, high, fixed, name=f"{name}{_SUFFIX}")(tensor)


def _ranged_inputs(argument, inputs):
    """Returns tensors with the network's input, once, behind an `ActivationRange`."""
    if isinstance(argument, (list, tuple)):
        return [_ranged_inputs(tensor, inputs) for tensor in argument]
    if not isinstance(argument._keras_history.operation, keras.layers.InputLayer):
        return argument
    name = argument._keras_history.operation.name
    if name not in inputs:
        inputs[name] = _ranged(argument, name, graph.IMAGE)
    return inputs[name]


def calibrate(network: keras.Model, images: np.ndarray) -> None:
    """Initializes the limits that are trained with those of least squared error on images.

    Nagel et al., A White Paper on Neural Network Quantization, 2021, https://arxiv.org/abs/2106.08295, section 3.1:
    what is clipped costs its squared distance to the limit, all other values the variance of rounding. Limits at a
    quantile clip burned-in letters, which are few and dominate the error of a radiograph.

    Args:
        network: What `insert_ranges` returns.
        images: float32 (batch, height, width, channels) in [0, 1].
    """
    ranges = [layer for layer in network.layers if isinstance(layer, ActivationRange) and not layer.fixed]
    for layer in ranges:
        layer.limits.assign([-1e9, 1e9])  # clips nothing behind it
    for layer in ranges:
        values = np.asarray(keras.Model(network.input, layer.input)(images, training=False))
        layer.limits.assign(least_squares_limits(values))


def least_squares_limits(values: np.ndarray) -> tuple[float, float]:
    """Returns the limits, the lower one at most 0, at which 256 levels have the least squared error.

    Args:
        values: Those of a tensor.
    """
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 1e-3)
    counts, edges = np.histogram(values, _BINS, (low, high))
    centers = (edges[:-1] + edges[1:]) / 2
    minima = low * _SHRINKAGES if low < 0 else np.zeros(1)
    below = [(counts * np.maximum(minimum - centers, 0) ** 2).sum() for minimum in minima]
    above = [(counts * np.maximum(centers - high * each, 0) ** 2).sum() for each in _SHRINKAGES]
    step = (high * _SHRINKAGES[None, :] - minima[:, None]) / LEVELS
    errors = np.add.outer(below, above) + counts.sum() * step**2 / 12
    first, second = np.unravel_index(errors.argmin(), errors.shape)
    return float(minima[first]), float(high * _SHRINKAGES[second])


def fake_quantize(network: keras.Model) -> keras.Model:
    """Returns a model on the variables of a network that computes with the rounding of its int8 file.

    An output that is the image is not rounded to its 256 levels: ground truth has the same ones, so the loss of a
    rounded image would have no gradient where the error is below half a level, which is a third of a good image.

    Args:
        network: What `insert_ranges` returns.
    """
    dual, image = graph.dual_range_conv(network), graph.image_range(network)

    def quantized(layer):
        if type(layer) is keras.layers.Conv2D:
            return FakeQuantKernel(layer, layer is dual, name=f"rounded_{layer.name}")
        if isinstance(layer, CollapsibleConv2D):
            return FakeQuantCollapsible(layer, layer is dual, name=f"rounded_{layer.name}")
        if isinstance(layer, ActivationRange):
            linear = keras.layers.Identity(name=f"unrounded_{layer.name}")
            return linear if layer is image else FakeQuantRange(layer, name=f"rounded_{layer.name}")
        return layer

    return keras.models.clone_model(network, clone_function=quantized)


class FakeQuantKernel(keras.layers.Layer):
    """A convolution with fake-quantized 8-bit weights.

    Args:
        conv: `keras.layers.Conv2D` whose variables it uses.
        dual_range: Its output is quantized in two ranges, coarse and fine.
    """

    def __init__(self, conv: keras.layers.Conv2D, dual_range: bool, **kwargs):
        super().__init__(**kwargs)
        self.conv, self.dual_range = conv, dual_range

    def call(self, inputs):
        conv = self.conv
        kernel, step = fake_quantized_kernel(conv.kernel)
        x = ops.conv(inputs, kernel * step, conv.strides, conv.padding, dilation_rate=conv.dilation_rate)
        x = conv.activation(x + conv.bias if conv.use_bias else x)
        return dual_range(x) if self.dual_range else x

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField:
        """Returns that of the convolution."""
        return inputs.grow(max(self.conv.kernel_size) // 2)


class FakeQuantCollapsible(keras.layers.Layer):
    """A collapsible convolution of which the small kernel has fake-quantized 8-bit weights.

    Args:
        conv: `CollapsibleConv2D` whose variables it uses.
        dual_range: Its output is quantized in two ranges, coarse and fine.
    """

    def __init__(self, conv: CollapsibleConv2D, dual_range: bool, **kwargs):
        super().__init__(**kwargs)
        self.conv, self.dual_range = conv, dual_range

    def call(self, inputs):
        kernel, step = fake_quantized_kernel(self.conv.small_kernel())
        x = ops.conv(inputs, kernel * step, padding="same") + self.conv.bias
        return dual_range(x) if self.dual_range else x

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField:
        """Returns that of the small convolution."""
        return self.conv.receptive_field(inputs)


class FakeQuantRange(keras.layers.Layer):
    """Rounds to the 256 levels of an `ActivationRange`; beyond fixed limits the gradient is passed unchanged.

    Args:
        limits: The `ActivationRange` whose variable it uses.
    """

    def __init__(self, limits: ActivationRange, **kwargs):
        super().__init__(**kwargs)
        self.limits = limits

    def call(self, inputs):
        step, zero_point = self.limits.grid()
        levels = ops.clip(straight_through_round(inputs / step) + zero_point, 0, LEVELS)
        values = (levels - zero_point) * step
        return inputs + ops.stop_gradient(values - inputs) if self.limits.fixed else values

    def compute_output_shape(self, input_shape):
        return input_shape

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField:
        """Returns `inputs`: each pixel is processed alone."""
        return inputs
