"""The receptive field of a Keras network: how many low-resolution pixels around an output pixel it depends on.

Images are cut into tiles that overlap by this radius. Radii of layers add up along each path of the network's graph,
and the longest path counts: Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks,
Distill 2019, https://doi.org/10.23915/distill.00021. Departure: a convolution behind an upsampling counts as if it
worked on the low-resolution grid, which is never less than the true radius.

A custom layer, of this package or of a user, declares its receptive field in a method:

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField | None:
        return inputs                # pointwise: it may mix channels, but not pixels
        return inputs.grow(radius)   # pixels up to `radius` away
        return inputs.upsample()     # the output has more pixels
        return None                  # the whole image, as attention and global pooling do

`inputs` is the widest receptive field of the layer's inputs. Keras's layers are in the table below. For a layer without
the method that is not in the table `receptive_radius` raises `UnknownReceptiveField`.
"""

import functools
import sys
from typing import TYPE_CHECKING, NamedTuple

from tfmisr.edge.errors import InputError

if TYPE_CHECKING:
    import keras


class ReceptiveField(NamedTuple):
    """Which pixels of a network's input a value inside the network depends on.

    Attributes:
        radius: Low-resolution pixels on each side.
        margin: Pixels on each side that padding layers have added and convolutions without padding have not yet
            removed; negative where these removed more.
    """

    radius: int
    margin: int = 0

    def grow(self, radius: int) -> "ReceptiveField":
        """Returns the receptive field behind a layer that reads `radius` pixels on each side of a pixel."""
        return ReceptiveField(self.radius + radius, self.margin)

    def pad(self, margin: int) -> "ReceptiveField":
        """Returns the receptive field behind a layer that adds `margin` pixels on each side, or removes them (< 0)."""
        return ReceptiveField(self.radius, self.margin + margin)

    def upsample(self, radius: int = 0) -> "ReceptiveField | None":
        """Returns the receptive field behind an upsampling by any factor that reads `radius` input pixels on each side.

        It is `None`, the whole image, where a margin is left: the margin would have another width on the new grid.
        """
        return None if self.margin else self.grow(radius)


class UnknownReceptiveField(InputError):
    """A layer, operation or model that does not declare its receptive field, so that tiles cannot be planned."""


def receptive_radius(network: "keras.Model") -> int | None:
    """Returns the radius of the receptive field in low-resolution pixels, or `None` for the whole image.

    Args:
        network: `keras.Model` from `(batch, height, width, channels)`.

    Raises:
        UnknownReceptiveField: A layer between input and output does not declare its receptive field.
    """
    field = _of_layer(network, ReceptiveField(0))
    return None if field is None or field.margin else field.radius


def receptive_radius_or_whole_image(network: "keras.Model") -> int | None:
    """Returns `receptive_radius`, or `None` and a warning on stderr where a layer does not declare it.

    The result for such a network is right, but the whole image at once needs more memory than tiles.
    """
    try:
        return receptive_radius(network)
    except UnknownReceptiveField as error:
        _warn(f"warning: {error}. The network is applied to the whole image at once")
        return None


@functools.cache  # one line for each cause, however often a network is loaded
def _warn(line: str) -> None:
    print(line, file=sys.stderr)


def _of_graph(network, inputs: ReceptiveField) -> ReceptiveField | None:
    """Returns the receptive field of the outputs of a functional or sequential model."""
    graph = getattr(network, "_functional", network)
    if graph is None:
        raise _unknown(f"the model {network.name}, which is not built yet,", "build it first")
    fields = {id(tensor): inputs for tensor in graph.inputs}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            widest = _widest([fields[id(tensor)] for tensor in node.input_tensors])
            for tensor in node.outputs:
                if id(tensor) not in fields:
                    fields[id(tensor)] = None if widest is None else _of_layer(node.operation, widest)
    return _widest([fields[id(tensor)] for tensor in graph.outputs])


def _widest(fields) -> ReceptiveField | None:
    """Returns the receptive field of what is computed from several values pixel by pixel."""
    if not fields or None in fields or len({field.margin for field in fields}) > 1:
        return None
    return max(fields)


def _of_layer(layer, inputs: ReceptiveField) -> ReceptiveField | None:
    """Returns the receptive field of a layer's output, given the widest one of its inputs."""
    if callable(getattr(layer, "receptive_field", None)):
        return layer.receptive_field(inputs)
    class_name, module = type(layer).__name__, type(layer).__module__
    rules = {}
    if module.startswith("keras."):
        rules = _OPERATIONS if module.startswith("keras.src.ops.") else _LAYERS
    if class_name not in rules:
        remedy = "put it into a custom layer with" if rules else f"give {class_name}"
        raise _unknown(f"layer {layer.name} ({class_name})", f"{remedy} a method receptive_field(self, inputs)")
    if getattr(layer, "data_format", "channels_last") not in (None, "channels_last"):
        return None
    return rules[class_name](layer, inputs)


def _unknown(what: str, remedy: str) -> UnknownReceptiveField:
    return UnknownReceptiveField(
        f"the receptive field of {what} is unknown; {remedy}, see tfmisr.layers.receptive_field"
    )


def _pointwise(layer, inputs):
    return inputs


def _whole_image(layer, inputs):
    return None


def _over_channels(layer, inputs):
    """Rule for normalization, softmax and concatenation: pointwise if the axis is that of the channels."""
    axis = layer.axis if isinstance(layer.axis, (tuple, list)) else [layer.axis]
    return inputs if {*axis} <= {-1, 3} else None


