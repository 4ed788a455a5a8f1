"""The graph of a network as an int8 file executes it: which tensors are quantized, which operations are fused.

LiteRT fuses ReLU into the convolution or the addition before it; pixel shuffles, poolings, resizings and concatenations
of one tensor keep the levels of their input; the limits of sigmoid and tanh are prescribed
(https://ai.google.dev/edge/litert/models/quantization_spec).
"""

import keras
import numpy as np

from tfmisr import layers
from tfmisr.edge.errors import InputError
from tfmisr.layers import attention
from tfmisr.layers.activation_range import LEVELS, ActivationRange
from tfmisr.layers.collapsible import CollapsibleConv2D

LEARNED, DUAL_RANGE = "learned", "dual-range"
IMAGE = (0.0, 1.0)
_PRESCRIBED = {keras.activations.sigmoid: (0.0, 255 / 256), keras.activations.tanh: (-1.0, 127 / 128)}
_SAME_LEVELS = (
    layers.DepthToSpace,
    layers.UnitRange,
    keras.layers.MaxPooling2D,
    attention.BilinearResizing,
    ActivationRange,
)
_CHANGED = (
    keras.layers.Conv2D,
    CollapsibleConv2D,
    keras.layers.Add,
    keras.layers.Multiply,
    keras.layers.Concatenate,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.Rescaling,
    keras.layers.GlobalAveragePooling2D,
)
Limits = tuple[float, float] | str | None


def made_by(tensor: keras.KerasTensor) -> tuple[keras.layers.Layer, list[keras.KerasTensor]]:
    """Returns the layer that makes a symbolic tensor, and the tensors it makes it from."""
    history = tensor._keras_history
    return history.operation, history.operation._inbound_nodes[history.node_index].input_tensors


def residual(network: keras.Model) -> keras.KerasTensor | None:
    """Returns what a network adds at its end to its input, or to the bicubic interpolation of it; else `None`."""
    last, inputs = made_by(network.output)
    if not isinstance(last, keras.layers.Add) or len(inputs) != 2:
        return None
    for upsampled, added in (inputs, inputs[::-1]):
        layer, source = made_by(upsampled)
        if isinstance(layer, layers.BicubicUpsampling) and source[0] is network.input:
            return added
        if upsampled is network.input:  # of a plane, which is refined at its own size
            return added
    return None


