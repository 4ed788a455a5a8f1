"""How far an output pixel of a Keras network looks: along the longest path from its input to its output.

Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill 2019,
https://doi.org/10.23915/distill.00021. Departure: a convolution counts as if it stood on the low-resolution grid also
behind an upsampling, which is never less than the truth.
"""

from typing import NamedTuple

# Layers that treat every pixel alone.
_POINTWISE = {
    "BatchNormalization",
    "ReLU",
    "LeakyReLU",
    "PReLU",
    "Activation",
    "Add",
    "Subtract",
    "Multiply",
    "Rescaling",
    "Dropout",
    "UnitRange",
}
# Functions of `keras.ops`, and operators between tensors, that do so.
_POINTWISE_OPERATIONS = {"Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Negative", "Maximum", "Minimum"}
_POINTWISE_OPERATIONS |= {"Clip", "Cast", "Relu", "LeakyRelu", "Sigmoid", "Silu", "Tanh"}


class _Reach(NamedTuple):
    radius: int  # low-resolution pixels on each side that a value depends on
    margin: int = 0  # pixels on each side that padding has added


def receptive_radius(network) -> int | None:
    """Returns how many low-resolution pixels away an output pixel can look, or `None` for all of them.

    The radii of the layers are added up along each path of the network's graph, and the longest path counts. A layer
    that is not known to be local, a strided convolution, and a network that is no graph of layers make it `None`.
    """
    found = _of_graph(network, _Reach(0))
    return None if found is None or found.margin else found.radius


def _of_graph(network, reach: _Reach) -> _Reach | None:
    """Returns the reach of the outputs of a network, all of whose inputs have that of `reach`."""
    if type(network).__name__ not in ("Functional", "Sequential"):
        return None  # whose `call` may do anything
    graph = getattr(network, "_functional", network)
    if graph is None:
        return None
    found = {id(tensor): reach for tensor in graph.inputs}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            inputs = [found[id(tensor)] for tensor in node.input_tensors]
            for tensor in node.outputs:
                found.setdefault(id(tensor), _behind(node.operation, inputs))
    return _widest([found[id(tensor)] for tensor in graph.outputs])


def _widest(inputs) -> _Reach | None:
    """Returns the reach of what is made of several values pixel by pixel."""
    if not inputs or None in inputs or len({reach.margin for reach in inputs}) > 1:
        return None
    return max(inputs)


def _behind(layer, inputs) -> _Reach | None:
    """Returns the reach of a layer's output, given those of its inputs."""
    reach, kind, module = _widest(inputs), type(layer).__name__, type(layer).__module__
    if reach is None or not module.startswith(("keras.", "tfmisr.")):
        return None
    if module.startswith("keras.src.ops."):
        return reach if kind in _POINTWISE_OPERATIONS else None
    if kind in ("Functional", "Sequential"):
        return _of_graph(layer, reach)
    if kind in _POINTWISE or (kind == "Concatenate" and layer.axis in (-1, 3)):
        return reach
    if kind in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D"):
        return _behind_convolution(layer, reach)
    if kind == "SymmetricPadding":
        return _Reach(reach.radius, reach.margin + layer.margin)
    if kind == "CollapsibleConv2D":
        return _Reach(reach.radius + layer.kernel_size // 2, reach.margin)
    radius = None if reach.margin else _of_upsampling(layer, kind)
    return None if radius is None else _Reach(reach.radius + radius)


def _behind_convolution(layer, reach):
    if max(layer.strides) > 1:
        return None
    pairs = list(zip(layer.kernel_size, layer.dilation_rate, strict=True))
    radii = [size // 2 * rate for size, rate in pairs]
    if layer.padding == "same":
        return _Reach(reach.radius + max(radii), reach.margin)
    # Without padding it takes from the margin as much as it sees, the same on all sides.
    if layer.padding != "valid" or len(set(radii)) > 1 or any(size % 2 == 0 for size, _ in pairs):
        return None
    return _Reach(reach.radius + radii[0], reach.margin - radii[0])


def _of_upsampling(layer, kind) -> int | None:
    """Returns the radius of a layer that enlarges, in pixels of its input."""
    if kind == "DepthToSpace" or (kind == "UpSampling2D" and layer.interpolation == "nearest"):
        return 0
    if kind == "BicubicUpsampling":
        return layer.radius
    if kind == "Conv2DTranspose" and layer.padding == "same" and max(layer.dilation_rate) == 1:
        pairs = zip(layer.kernel_size, layer.strides, strict=True)
        return max((size - 1 - max(size - stride, 0) // 2) // stride for size, stride in pairs)
    return None