def _reduced(layer, inputs):
    """Rule for reductions: without `keepdims` later operations would broadcast rows and columns as other axes."""
    return _over_channels(layer, inputs) if layer.keepdims else None


def _activated(layer, inputs):
    """Rule for a layer's activation: those of Keras are pointwise; softmax and GLU work on the channels."""
    function = layer.activation
    if hasattr(function, "compute_output_spec"):  # a layer
        return _of_layer(function, inputs)
    module, name = getattr(function, "__module__", ""), getattr(function, "__name__", repr(function))
    operation = module.startswith("keras.src.ops.") and name.replace("_", "") in _POINTWISE_FUNCTIONS
    if function is None or operation or module.startswith("keras.src.activations."):
        return inputs
    raise _unknown(
        f"layer {layer.name} with the activation {name}",
        "make the activation a layer with receptive_field(self, inputs)",
    )


def _convolution(layer, inputs):
    if max(layer.strides) > 1:
        return None  # a tile would have to begin at a multiple of the stride
    pairs = list(zip(layer.kernel_size, layer.dilation_rate, strict=True))
    radii = [size // 2 * rate for size, rate in pairs]
    if layer.padding == "same":
        return _activated(layer, inputs.grow(max(radii)))
    # Without padding it removes as much of the margin as it reads, the same on all sides.
    if layer.padding != "valid" or len(set(radii)) > 1 or any(size % 2 == 0 for size, _ in pairs):
        return None
    return _activated(layer, inputs.grow(radii[0]).pad(-radii[0]))


def _transposed_convolution(layer, inputs):
    if layer.padding != "same" or max(layer.dilation_rate) > 1 or layer.output_padding is not None:
        return None
    pairs = zip(layer.kernel_size, layer.strides, strict=True)
    field = inputs.upsample(max((size - 1 - max(size - stride, 0) // 2) // stride for size, stride in pairs))
    return None if field is None else _activated(layer, field)


def _pooling(layer, inputs):
    if max(layer.strides) > 1 or layer.padding != "same":
        return None
    return inputs.grow(max(size // 2 for size in layer.pool_size))


def _upsampling(layer, inputs):
    return inputs.upsample() if layer.interpolation == "nearest" else None


def _zero_padding(layer, inputs):
    sides = {side for axis in layer.padding for side in axis}
    return inputs.pad(sides.pop()) if len(sides) == 1 else None


def _cropping(layer, inputs):
    sides = {side for axis in layer.cropping for side in axis}
    if len(sides) > 1:
        return None
    (side,) = sides
    return inputs.grow(side).pad(-side)  # what a later padding puts there is no image content


def _wrapped(layer, inputs):
    return _of_layer(layer.layer, inputs)


def _rules(rule, names: str) -> dict:
    return dict.fromkeys(names.split(), rule)


# Rules for Keras's layers by class name. Layers that resample in other ways, or that depend on every pixel, need the
# whole image; layers that are not here are unknown.
_LAYERS = {
    **_rules(_of_graph, "Functional Sequential"),
    **_rules(
        _pointwise,
        "ActivityRegularization Add AlphaDropout Average Dropout ELU GaussianDropout GaussianNoise Identity InputLayer "
        "LeakyReLU Maximum Minimum Multiply PReLU ReLU Rescaling SpatialDropout2D Subtract",
    ),
    **_rules(_activated, "Activation Dense"),
    **_rules(
        _over_channels,
        "BatchNormalization Concatenate LayerNormalization Normalization RMSNormalization Softmax UnitNormalization",
    ),
    **_rules(_convolution, "Conv2D DepthwiseConv2D SeparableConv2D"),
    **_rules(_transposed_convolution, "Conv2DTranspose"),
    **_rules(_pooling, "AveragePooling2D MaxPooling2D"),
    **_rules(_upsampling, "UpSampling2D"),
    **_rules(_zero_padding, "ZeroPadding2D"),
    **_rules(_cropping, "Cropping2D"),
    **_rules(_wrapped, "SpectralNormalization"),
    **_rules(
        _whole_image,
        "AdaptiveAveragePooling2D AdaptiveMaxPooling2D AdditiveAttention Attention CenterCrop Dot Flatten "
        "GlobalAveragePooling2D GlobalMaxPooling2D GroupNormalization GroupQueryAttention MultiHeadAttention Permute "
        "RepeatVector Reshape Resizing",
    ),
}
# Rules for operations of `keras.ops`, and for operators between tensors.
_OPERATIONS = {
    **_rules(
        _pointwise,
        "Abs Absolute Add Cast Celu Clip Divide DivideNoNan Elu Erf Exp Gelu HardShrink HardSigmoid HardSilu HardTanh "
        "LeakyRelu Log Log1p LogSigmoid Maximum Minimum Multiply Negative Power Reciprocal Relu Relu6 Round Rsqrt Selu "
        "Sigmoid Sign Silu SoftShrink Softplus Softsign SparsePlus SparseSigmoid Sqrt Square Squareplus StopGradient "
        "Subtract Tanh TanhShrink Threshold TrueDivide Where",
    ),
    **_rules(_over_channels, "Concatenate Glu LogSoftmax Softmax Sparsemax"),
    **_rules(_reduced, "Amax Amin Max Mean Min Prod Std Sum Var"),
}
_POINTWISE_FUNCTIONS = {name.lower() for name, rule in _OPERATIONS.items() if rule is _pointwise}
