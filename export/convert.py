"""From a Keras network to `.tflite` files and a SavedModel."""

import contextlib
import dataclasses
import logging
import os
import pathlib
import re
import shutil
import sys
import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfmisr import layers, quantization
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import temporary_name
from tfmisr.export import zero_range
from tfmisr.layers import collapsible

FLAVOURS = ("float32", "float16", "dynamic", "int8", "int16x8")
INTEGER = ("int8", "int16x8")
SIGNATURE = "serving_default"

# LiteRT's kernel of the shuffle knows no 16-bit integers; the runtime does it then.
_WITHOUT_SHUFFLE = ("int16x8",)


@dataclasses.dataclass(frozen=True)
class Core:
    """The part of a network that goes into a `.tflite` file.

    Attributes:
        network: Keras network of float32 from `low_res`.
        skip: What the runtime adds to its output: `bicubic`, or `none`.
        shuffle: Factor by which the runtime turns channels into pixels; 1 where the network does it.
        magnified: Factor of the second half of the output's channels, which are the first half again, finer; 1 where
            there is no second half.
    """

    network: keras.Model
    skip: str
    shuffle: int = 1
    magnified: int = 1


def in_float32(network: keras.Model) -> keras.Model:
    """Returns the network itself, or one with the same weights that works in float32 throughout."""
    if all(layer.compute_dtype == "float32" for layer in network.layers):
        return network

    def rebuilt(layer):
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    clone = keras.models.clone_model(network, clone_function=rebuilt)
    clone.set_weights(network.get_weights())
    return clone


def core_of(network: keras.Model, flavour: str) -> Core:
    """Returns the network without the interpolation that is added at its end, where there is one, and collapsed."""
    network = collapsible.collapsed(network)
    residual = _residual(network)
    if residual is None:
        return Core(network, "none")
    last, inputs = _made_by(residual)
    if flavour in _WITHOUT_SHUFFLE and isinstance(last, layers.DepthToSpace):
        return Core(keras.Model(network.input, inputs[0]), "bicubic", last.scale)
    if flavour == "int8" and isinstance(last, layers.DepthToSpace):
        conv, features = _made_by(inputs[0])
        if type(conv) is keras.layers.Conv2D and conv.groups == 1 and conv.activation is keras.activations.linear:
            both = _in_two_ranges(conv, last.scale)(features[0])
            return Core(keras.Model(network.input, last(both)), "bicubic", magnified=quantization.MAGNIFIED)
    return Core(keras.Model(network.input, residual), "bicubic")


def _in_two_ranges(conv, scale: int) -> keras.layers.Layer:
    """Returns a convolution whose channels, for each place of the shuffle, are those of `conv` and the same magnified.

    All are cut at -1 and 1, so one scale of 8 bits serves both.
    """
    filters = 2 * conv.filters
    changed = {"filters": filters, "use_bias": True, "activation": "hard_tanh"}
    found = keras.layers.Conv2D.from_config({**conv.get_config(), **changed})
    kernel, bias = conv.get_weights() if conv.use_bias else (*conv.get_weights(), np.zeros(conv.filters, np.float32))

    def both(values):
        places = values.reshape(*values.shape[:-1], scale**2, -1)
        return np.concatenate([places, quantization.MAGNIFIED * places], -1).reshape(*values.shape[:-1], filters)

    found.build((None, None, None, kernel.shape[2]))
    found.set_weights([both(kernel), both(bias)])
    return found


def _made_by(tensor):
    """Returns the layer that makes a symbolic tensor, and the tensors it makes it from."""
    history = tensor._keras_history
    return history.operation, history.operation._inbound_nodes[history.node_index].input_tensors


def _residual(network):
    last, inputs = _made_by(network.output)
    if not isinstance(last, keras.layers.Add) or len(inputs) != 2:
        return None
    for upsampled, residual in (inputs, inputs[::-1]):
        layer, source = _made_by(upsampled)
        if isinstance(layer, layers.BicubicUpsampling) and source[0] is network.input:
            return residual
    return None