def is_linear_conv(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer is an ungrouped convolution without activation."""
    linear = type(layer) is keras.layers.Conv2D and layer.activation is keras.activations.linear
    return linear and layer.groups == 1


def dual_range_conv(network: keras.Model) -> keras.layers.Conv2D | CollapsibleConv2D | None:
    """Returns the convolution whose output, the residual before a last pixel shuffle, is quantized in two ranges."""
    added = residual(network)
    if added is None:
        return None
    shuffle, inputs = made_by(added)
    conv = made_by(inputs[0])[0] if isinstance(shuffle, layers.DepthToSpace) else None
    return conv if is_linear_conv(conv) or isinstance(conv, CollapsibleConv2D) else None


def folded(network: keras.Model) -> keras.Model:
    """Returns an equal network without batch normalization; one that has none as it is.

    Raises:
        InputError: A batch normalization does not stand behind a convolution that it alone reads.
    """
    convs = {layer.name: _conv_before(network, layer) for layer in network.layers if _is_normalization(layer)}
    if not convs:
        return network
    normalizations = {conv.name: network.get_layer(name) for name, conv in convs.items()}

    def copied(layer):
        with_bias = {"use_bias": True} if layer.name in normalizations else {}
        return type(layer).from_config({**layer.get_config(), **with_bias})

    def called(layer, *args, **kwargs):
        return args[0] if _is_normalization(layer) else layer(*args, **kwargs)

    clone = keras.models.clone_model(network, clone_function=copied, call_function=called)
    for layer in clone.layers:
        weights = network.get_layer(layer.name).get_weights()
        normalization = normalizations.get(layer.name)
        layer.set_weights(_folded_weights(weights, normalization) if normalization else weights)
    return clone


def _is_normalization(layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _conv_before(network, normalization):
    conv = made_by(normalization.input)[0]
    alone = type(conv) is keras.layers.Conv2D and len(readers(network)[conv.name]) == 1
    if not alone or conv.activation is not keras.activations.linear:
        raise InputError(
            "quantization_aware folds a batch normalization into the convolution before it, which nothing else reads. "
            f"Received: {network.name} with {normalization.name} behind {conv.name}"
        )
    return conv


def _folded_weights(weights, normalization) -> list[np.ndarray]:
    bias = weights[1] if len(weights) > 1 else 0.0
    ones = np.ones(weights[0].shape[-1], np.float32)
    gamma = np.asarray(normalization.gamma) if normalization.scale else ones
    beta = np.asarray(normalization.beta) if normalization.center else 0.0 * ones
    gain = gamma / np.sqrt(np.asarray(normalization.moving_variance) + normalization.epsilon)
    return [weights[0] * gain, (bias - np.asarray(normalization.moving_mean)) * gain + beta]


def readers(network: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """Returns the name of each layer to the layers of the network that read its output."""
    found = {layer.name: [] for layer in network.layers}
    for nodes in network._nodes_by_depth.values():
        for node in nodes:
            for tensor in node.input_tensors:
                found[tensor._keras_history.operation.name].append(node.operation)
    return found


def limits(network: keras.Model) -> dict[str, Limits]:
    """Returns the name of each layer to the range of its output: limits, `LEARNED`, `DUAL_RANGE` or `None`.

    `None` is for outputs without levels of their own: those that are fused, keep the levels of the input, or stay in
    float32 outside the file.

    Raises:
        InputError: A layer of another class than those that an int8 file is trained for.
    """
    reading, outside, ends = readers(network), _outside(network), _image_layers(network)
    dual = dual_range_conv(network)

    def of(layer):
        if layer.name in outside and len(reading[layer.name]) < 2:
            return None
        if layer is dual:
            return DUAL_RANGE
        own = _own_limits(network, layer, reading[layer.name])
        if layer.name in ends:
            return IMAGE if layer is ends[layer.name] else None
        return own

    return {layer.name: of(layer) for layer in network.layers}


def _outside(network) -> set[str]:
    """Returns the names of the layers that the runtime computes in float32: the interpolation and its addition."""
    if residual(network) is None:
        return set()
    last, inputs = made_by(network.output)
    shuffle = made_by(residual(network))[0] if dual_range_conv(network) else last
    upsampled = [made_by(tensor)[0] for tensor in inputs]
    return {last.name, shuffle.name, *(u.name for u in upsampled if isinstance(u, layers.BicubicUpsampling))}


def _image_layers(network) -> dict[str, keras.layers.Layer | None]:
    """Returns the last layers of a network without global residual: the one whose output has the image's values."""
    found, layer = {}, made_by(network.output)[0]
    if residual(network) is not None:
        return found
    while isinstance(layer, (layers.DepthToSpace, layers.UnitRange)):
        found[layer.name] = None
        layer = made_by(layer.input)[0]
    return {**found, layer.name: layer}


def image_range(network: keras.Model) -> ActivationRange | None:
    """Returns the `ActivationRange` behind which a network only rearranges and clips its output, if it is the image."""
    layer = made_by(network.output)[0]
    while isinstance(layer, (layers.DepthToSpace, layers.UnitRange)):
        layer = made_by(layer.input)[0]
    return layer if isinstance(layer, ActivationRange) and layer.fixed else None


def _own_limits(network, layer, reading) -> Limits:
    if isinstance(layer, keras.layers.InputLayer):
        return IMAGE
    if isinstance(layer, keras.layers.Activation) and layer.activation in _PRESCRIBED:
        return _PRESCRIBED[layer.activation]
    if isinstance(layer, _SAME_LEVELS) or _repeats(layer):
        return None
    if type(layer) not in _CHANGED:
        raise InputError(
            "quantization_aware trains networks of convolutions, additions, ReLUs, pixel shuffles and the like. "
            f"Received: {network.name} with {layer.name}, {type(layer).__name__}"
        )
    if isinstance(layer, keras.layers.Rescaling) and (scaled := _scaled_image(layer)) != LEARNED:
        return scaled
    if len(reading) != 1:
        return LEARNED
    convolutions = keras.layers.Conv2D, CollapsibleConv2D
    fused = isinstance(layer, (*convolutions, keras.layers.Add)) and type(reading[0]) is keras.layers.ReLU
    # What is concatenated alone is written on the levels of the concatenation.
    return None if fused or isinstance(reading[0], keras.layers.Concatenate) else LEARNED


def _scaled_image(layer) -> Limits:
    """Returns the range of a scaled image, on whose levels that of the image lie; else `LEARNED`."""
    if not isinstance(made_by(layer.input)[0], keras.layers.InputLayer) or layer.scale <= 0:
        return LEARNED
    zero_point = -layer.offset / layer.scale * LEVELS
    aligned = 0 <= zero_point <= LEVELS and abs(zero_point - round(zero_point)) < 1e-3
    return (layer.offset, layer.offset + layer.scale) if aligned else LEARNED


def with_aligned_offsets(network: keras.Model) -> keras.Model:
    """Returns a network that subtracts whole gray levels of 8 bits from its input, and otherwise computes the same.

    An image of 8 bits less 0.5, as in SESR, lies between the levels of int8, on which 0 is one: its last bit would be
    lost. What is subtracted less or more goes into the biases of the convolutions that read it; only the value beyond
    the border changes, by half a level.

    Args:
        network: As `folded` returns it.
    """
    reading = readers(network)
    moved = {layer.name: _aligned_offset(layer) for layer in network.layers if _can_move(layer, reading)}
    if not moved:
        return network

    def copied(layer):
        return type(layer).from_config(
            {**layer.get_config(), **({"offset": moved[layer.name]} if layer.name in moved else {})}
        )

    clone = keras.models.clone_model(network, clone_function=copied)
    for layer in network.layers:
        if layer.weights:  # an input that was not named has another name in the clone
            clone.get_layer(layer.name).set_weights(layer.get_weights())
    for name, offset in moved.items():
        for conv in reading[name]:
            *kernels, bias = conv.get_weights()
            kernel = conv.small_weights()[0] if isinstance(conv, CollapsibleConv2D) else kernels[0]
            more = (network.get_layer(name).offset - offset) * kernel.sum((0, 1, 2))
            clone.get_layer(conv.name).set_weights([*kernels, bias + more])
    return clone


def _can_move(layer, reading) -> bool:
    if not isinstance(layer, keras.layers.Rescaling) or not isinstance(
        made_by(layer.input)[0], keras.layers.InputLayer
    ):
        return False
    return layer.scale > 0 and all(_has_movable_bias(each) for each in reading[layer.name])


def _has_movable_bias(layer) -> bool:
    return isinstance(layer, CollapsibleConv2D) or (is_linear_conv(layer) and layer.use_bias)


def _aligned_offset(layer) -> float:
    step = layer.scale / LEVELS
    return float(np.rint(layer.offset / step) * step)


def _repeats(layer) -> bool:
    """Returns whether a layer concatenates one tensor with itself, as the anchor of ABPN."""
    if not isinstance(layer, keras.layers.Concatenate):
        return False
    return not isinstance(layer.input, list) or len({id(tensor) for tensor in layer.input}) == 1
