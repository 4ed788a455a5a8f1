"""Accelerators that a file can be exported for: which files they run, and what is known to keep a file off them.

A compiler decides in the end (`benchmarks/accelerators.py` runs Arm's); what is refused here is what its maker says
does not run.

- Ethos-U55, U65 and U85: report of supported operators of Arm's compiler Vela 5.2 (`vela --supported-ops-report`).
- Edge TPU: "TensorFlow models on the Edge TPU", https://coral.ai/docs/edgetpu/models-intro/ (8 bits throughout,
  constant sizes, at most three dimensions above 1). Its compiler is closed and not on PyPI: nothing was compiled.
"""

import dataclasses

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.quantization import tflite_schema

GENERIC = "generic"
FLAVOR = "int8"
_TYPES = ("INT8", "INT32")  # INT32: biases and sizes

_ALL = frozenset(
    "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED LOGISTIC MAXIMUM MAX_POOL_2D MEAN "
    "MINIMUM MUL PAD PRELU QUANTIZE RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SLICE "
    "SOFTMAX SPLIT SQUEEZE STRIDED_SLICE SUB SUM TANH TRANSPOSE_CONV".split()
)
_ETHOS_U = _ALL | frozenset("ABS ELU EXP GELU HARD_SWISH LEAKY_RELU MIRROR_PAD RSQRT SPLIT_V TILE TRANSPOSE".split())
_EDGE_TPU = _ALL | frozenset("L2_NORMALIZATION SPACE_TO_DEPTH SQUARED_DIFFERENCE".split())


@dataclasses.dataclass(frozen=True)
class Target:
    """One kind of accelerator.

    Attributes:
        title: Its name in messages.
        operators: Names of the operators that it may run; those of networks for images, not all it has.
        vela: Prefix of the configurations of Arm's compiler, such as `ethos-u55`; `None` where it has another one.
    """

    title: str
    operators: frozenset[str]
    vela: str | None = None


TARGETS = {
    "ethos-u55": Target("Arm Ethos-U55", _ETHOS_U, "ethos-u55"),
    "ethos-u65": Target("Arm Ethos-U65", _ETHOS_U, "ethos-u65"),
    "ethos-u85": Target("Arm Ethos-U85", _ETHOS_U, "ethos-u85"),
    "edgetpu": Target("Google Coral Edge TPU", _EDGE_TPU),
}
NAMES = (GENERIC, *TARGETS)


def check(content: bytes, name: str) -> None:
    """Checks that nothing of a file is known not to run on a target.

    Args:
        content: The `.tflite` file.
        name: One of `TARGETS`.

    Raises:
        InputError: An operator or type that it does not have, sizes that are not fixed, or too many dimensions.
    """
    target, model = TARGETS[name], tflite_schema.parse(content)
    for graph in model.subgraphs:
        for operator in graph.operators:
            operation = tflite_schema.operator_name(model, operator)
            if operation not in target.operators:
                raise InputError(
                    f"{target.title} has no {operation}, which this network needs; take a network without it, such as "
                    f"plain, or --target {GENERIC}"
                )
        for tensor in graph.tensors:
            constant = model.buffers[tensor.buffer].data is not None
            _check_tensor(target, tensor, constant)


def _check_tensor(target, tensor, constant):
    kind, shape = tflite_schema.type_name(tensor), np.asarray(tensor.shape if tensor.shape is not None else [])
    received = f"Received: the tensor {(tensor.name or b'').decode(errors='replace')}, {kind} {shape.tolist()}"
    if kind not in _TYPES:
        raise InputError(f"{target.title} takes integers of 8 bits. {received}")
    if (shape < 1).any() or (tensor.shapeSignature is not None and (np.asarray(tensor.shapeSignature) < 0).any()):
        raise InputError(f"{target.title} needs fixed sizes; give --tile N. {received}")
    if target.vela is None and not constant and (shape[:-3] > 1).any():
        raise InputError(f"{target.title} takes three dimensions above 1. {received}")
