"""Moves the pixel shuffle at the end of a `.tflite` file from the file into the runtime.

NPUs have no DEPTH_TO_SPACE, and it only rearranges values: without it the file ends with the convolution in front of
it, and the runtime rearranges that one's channels (`shuffle` of the model card), as for the flavor int16x8. The runtime
takes the fine half of a dual-range output from the second half of its channels, before it shuffles. In front of
DEPTH_TO_SPACE both halves are next to each other at each sub-pixel position, so the channels of the last convolution
are put in the order that the runtime expects: every value stays the same integer, at the same scale. A clipping behind
DEPTH_TO_SPACE, as in ABPN and SESR, acts on each value alone, so it commutes with it and stays in the file.
"""

import copy

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.quantization import tflite_schema

_OPERATOR = "DEPTH_TO_SPACE"
_ELEMENTWISE = ("MINIMUM", "MAXIMUM", "RELU", "RELU6", "RELU_N1_TO_1")


def without_pixel_shuffle(content: bytes, fine_scale: int) -> tuple[bytes, int]:
    """Returns the file without a DEPTH_TO_SPACE at its end, and its factor, the card's `shuffle`; else 1.

    Args:
        content: A `.tflite` file without a model card.
        fine_scale: That of its card; above 1 for a dual-range output.

    Raises:
        InputError: A dual-range output that a convolution does not make.
    """
    model = tflite_schema.parse(content)
    graph = model.subgraphs[0]
    index = _find(model, graph)
    if index is None:
        return content, 1
    shuffle = graph.operators.pop(index)
    inner, removed, scale = int(shuffle.inputs[0]), int(shuffle.outputs[0]), int(shuffle.builtinOptions.blockSize)
    _require_same_quantization(graph.tensors[inner], graph.tensors[removed])
    if fine_scale > 1:
        _halves_last(model, graph, inner, scale)
    for clipping in graph.operators[index:]:
        graph.tensors[clipping.outputs[0]].shape = graph.tensors[inner].shape
        graph.tensors[clipping.outputs[0]].shapeSignature = graph.tensors[inner].shapeSignature
    _merge(model, graph, removed, inner)
    _drop_unused_codes(model)
    return tflite_schema.serialized(model), scale


def _find(model, graph) -> int | None:
    """Returns the index of the DEPTH_TO_SPACE that makes the output, `None` where there is none."""
    wanted = list(graph.outputs)
    for index in reversed(range(len(graph.operators))):
        operator = graph.operators[index]
        name = tflite_schema.operator_name(model, operator)
        if list(operator.outputs) != wanted or sum(wanted[0] in other.inputs for other in graph.operators) > 1:
            return None
        if name == _OPERATOR:
            return index
        image, *others = sorted(operator.inputs, key=lambda number: -np.size(graph.tensors[number].shape))
        if name not in _ELEMENTWISE or any(np.size(graph.tensors[number].shape) for number in others):
            return None
        wanted = [image]
    return None


def _require_same_quantization(first, second):
    pairs = [(getattr(first.quantization, name), getattr(second.quantization, name)) for name in ("scale", "zeroPoint")]
    if first.type != second.type or not all(np.array_equal(a, b) for a, b in pairs):
        raise InputError(f"{_OPERATOR} changes the quantization of its input; export the network again")


def _halves_last(model, graph, output, scale):
    """Orders the channels of the convolution that makes `output`: all coarse ones first, then all fine ones."""
    makers = [operator for operator in graph.operators if output in operator.outputs]
    if (
        len(makers) != 1
        or any(output in operator.inputs for operator in graph.operators)
        or tflite_schema.operator_name(model, makers[0]) != "CONV_2D"
    ):
        raise InputError(f"{_OPERATOR} of a dual-range output must follow a convolution; export the network again")
    channels = int(graph.tensors[output].shape[-1])
    order = np.arange(channels).reshape(scale**2, 2, -1).transpose(1, 0, 2).ravel()
    for number in makers[0].inputs[1:]:
        tensor = graph.tensors[number] = copy.deepcopy(graph.tensors[number])
        tensor.quantization.scale, tensor.quantization.zeroPoint = (
            values[order] if values is not None and len(values) == channels else values
            for values in (tensor.quantization.scale, tensor.quantization.zeroPoint)
        )
        rows = np.asarray(model.buffers[tensor.buffer].data, np.uint8).reshape(channels, -1)
        # Equal weights may share one buffer.
        buffer = copy.copy(model.buffers[tensor.buffer])
        buffer.data = rows[order].ravel()
        if sum(each.buffer == tensor.buffer for each in graph.tensors) > 1:
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
        else:
            model.buffers[tensor.buffer] = buffer


def _merge(model, graph, removed, kept):
    """Removes a tensor, in whose place another one is used; later tensors move up by one number."""
    mapping = {number: number - (number > removed) for number in range(len(graph.tensors))} | {-1: -1}
    mapping[removed] = mapping[kept]

    def moved(numbers):
        return np.array([mapping[int(number)] for number in numbers], np.int32)

    for operator in graph.operators:
        operator.inputs, operator.outputs = moved(operator.inputs), moved(operator.outputs)
    graph.inputs, graph.outputs = moved(graph.inputs), moved(graph.outputs)
    for signature in model.signatureDefs or ():
        for tensor in (*(signature.inputs or ()), *(signature.outputs or ())):
            tensor.tensorIndex = mapping[tensor.tensorIndex]
    del graph.tensors[removed]


def _drop_unused_codes(model):
    used = sorted({operator.opcodeIndex for graph in model.subgraphs for operator in graph.operators})
    for graph in model.subgraphs:
        for operator in graph.operators:
            operator.opcodeIndex = used.index(operator.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[index] for index in used]
