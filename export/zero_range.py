"""Integer files in which calibration has seen nothing but zeros somewhere, made such that XNNPACK can run them."""

import copy

import numpy as np

# XNNPACK refuses a convolution of which a step of the accumulator is this many steps of the output, or more.
_TOO_MANY = 256.0


def widened(content: bytes) -> bytes:
    """Returns an int8 file in which no step of a convolution's output is too fine for XNNPACK.

    A ReLU that is 0 on all calibration images, as one of the few of a channel attention easily is, has no range, and
    the converter gives it steps of some thousand millionths. Wider steps say the same 0, and more of what the tensor
    may hold on another image. The biases of the convolutions that read it, which are counted in its steps, are counted
    anew; a tensor that anything else reads stays as it is. A file without such a tensor is returned as it is.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(content)
    graph, changed = model.subgraphs[0], False
    for operator in graph.operators:
        if _is_convolution(model, operator) and (factor := _steps_of_accumulator(graph, operator)) >= _TOO_MANY:
            changed |= _widen(model, graph, operator.outputs[0], factor)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model)) if changed else content


def _is_convolution(model, operator) -> bool:
    from tensorflow.lite.python import schema_py_generated as schema

    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode) == schema.BuiltinOperator.CONV_2D


def _readers(graph, tensor) -> list:
    return [operator for operator in graph.operators if tensor in operator.inputs]


def _scale(graph, tensor) -> np.ndarray:
    return np.asarray(graph.tensors[tensor].quantization.scale, np.float64)


def _steps_of_accumulator(graph, operator) -> float:
    """Returns how many steps of a convolution's output the largest step of its accumulator is."""
    image, kernel = (_scale(graph, tensor) for tensor in operator.inputs[:2])
    return float((image * kernel).max() / _scale(graph, operator.outputs[0])[0])


def _widen(model, graph, tensor, factor) -> bool:
    readers = _readers(graph, tensor)
    biases = [reader.inputs[2] for reader in readers if _is_convolution(model, reader)]
    if len(biases) < len(readers) or not readers or any(len(_readers(graph, bias)) > 1 for bias in biases):
        return False
    graph.tensors[tensor].quantization.scale = (_scale(graph, tensor) * factor).astype(np.float32)
    for number in biases:
        bias = graph.tensors[number]
        bias.quantization.scale = (_scale(graph, number) * factor).astype(np.float32)
        counts = np.frombuffer(np.asarray(model.buffers[bias.buffer].data, np.uint8).tobytes(), np.int32)
        # Equal biases may lie in one buffer.
        own = copy.copy(model.buffers[bias.buffer])
        own.data = np.frombuffer(np.rint(counts / factor).astype(np.int32).tobytes(), np.uint8)
        model.buffers.append(own)
        bias.buffer = len(model.buffers) - 1
    return True
