"""LiteRT's interpreter: which package has it, inputs of any size, and its errors in one line."""

import contextlib
import pathlib
import typing

from tfmisr.edge import stderr_filter
from tfmisr.edge.errors import InputError


def interpreter_class() -> type:
    """Returns LiteRT's interpreter class, or that of the older `tflite_runtime`.

    Raises:
        InputError: Neither package is installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ModuleNotFoundError as error:
            raise InputError(
                "a .tflite file needs LiteRT. Run: pip install ai-edge-litert "
                "(or tflite-runtime on a machine without a wheel of it, such as 32-bit ARM)"
            ) from error
    return Interpreter


def resize_input(interpreter: typing.Any, details: dict, shape: tuple[int, ...], present: tuple | None) -> tuple:
    """Allocates the tensors for an input of this shape, and returns the shape.

    An image smaller than a tile is not padded: the network has not seen padding in training.

    Args:
        interpreter: The interpreter.
        details: What it says of the input.
        shape: New shape.
        present: The shape that it was allocated for; `None` for the first time.
    """
    if shape == present:
        return shape
    if present is not None or tuple(details["shape"]) != shape:
        interpreter.resize_tensor_input(details["index"], shape, strict=False)
    with stderr_filter.filter_stderr() if present is None else contextlib.nullcontext():
        interpreter.allocate_tensors()
    return shape


def failed(path: pathlib.Path, error: Exception) -> InputError:
    """Returns the error of a file that the interpreter cannot run."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(f"LiteRT cannot run {path}: {first}; a newer ai-edge-litert may")