def concrete(network: keras.Model, tile: int | None):
    """Returns the network as one TensorFlow function with its weights frozen.

    The converter fails on the variables of a Keras 3 network when it calibrates.

    Args:
        network: Keras network.
        tile: Side of its input; `None` for any.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec((1, tile, tile, network.input_shape[-1]), tf.float32, name="low_res")
    function = tf.function(lambda low_res: network(low_res, training=False), input_signature=[spec])
    return convert_variables_to_constants_v2(function.get_concrete_function())


def to_tflite(core: Core, flavour: str, tile: int | None, samples: Callable | None = None) -> bytes:
    """Returns a `.tflite` file of LiteRT's own operations, without a card.

    Args:
        core: What to convert; see `core_of`.
        flavour: One of `FLAVOURS`.
        tile: Side of the input in low-resolution pixels; `None` for any.
        samples: For the integer flavours: function that yields float32 images (height, width, channels).

    Raises:
        InputError: An operation that LiteRT has no kernel for.
    """
    with _silent():
        function = concrete(core.network, tile)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if flavour != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if flavour == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if flavour in INTEGER:
        kinds = {
            "int8": (tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8),
            "int16x8": (tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8, tf.int16),
        }
        operations, kind = kinds[flavour]
        converter.target_spec.supported_ops = [operations]
        converter.inference_input_type = converter.inference_output_type = kind
        converter.representative_dataset = lambda: ([image[None]] for image in samples())
    content = _converted(converter, function.graph, core.network)
    content = zero_range.widened(content) if flavour == "int8" else content
    if custom := [name for name in operations_of(content) if name.startswith("CUSTOM")]:
        raise InputError(f"LiteRT has no kernel of its own for {', '.join(custom)}; the network cannot be exported")
    return content


def _converted(converter, graph, network) -> bytes:
    try:
        with warnings.catch_warnings(), _silent():
            # It warns about what is always so, such as statistics that it has just been given.
            warnings.simplefilter("ignore")
            return converter.convert()
    except Exception as error:
        if type(error).__name__ not in ("ConverterError", "RuntimeError", "ValueError"):
            raise
        raise InputError(_reason(str(error), graph, network)) from error


@contextlib.contextmanager
def _silent():
    """Keeps what TensorFlow and its converter say of themselves off the screen, which no setting of theirs does."""
    sys.stderr.flush()
    kept, log = os.dup(2), logging.getLogger("absl")
    quiet, log.disabled = log.disabled, True
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        log.disabled = quiet


def _reason(message: str, graph, network) -> str:
    """Returns one line from the converter's many, with the layer and the operation in it."""
    found = re.search(r"^(?:TF Select|Flex|Custom) ops: (?:Flex)?(\w+)", message, re.M) or re.search(
        r"not yet supported for op: '(\w+)'", message
    )
    if not found:
        return f"the converter failed: {message.strip().splitlines()[0]}"
    operation = found[1]
    places = [o.name for o in graph.get_operations() if o.type.lower() == operation.replace("_", "").lower()]
    names = sorted((layer.name for layer in network.layers), key=len, reverse=True)
    layer = next((n for n in names if any(re.search(rf"/{re.escape(n)}(_\d+)?/", p) for p in places)), None)
    where = f"layer {layer}" if layer else "the network"
    return f"{where} uses {operation}, which LiteRT has no kernel of its own for; replace it to export the network"


def operations_of(content: bytes) -> dict[str, int]:
    """Returns the operations in a `.tflite` file and how often each comes, as in `{"CONV_2D": 6}`."""
    from tensorflow.lite.python import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    custom = [c.customCode for c in model.operatorCodes]
    found = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = names[codes[operator.opcodeIndex]]
            if name == "CUSTOM":
                name = f"CUSTOM {custom[operator.opcodeIndex].decode()}"
            found[name] = found.get(name, 0) + 1
    return found


def save_model(network: keras.Model, folder) -> None:
    """Writes a SavedModel of the whole network for images of any size, whole or not at all.

    Its signature `serving_default` maps `low_res` to `super_res`, float32 (batch, height, width, channels).
    """
    network = collapsible.collapsed(network)
    folder = pathlib.Path(folder)
    temporary = temporary_name(folder)
    archive = keras.export.ExportArchive()
    archive.track(network)
    spec = tf.TensorSpec((None, None, None, network.input_shape[-1]), tf.float32, name="low_res")
    archive.add_endpoint(
        SIGNATURE, lambda low_res: {"super_res": network(low_res, training=False)}, input_signature=[spec]
    )
    try:
        archive.write_out(temporary, verbose=False)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def quantization_step(content: bytes) -> float:
    """Returns the step of an integer file's input, in units of the range [0, 1]."""
    from tensorflow.lite.python import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    return float(np.float32(graph.Tensors(graph.Inputs(0)).Quantization().Scale(0)))
