"""Reads the weights of a `.tflite` file back into a Keras network, so that an exported model can be trained further."""

import pathlib

import keras
import numpy as np

from tfmisr import models
from tfmisr.config import initial_weights
from tfmisr.edge import card as model_card
from tfmisr.edge.errors import InputError
from tfmisr.quantization import tflite_schema
from tfmisr.quantization.tflite_schema import schema

_TYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}


def network(path: pathlib.Path) -> keras.Model:
    """Returns the network that a `.tflite` file with a model card was converted from, with the file's precision.

    Only plain (chain) networks can be rebuilt: batch normalization is folded into its neighbors, and the branches of
    other networks have no names.

    Raises:
        InputError: The card does not name the network, or it is not a plain one.
    """
    card = model_card.read(path, initial_weights.plane_kind(path))
    name = card.get("training", {}).get("model")
    if not isinstance(name, str):
        raise InputError(f"the model card of {path} does not name its network; give the run's folder")
    created = models.create(name, card["scale"], card["channels"])
    layers = [layer for layer in created.layers if layer.weights]
    weights = convolutions(path.read_bytes())
    if weights and card["fine_scale"] > 1:
        weights[-1] = [_coarse_half(array, card["scale"]) for array in weights[-1]]
    same_shapes = [_shapes(layer.get_weights()) for layer in layers] == [_shapes(arrays) for arrays in weights]
    if not _is_chain(created) or not same_shapes:
        raise InputError(
            f"{path} cannot be trained further: {name} is not a plain chain of convolutions; give the run's folder"
        )
    for layer, arrays in zip(layers, weights, strict=True):
        layer.set_weights(arrays)
    return created


def _coarse_half(weights, scale):
    """Returns the weights of the coarse channels of a dual-range output, the first half at each sub-pixel position."""
    halves = weights.reshape(*weights.shape[:-1], scale**2, 2, -1)
    return halves[..., 0, :].reshape(*weights.shape[:-1], -1)


def _is_chain(network) -> bool:
    """Returns whether only the network's last layer, the global residual, has several inputs."""
    _, *others, _ = network.layers
    return all(not isinstance(layer.input, list) for layer in others)


def _shapes(arrays):
    return [array.shape for array in arrays]


def convolutions(content: bytes) -> list[list[np.ndarray]]:
    """Returns float32 kernel (height, width, in, out) and bias of each `CONV_2D` of a file, in order of execution.

    Of a network with a merged self-ensemble, those of the first branch, which reads the image as it is.
    """
    model = tflite_schema.parse(content)
    graph = model.subgraphs[0]
    by_code: dict[int, list] = {}
    for operator in graph.operators:
        by_code.setdefault(tflite_schema.builtin_code(model, operator), []).append(operator)
    # Float16 weights stand before an operation that widens them.
    float16 = {o.outputs[0]: o.inputs[0] for o in by_code.get(schema.BuiltinOperator.DEQUANTIZE, ())}

    def values(index):
        return _values(model, graph.tensors[float16.get(index, index)])

    convs = by_code.get(schema.BuiltinOperator.CONV_2D, [])
    merges = [o for o in by_code.get(schema.BuiltinOperator.CONCATENATION, ()) if _is_read_by(o, convs)]
    first_branch = _first_branch(convs, merges[0]) if len(merges) == 1 else convs
    kernels = [[values(o.inputs[1]).transpose(1, 2, 3, 0), values(o.inputs[2])] for o in first_branch]
    if first_branch is not convs:
        kernel, bias = kernels[-1]
        num_transforms = len(merges[0].inputs)
        kernels[-1] = [num_transforms * kernel[:, :, : kernel.shape[2] // num_transforms], bias]
    return kernels


def _is_read_by(operator, convolutions) -> bool:
    return any(o.inputs[0] == operator.outputs[0] for o in convolutions)


def _first_branch(convolutions, concatenation):
    """Returns the convolutions that lead to the first input of a concatenation, and the one that reads it."""
    producers, tensor, branch = {o.outputs[0]: o for o in convolutions}, concatenation.inputs[0], []
    while tensor in producers:
        branch.insert(0, producers[tensor])
        tensor = producers[tensor].inputs[0]
    return [*branch, *(o for o in convolutions if o.inputs[0] == concatenation.outputs[0])]


def _values(model, tensor) -> np.ndarray:
    data = model.buffers[tensor.buffer].data
    stored = np.frombuffer(bytes(data if data is not None else b""), _TYPES[tensor.type])
    if stored.size != np.prod(tensor.shape):
        raise InputError("the .tflite file has a convolution whose weights are not stored; give the run's folder")
    stored = stored.reshape(tensor.shape).astype(np.float32)
    if tensor.quantization is None or tensor.quantization.scale is None:
        return stored
    # A scale for each output channel, which is the first axis of kernels and the only one of biases.
    return stored * np.reshape(tensor.quantization.scale, (-1,) + (1,) * (stored.ndim - 1)).astype(np.float32)
