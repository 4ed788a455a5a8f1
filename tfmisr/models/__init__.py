"""The zoo: a model is one file here, with `VARIANTS`, `build(scale, channels, ...)` and `search_space(hp)`."""

import difflib
import importlib
import pathlib
import pkgutil

from tfmisr.edge.errors import InputError

SCALES = (2, 3, 4, 8)


def modules_of(path) -> list[str]:
    """Returns the names of the plain modules in a package's path, sorted, without importing them."""
    return sorted(m.name for m in pkgutil.iter_modules(path) if not m.ispkg)


def names() -> list[str]:
    """Returns the names of all models, from file names alone: nothing is imported."""
    return modules_of(__path__)


def check_name(kind: str, name: str, known: list[str]) -> None:
    """Raises an `InputError` that names the nearest of `known` where `name` is not one of them."""
    if name not in known:
        close = difflib.get_close_matches(name, known, 1, 0.3)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError(f"{kind} must be one of {', '.join(known)}. Received: {name}{hint}")


def check_scale(scale: int) -> None:
    """Raises an `InputError` where `scale` is not one that the zoo is built and tested for."""
    if scale not in SCALES:
        raise InputError(f"scale must be 2, 3, 4 or 8. Received: {scale}")


def module(name: str):
    """Returns the module of the model `name` or `name/variant`, and the variant's arguments of `build`."""
    name, _, variant = name.partition("/")
    check_name("model", name, names())
    found = importlib.import_module(f"{__name__}.{name}")
    variant = variant or next(iter(found.VARIANTS))
    check_name(f"variant of {name}", variant, list(found.VARIANTS))
    return found, found.VARIANTS[variant]


def create(name: str, scale: int, channels: int = 1, **kwargs):
    """Returns an untrained network.

    Args:
        name: `name` or `name/variant`.
        scale: Upsampling factor, 2, 3, 4 or 8.
        channels: 1 (gray) or 3 (RGB).
        **kwargs: Arguments of the model's `build`, over those of the variant.

    Returns:
        Functional `keras.Model` from `(batch, height, width, channels)` to
        `(batch, scale * height, scale * width, channels)`, both in [0, 1].

    Raises:
        InputError: No such model, variant or scale.
    """
    check_scale(scale)
    if channels not in (1, 3):
        raise InputError(f"channels must be 1 or 3. Received: {channels}")
    found, arguments = module(name)
    return found.build(scale=scale, channels=channels, **{**arguments, **kwargs})


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

    import tfmisr.layers  # noqa: F401  registers the custom layers

    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a broken file
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path} is not a network that Keras can load safely: {first[0]}") from error


def scale_of(model) -> int:
    """Returns the factor by which a network enlarges."""
    height = model.compute_output_shape((1, 8, 8, model.input_shape[-1]))[1]
    return height // 8
