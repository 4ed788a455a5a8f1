"""Zero-range activations: widens the output scales of an int8 file that calibration has made too fine for XNNPACK."""

import copy

import numpy as np

# XNNPACK refuses a convolution whose accumulator has steps of this many steps of its output, or more.
_MOST_STEPS = 256.0


def widened(content: bytes) -> bytes:
    """Returns an int8 file in which no scale of a convolution's output is too fine for XNNPACK.

    A ReLU that is 0 on all calibration images, as one of the few of a channel attention easily is, has no range, and
    the converter gives it steps of some 1e-9. Wider steps represent the same 0, and more of the values that the tensor
    may have on another image. The biases of the convolutions that read it are integers in its steps, so they are
    recomputed; a tensor that another operation reads stays as it is. A file without such a tensor is returned as it is.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(content)
    graph, changed = model.subgraphs[0], False
    for operator in graph.operators:
        if _is_convolution(model, operator) and (factor := _accumulator_steps(graph, operator)) >= _MOST_STEPS:
            changed |= _widen(model, graph, operator.outputs[0], factor)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model)) if changed else content


def _is_convolution(model, operator) -> bool:
    from tfmisr.quantization import tflite_schema

    return tflite_schema.operator_name(model, operator) == "CONV_2D"


def _readers(graph, tensor) -> list:
    return [operator for operator in graph.operators if tensor in operator.inputs]


def _scale(graph, tensor) -> np.ndarray:
    return np.asarray(graph.tensors[tensor].quantization.scale, np.float64)


def _accumulator_steps(graph, operator) -> float:
    """Returns the largest step of a convolution's accumulator in steps of its output."""
    image, kernel = (_scale(graph, tensor) for tensor in operator.inputs[:2])
    return float((image * kernel).max() / _scale(graph, operator.outputs[0])[0])


def _widen(model, graph, tensor, factor) -> bool:
    """Multiplies the scale of a tensor; returns whether all operations that read it allow that."""
    readers = _readers(graph, tensor)
    biases = [reader.inputs[2] for reader in readers if _is_convolution(model, reader)]
    if len(biases) < len(readers) or not readers or any(len(_readers(graph, bias)) > 1 for bias in biases):
        return False
    graph.tensors[tensor].quantization.scale = (_scale(graph, tensor) * factor).astype(np.float32)
    for number in biases:
        bias = graph.tensors[number]
        bias.quantization.scale = (_scale(graph, number) * factor).astype(np.float32)
        counts = np.frombuffer(np.asarray(model.buffers[bias.buffer].data, np.uint8).tobytes(), np.int32)
        # Equal biases may share one buffer.
        buffer = copy.copy(model.buffers[bias.buffer])
        buffer.data = np.frombuffer(np.rint(counts / factor).astype(np.int32).tobytes(), np.uint8)
        model.buffers.append(buffer)
        bias.buffer = len(model.buffers) - 1
    return True
