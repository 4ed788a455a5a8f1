"""The zoo: a model is one file here, with `VARIANTS`, `build(scale, channels, ...)` and `search_space(hp)`.

After `import tfmisr.models`, `keras.saving.load_model` can load these models.
"""

import ast
import importlib
import importlib.util
import math
import os
import pathlib
import types
import typing

from tfmisr._lazy import modules_of
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError, check_name
from tfmisr.layers import registration

if typing.TYPE_CHECKING:
    import keras

SCALES = (2, 3, 4, 8)
PLANE_SCALE = 1  # of networks that refine interpolated planes of a volume, `--degradation through_plane`

registration.when_keras_is_imported()


def names() -> list[str]:
    """Returns the names of all models, from file names alone: nothing is imported."""
    return modules_of(__path__)


def check_scale(scale: int) -> None:
    """Raises an `InputError` where `scale` is not in `SCALES`, for which the zoo is built and tested."""
    if scale == PLANE_SCALE:
        raise InputError(
            "scale must be 2, 3, 4 or 8. Received: 1, that of through-plane networks; python -m tfmisr.volume takes it"
        )
    if scale not in SCALES:
        raise InputError(f"scale must be 2, 3, 4 or 8. Received: {scale}")


_TYPES = {"int": int, "float": (int, float), "bool": bool, "str": str}


def parse_model_spec(name: str) -> tuple[str, str, dict]:
    """Returns model, variant (or "") and arguments of a model spec such as `cnn5/baseline,num_filters=32`.

    Raises:
        InputError: It is not of the form `name/variant` or `name/argument=value,...`.
    """
    model, _, rest = name.partition("/")
    variant, arguments = "", {}
    for i, part in enumerate(rest.split(",") if rest else ()):
        key, equals, text = part.partition("=")
        if equals and key and text and key not in arguments:
            arguments[key] = _value(text)
        elif i or equals or not part:
            raise InputError(f"model must be name/variant or name/argument=value,... Received: {name}")
        else:
            variant = part
    return model, variant, arguments


def _value(text: str):
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def format_model_spec(name: str, arguments: dict) -> str:
    """Returns a model spec with some arguments of `build` replaced; the inverse of `parse_model_spec`."""
    model, variant, spec_arguments = parse_model_spec(name)
    merged = sorted({**spec_arguments, **arguments}.items())
    texts = [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in merged]
    parts = ([variant] if variant else []) + texts
    return "/".join([model, *([",".join(parts)] if parts else [])])


def build_arguments(model: str) -> dict[str, str]:
    """Returns names and types of the arguments of a model's `build` after scale and channels; imports nothing."""
    text = pathlib.Path(importlib.util.find_spec(f"{__name__}.{model}").origin).read_text(encoding="utf-8")
    functions = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))
    build = next(node.args for node in functions if node.name == "build")
    return {a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in [*build.args[2:], *build.kwonlyargs]}


def check(name: str) -> None:
    """Raises an `InputError` where the model of a spec, an argument of its `build` or a value does not exist.

    Nothing is imported; the variant is checked by `module`.
    """
    model, _, arguments = parse_model_spec(name)
    check_name("model", model, names())
    known = build_arguments(model) if arguments else {}
    for key, value in arguments.items():
        check_name(f"argument of {model}", key, list(known))
        _check_value(f"argument {key} of {model}", known[key], value)


def _check_value(what: str, type_name: str, value) -> None:
    expected = _TYPES.get(type_name)
    if expected and (not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool)):
        raise InputError(f"{what} must be {type_name}. Received: {value}")
    # All of them are counts or sizes; with zero blocks the network would silently have none.
    if type_name == "int" and value < 1:
        raise InputError(f"{what} must be at least 1. Received: {value}")
    if type_name == "float" and not math.isfinite(value):
        raise InputError(f"{what} must be finite. Received: {value}")


def module(name: str) -> tuple[types.ModuleType, dict]:
    """Returns the module of a model spec (see `parse_model_spec`), and the arguments of its `build`.

    Raises:
        InputError: No such model, variant or argument.
    """
    check(name)
    model, variant, arguments = parse_model_spec(name)
    model_module = importlib.import_module(f"{__name__}.{model}")
    variant = variant or next(iter(model_module.VARIANTS))
    check_name(f"variant of {model}", variant, list(model_module.VARIANTS))
    return model_module, {**model_module.VARIANTS[variant], **arguments}


def create(name: str, scale: int, channels: int = 1, **kwargs: typing.Any) -> "keras.Model":
    """Returns an untrained network.

    Args:
        name: `name`, `name/variant` or `name/argument=value,...`; see `parse_model_spec`.
        scale: Upsampling factor, 2, 3, 4 or 8; 1 for a network that refines interpolated planes of a volume.
        channels: 1 (gray) or 3 (RGB).
        **kwargs: Arguments of the model's `build`, over those of the variant.

    Returns:
        Functional `keras.Model` from `(batch, height, width, channels)` to
        `(batch, scale * height, scale * width, channels)`, both in [0, 1].

    Raises:
        InputError: No such model, variant, argument or scale, or a network that Keras cannot build.
    """
    if scale != PLANE_SCALE:
        check_scale(scale)
    if channels not in (1, 3):
        raise InputError(f"channels must be 1 or 3. Received: {channels}")
    model_module, arguments = module(name)
    try:
        return model_module.build(scale=scale, channels=channels, **{**arguments, **kwargs})
    except (ValueError, TypeError) as error:
        if not parse_model_spec(name)[2] or isinstance(error, InputError):
            raise
        raise InputError(f"the model {name} cannot be built: {str(error).strip().splitlines()[0]}") from error


def load(path: str | os.PathLike) -> "keras.Model":
    """Returns the trained network of a `.keras` file or a run's folder, in float32.

    Files may come from untrusted sources, so Keras's `safe_mode` stays on: no code in a file is run.

    Raises:
        InputError: There is no such file, or Keras cannot load it safely.
    """
    path = pathlib.Path(path)
    path = path / "model.keras" if path.is_dir() else path
    # For its older formats not all versions of Keras support safe_mode.
    if not path.is_file() or path.suffix != ".keras":
        raise InputError(f"expected a run's folder or a .keras file, found none at {path}")
    import keras

    registration.register()
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises exceptions of many types for a damaged file
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path} is not a network that Keras can load safely: {first[0]}") from error


def scale_of(model: "keras.Model") -> int:
    """Returns the upsampling factor of a network."""
    height = model.compute_output_shape((1, 8, 8, model.input_shape[-1]))[1]
    return height // 8


__getattr__ = renamed(__name__, split="parse_model_spec", spell="format_model_spec")
