"""Reading and writing the operators of a `.tflite` file, a FlatBuffer of TensorFlow Lite's `schema.fbs`."""

try:
    from ai_edge_litert import schema_py_generated as schema
except ModuleNotFoundError:  # no wheel for every machine; TensorFlow has the same file
    from tensorflow.lite.python import schema_py_generated as schema

_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_TYPES = {code: name for name, code in vars(schema.TensorType).items() if not name.startswith("_")}


def parse(content: bytes) -> schema.ModelT:
    """Returns the tables of a `.tflite` file as Python objects."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def builtin_code(model: schema.ModelT, operator: schema.OperatorT) -> int:
    """Returns the `schema.BuiltinOperator` that an operator of a subgraph runs.

    Files have it in one of two fields: older ones in `deprecated_builtin_code`, which ends at 127; the other one is 0.
    """
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def operator_name(model: schema.ModelT, operator: schema.OperatorT) -> str:
    """Returns the name of an operator, such as `CONV_2D`, or `CUSTOM NAME` for one that LiteRT has no kernel of."""
    name = _NAMES[builtin_code(model, operator)]
    if name != "CUSTOM":
        return name
    return f"CUSTOM {model.operatorCodes[operator.opcodeIndex].customCode.decode()}"


def type_name(tensor: schema.TensorT) -> str:
    """Returns the name of a tensor's type, such as `INT8`."""
    return _TYPES[tensor.type]


def serialized(model: schema.ModelT) -> bytes:
    """Returns the tables of `parse` as the content of a `.tflite` file."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
