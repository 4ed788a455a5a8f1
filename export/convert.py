"""Converts a Keras network to `.tflite` files and to a SavedModel."""

import collections
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
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import temporary_name
from tfmisr.export import fake_quant, int16, zero_range
from tfmisr.layers import collapsible
from tfmisr.layers.activation_range import ActivationRange
from tfmisr.quantization import graph, tflite_schema

FLAVORS = ("float32", "float16", "dynamic", "int8", "int16x8")
INTEGER = ("int8", "int16x8")
SIGNATURE = "serving_default"

# LiteRT's DEPTH_TO_SPACE has no kernel for 16-bit integers; the runtime does it instead.
_WITHOUT_PIXEL_SHUFFLE = ("int16x8",)


class UnsupportedOperation(InputError):
    """The converter has no way to write an operation of a network in the requested flavor."""


@dataclasses.dataclass(frozen=True)
class ExportedSubgraph:
    """The part of a network that goes into a `.tflite` file.

    Attributes:
        network: Keras network of float32 from `low_res`.
        skip: The external global residual, which the runtime adds to its output: `bicubic`, or `none`.
        shuffle: Factor of the pixel shuffle that the runtime does; 1 where the network does it.
        fine_scale: Factor of the second half of a dual-range output's channels, which are the first half times this
            factor; 1 where there is no second half.
    """

    network: keras.Model
    skip: str
    shuffle: int = 1
    fine_scale: int = 1


def in_float32(network: keras.Model) -> keras.Model:
    """Returns the network itself, or one with the same weights that computes in float32 throughout."""
    if all(layer.compute_dtype == "float32" for layer in network.layers):
        return network

    def rebuilt(layer):
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    clone = keras.models.clone_model(network, clone_function=rebuilt)
    clone.set_weights(network.get_weights())
    return clone


def exported_subgraph(network: keras.Model, flavor: str) -> ExportedSubgraph:
    """Returns the collapsed network without the bicubic interpolation that is added at its end, where there is one.

    Args:
        network: Keras network in float32.
        flavor: One of `FLAVORS`.
    """
    network = collapsible.collapsed(network)
    residual = graph.residual(network)
    if residual is None:
        return _before_last_shuffle(network) if flavor in _WITHOUT_PIXEL_SHUFFLE else ExportedSubgraph(network, "none")
    last, inputs = graph.made_by(residual)
    if flavor == "int8" and network.output_shape[-1] == 1 and graph.is_linear_conv(last):  # of a plane: no shuffle
        dual = keras.Model(network.input, _dual_range_conv(last, 1)(inputs[0]))
        return ExportedSubgraph(dual, "bicubic", fine_scale=quantization.FINE_SCALE)
    if flavor in _WITHOUT_PIXEL_SHUFFLE and isinstance(last, layers.DepthToSpace):
        return ExportedSubgraph(keras.Model(network.input, inputs[0]), "bicubic", last.scale)
    if flavor == "int8" and isinstance(last, layers.DepthToSpace):
        _, features = graph.made_by(inputs[0])
        if conv := graph.dual_range_conv(network):
            both = _dual_range_conv(conv, last.scale)(features[0])
            if quantization.has_ranges(network):
                both = ActivationRange(-1.0, 1.0, fixed=True)(both)
            dual = keras.Model(network.input, last(both))
            return ExportedSubgraph(dual, "bicubic", fine_scale=quantization.FINE_SCALE)
    return ExportedSubgraph(keras.Model(network.input, residual), "bicubic")


def _before_last_shuffle(network) -> ExportedSubgraph:
    """Returns a network of the whole image, with the pixel shuffle at its end, where there is one, in the runtime."""
    last, inputs = graph.made_by(network.output)
    clipped = isinstance(last, layers.UnitRange)
    if clipped:  # each value alone, so it may come before the shuffle
        last, inputs = graph.made_by(inputs[0])
    if not isinstance(last, layers.DepthToSpace):
        return ExportedSubgraph(network, "none")
    output = layers.UnitRange(name="unit_range")(inputs[0]) if clipped else inputs[0]
    return ExportedSubgraph(keras.Model(network.input, output), "none", last.scale)


def _dual_range_conv(conv, scale: int) -> keras.layers.Layer:
    """Returns a convolution with the channels of `conv`, and the same times `FINE_SCALE`, at each sub-pixel position.

    All are clipped to [-1, 1], so one 8-bit scale serves both.
    """
    filters = 2 * conv.filters
    changed = {"filters": filters, "use_bias": True, "activation": "hard_tanh"}
    dual = keras.layers.Conv2D.from_config({**conv.get_config(), **changed})
    kernel, bias = conv.get_weights() if conv.use_bias else (*conv.get_weights(), np.zeros(conv.filters, np.float32))

    def both(values):
        positions = values.reshape(*values.shape[:-1], scale**2, -1)
        return np.concatenate([positions, quantization.FINE_SCALE * positions], -1).reshape(*values.shape[:-1], filters)

    dual.build((None, None, None, kernel.shape[2]))
    dual.set_weights([both(kernel), both(bias)])
    return dual


