"""The zoo: a model is one file here, with `VARIANTS`, `build(scale, channels, ...)` and `search_space(hp)`.

After `import tfmisr.models`, `keras.saving.load_model` knows the layers of these models.
"""

import ast
import importlib
import importlib.util
import math
import pathlib

from tfmisr._lazy import modules_of
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError, check_name
from tfmisr.layers import registration

SCALES = (2, 3, 4, 8)

registration.when_keras_is_imported()


def names() -> list[str]:
    """Returns the names of all models, from file names alone: nothing is imported."""
    return modules_of(__path__)


def check_scale(scale: int) -> None:
    """Raises an `InputError` where `scale` is not one that the zoo is built and tested for."""
    if scale not in SCALES:
        raise InputError(f"scale must be 2, 3, 4 or 8. Received: {scale}")


_KINDS = {"int": int, "float": (int, float), "bool": bool, "str": str}


def parse_model_spec(name: str) -> tuple[str, str, dict]:
    """Returns model, variant (or "") and arguments of a name such as `cnn5/baseline,num_filters=32`."""
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
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def format_model_spec(name: str, arguments: dict) -> str:
    """Returns the name of a model or variant with some arguments of `build` replaced, as `split` reads it."""
    model, variant, own = parse_model_spec(name)
    chosen = sorted({**own, **arguments}.items())
    texts = [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in chosen]
    parts = ([variant] if variant else []) + texts
    return "/".join([model, *([",".join(parts)] if parts else [])])


def build_arguments(model: str) -> dict[str, str]:
    """Returns the arguments of a model's `build` after scale and channels, with their types, from its text alone."""
    text = pathlib.Path(importlib.util.find_spec(f"{__name__}.{model}").origin).read_text(encoding="utf-8")
    defined = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))
    found = next(node.args for node in defined if node.name == "build")
    return {a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in [*found.args[2:], *found.kwonlyargs]}


def check(name: str) -> None:
    """Raises an `InputError` where `name` says a model, or an argument of `build` or a value of it, that there is not.

    Nothing is imported; a variant that there is not is told by `module`.
    """
    model, _, arguments = parse_model_spec(name)
    check_name("model", model, names())
    known = build_arguments(model) if arguments else {}
    for key, value in arguments.items():
        check_name(f"argument of {model}", key, list(known))
        _check_value(f"argument {key} of {model}", known[key], value)


def _check_value(what: str, type_name: str, value) -> None:
    kind = _KINDS.get(type_name)
    if kind and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        raise InputError(f"{what} must be {type_name}. Received: {value}")
    # All of them are counts or sizes; fewer than one block would silently be a network without any.
    if type_name == "int" and value < 1:
        raise InputError(f"{what} must be at least 1. Received: {value}")
    if type_name == "float" and not math.isfinite(value):
        raise InputError(f"{what} must be finite. Received: {value}")


def module(name: str):
    """Returns the module of the model that `name` says (see `split`), and the arguments of its `build`."""
    check(name)
    model, variant, arguments = parse_model_spec(name)
    found = importlib.import_module(f"{__name__}.{model}")
    variant = variant or next(iter(found.VARIANTS))
    check_name(f"variant of {model}", variant, list(found.VARIANTS))
    return found, {**found.VARIANTS[variant], **arguments}


def create(name: str, scale: int, channels: int = 1, **kwargs):
    """Returns an untrained network.

    Args:
        name: `name`, `name/variant` or `name/argument=value,...`; see `split`.
        scale: Upsampling factor, 2, 3, 4 or 8.
        channels: 1 (gray) or 3 (RGB).
        **kwargs: Arguments of the model's `build`, over those of the variant.

    Returns:
        Functional `keras.Model` from `(batch, height, width, channels)` to
        `(batch, scale * height, scale * width, channels)`, both in [0, 1].

    Raises:
        InputError: No such model, variant, argument or scale, or a network that Keras cannot build.
    """
    check_scale(scale)
    if channels not in (1, 3):
        raise InputError(f"channels must be 1 or 3. Received: {channels}")
    found, arguments = module(name)
    try:
        return found.build(scale=scale, channels=channels, **{**arguments, **kwargs})
    except (ValueError, TypeError) as error:
        if not parse_model_spec(name)[2] or isinstance(error, InputError):
            raise
        raise InputError(f"the model {name} cannot be built: {str(error).strip().splitlines()[0]}") from error


def load(path):
    """Returns the trained network of a `.keras` file or a run's folder, in float32.

    Files come from anywhere, so Keras's `safe_mode` stays on: no code in a file is run.

    Raises:
        InputError: Nothing there, or no network of this package in it.
    """
    path = pathlib.Path(path)
    path = path / "model.keras" if path.is_dir() else path
    # Keras's older formats do not know safe_mode in all of its versions.
    if not path.is_file() or path.suffix != ".keras":
        raise InputError(f"expected a run's folder or a .keras file, found none at {path}")
    import keras

    registration.register()
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a broken file
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path} is not a network that Keras can load safely: {first[0]}") from error


def scale_of(model) -> int:
    """Returns the factor by which a network enlarges."""
    height = model.compute_output_shape((1, 8, 8, model.input_shape[-1]))[1]
    return height // 8


__getattr__ = renamed(__name__, split="parse_model_spec", spell="format_model_spec")
