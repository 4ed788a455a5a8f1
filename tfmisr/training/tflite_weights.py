"""From a `.tflite` file back to a Keras network: for training that goes on where an exported model stopped."""

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from tfmisr import models
from tfmisr.edge import card as model_card
from tfmisr.edge.errors import InputError

_TYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}


def network(path):
    """Returns the network that a `.tflite` file with a model card was made of, its weights as exact as the file's.

    Only a single row of convolutions can be told from the file: batch normalisation is folded into its neighbours,
    and branches have no names.

    Raises:
        InputError: The card does not say the network, or it is no row of convolutions.
    """
    card = model_card.read(path)
    name = card.get("training", {}).get("model")
    if not isinstance(name, str):
        raise InputError(f"the model card of {path} does not say which network it is; give the run's folder")
    created = models.create(name, card["scale"], card["channels"])
    layers = [layer for layer in created.layers if layer.weights]
    found = convolutions(path.read_bytes())
    if found and card["magnified"] > 1:
        found[-1] = [_without_magnified(weights, card["scale"]) for weights in found[-1]]
    if not _is_row(created) or [_shapes(layer.get_weights()) for layer in layers] != [_shapes(each) for each in found]:
        raise InputError(f"{path} cannot be trained on: {name} is no single row of convolutions; give the run's folder")
    for layer, weights in zip(layers, found, strict=True):
        layer.set_weights(weights)
    return created


def _without_magnified(weights, scale):
    """Returns the weights of the first half of the channels for each place of the shuffle; the second is the same."""
    halves = weights.reshape(*weights.shape[:-1], scale**2, 2, -1)
    return halves[..., 0, :].reshape(*weights.shape[:-1], -1)


def _is_row(network) -> bool:
    """Returns whether only the network's last layer, which adds to the interpolation, has several inputs."""
    _, *others, _ = network.layers
    return all(not isinstance(layer.input, list) for layer in others)


def _shapes(arrays):
    return [array.shape for array in arrays]


def convolutions(content: bytes) -> list[list[np.ndarray]]:
    """Returns float32 kernel (height, width, in, out) and bias of each `CONV_2D` of a file, in order of execution.

    Of a row that was folded over orientations, those of the first, upright one.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    by_kind = {kind: [o for o in graph.operators if kinds[o.opcodeIndex] == kind] for kind in set(kinds)}
    # Float16 weights stand before an operation that widens them.
    narrow = {o.outputs[0]: o.inputs[0] for o in by_kind.get(schema.BuiltinOperator.DEQUANTIZE, ())}

    def values(index):
        return _values(model, graph.tensors[narrow.get(index, index)])

    found = by_kind.get(schema.BuiltinOperator.CONV_2D, [])
    towers = [o for o in by_kind.get(schema.BuiltinOperator.CONCATENATION, ()) if _leads_to(o, found)]
    upright = _upright(found, towers[0]) if len(towers) == 1 else found
    kernels = [[values(o.inputs[1]).transpose(1, 2, 3, 0), values(o.inputs[2])] for o in upright]
    if upright is not found:
        kernel, bias = kernels[-1]
        ways = len(towers[0].inputs)
        kernels[-1] = [ways * kernel[:, :, : kernel.shape[2] // ways], bias]
    return kernels


def _leads_to(operation, convolutions) -> bool:
    return any(o.inputs[0] == operation.outputs[0] for o in convolutions)


def _upright(convolutions, towers):
    """Returns the convolutions that lead to the first input of a concatenation, and the one that reads it."""
    makers, tensor, found = {o.outputs[0]: o for o in convolutions}, towers.inputs[0], []
    while tensor in makers:
        found.insert(0, makers[tensor])
        tensor = makers[tensor].inputs[0]
    return [*found, *(o for o in convolutions if o.inputs[0] == towers.outputs[0])]


def _values(model, tensor) -> np.ndarray:
    data = model.buffers[tensor.buffer].data
    stored = np.frombuffer(bytes(data if data is not None else b""), _TYPES[tensor.type])
    if stored.size != np.prod(tensor.shape):
        raise InputError("the .tflite file holds a convolution whose weights are worked out; give the run's folder")
    stored = stored.reshape(tensor.shape).astype(np.float32)
    if tensor.quantization is None or tensor.quantization.scale is None:
        return stored
    # A scale for each output channel, which is the first axis of kernels and the only one of biases.
    return stored * np.reshape(tensor.quantization.scale, (-1,) + (1,) * (stored.ndim - 1)).astype(np.float32)