def concrete(network: keras.Model, tile: int | None) -> Callable:
    """Returns the network as one TensorFlow `ConcreteFunction` with its weights frozen.

    The converter fails on the variables of a Keras 3 network when it calibrates.

    Args:
        network: Keras network.
        tile: Side of its input in pixels; `None` for any.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    if len(network.inputs) == 1:
        spec = tf.TensorSpec((1, tile, tile, network.input_shape[-1]), tf.float32, name="low_res")
        function = tf.function(lambda low_res: network(low_res, training=False), input_signature=[spec])
    else:
        specs = [_spec(tensor, tile) for tensor in network.inputs]
        function = tf.function(lambda *inputs: network(list(inputs), training=False), input_signature=specs)
    return convert_variables_to_constants_v2(function.get_concrete_function())


def _spec(tensor, tile):
    """Returns the shape and the name of an input of several; sides of any length become `tile`."""
    shape = (1, *(tile if side is None else side for side in tensor.shape[1:]))
    return tf.TensorSpec(shape, tf.float32, name=tensor.name)


def to_tflite(subgraph: ExportedSubgraph, flavor: str, tile: int | None, samples: Callable | None = None) -> bytes:
    """Returns a `.tflite` file of LiteRT's own operations, without a card.

    Args:
        subgraph: What to convert; see `exported_subgraph`.
        flavor: One of `FLAVORS`.
        tile: Side of the input in low-resolution pixels; `None` for any.
        samples: For the integer flavors: function that yields float32 images (height, width, channels), or a tuple of
            arrays for a network of several inputs.

    Raises:
        UnsupportedOperation: An operation that LiteRT has no kernel for.
    """
    prepared = {"int8": fake_quant.for_converter, "int16x8": int16.with_kernels}
    network = prepared[flavor](subgraph.network) if flavor in prepared else subgraph.network
    with _silent():
        function = concrete(network, tile)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if flavor != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if flavor == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if flavor in INTEGER:
        integers = {
            "int8": (tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8),
            "int16x8": (tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8, tf.int16),
        }
        operations, dtype = integers[flavor]
        converter.target_spec.supported_ops = [operations]
        converter.inference_input_type = converter.inference_output_type = dtype
        converter.representative_dataset = lambda: (_batch(sample) for sample in samples())
    content = _converted(converter, function.graph, subgraph.network, flavor)
    content = zero_range.widened(content) if flavor == "int8" else content
    if custom := [name for name in operations_of(content) if name.startswith("CUSTOM")]:
        reason = f"LiteRT has no kernel of its own for {', '.join(custom)}; the network cannot be exported"
        raise UnsupportedOperation(reason)
    return content


def _batch(sample) -> list:
    return [array[None] for array in (sample if isinstance(sample, tuple) else (sample,))]


def _converted(converter, graph, network, flavor) -> bytes:
    try:
        with warnings.catch_warnings(), _silent():
            # It warns about what is always the case, such as the calibration statistics that it has just received.
            warnings.simplefilter("ignore")
            return converter.convert()
    except Exception as error:
        if type(error).__name__ not in ("ConverterError", "RuntimeError", "ValueError"):
            raise
        raise UnsupportedOperation(_reason(str(error), graph, network, flavor)) from error


@contextlib.contextmanager
def _silent():
    """Suppresses the log output of TensorFlow and its converter on stderr, which none of their settings does."""
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


def _reason(message: str, graph, network, flavor: str) -> str:
    """Returns one line from the converter's long message, with the layer and the operation in it."""
    match = re.search(r"^(?:TF Select|Flex|Custom) ops: (?:Flex)?(\w+)", message, re.MULTILINE) or re.search(
        r"not yet supported for op: '(\w+)'", message
    )
    if not match:
        return f"the converter failed: {message.strip().splitlines()[0]}"
    operation = match[1]
    paths = [o.name for o in graph.get_operations() if o.type.lower() == operation.replace("_", "").lower()]
    names = sorted((layer.name for layer in network.layers), key=len, reverse=True)
    layer = next((n for n in names if any(re.search(rf"/{re.escape(n)}(_\d+)?/", p) for p in paths)), None)
    where = f"layer {layer}" if layer else "the network"
    kernel = "16-bit kernel" if flavor == "int16x8" else "kernel"
    return f"{where} uses {operation}, which LiteRT has no {kernel} of its own for; replace it to export the network"


def operations_of(content: bytes) -> dict[str, int]:
    """Returns the operations of a `.tflite` file and how often each occurs, as in `{"CONV_2D": 6}`."""
    model = tflite_schema.parse(content)
    names = (tflite_schema.operator_name(model, o) for graph in model.subgraphs for o in graph.operators)
    return dict(collections.Counter(names))


def save_model(network: keras.Model, folder: str | os.PathLike) -> None:
    """Writes a SavedModel of the whole network for images of any size, atomically.

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


__getattr__ = renamed(__name__, FLAVOURS="FLAVORS", Core="ExportedSubgraph", core_of="exported_subgraph")
