"""Classical super-resolution methods, one per file, by name; some are fitted to the training images of a dataset.

A fitted method is saved beside the prepared dataset, in a file that `tfmisr.inference.upscalers.load` reads.
"""

import dataclasses
import functools
import hashlib
import importlib
import inspect
import json
import pathlib
import typing
from collections.abc import Callable

import numpy as np

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import printable
from tfmisr.edge.text import counted
from tfmisr.edge.upscaler import Upscaler

if typing.TYPE_CHECKING:
    from tfmisr.data.sources import Source

METHODS = ("back_projection", "optimal_linear", "plug_and_play", "self_similarity", "sparse_coding")
LEARNING = ("optimal_linear", "plug_and_play", "sparse_coding")
FOLDER = "tfmisr_classical"

# Fitted once for all scales and degradations.
_SCALE_INDEPENDENT = ("plug_and_play",)
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class ClassicalMethod:
    """A classical method as the `function` of a `tfmisr.edge.upscaler.Upscaler`.

    Args:
        name: One of `METHODS`.
        fitted: Fitted arrays by name; `None` for a method without training, or before the fit.
        degradation: `tfmisr.degradations.Degradation` of the low-resolution images; `None`: antialiased bicubic
            downsampling.
    """

    name: str
    fitted: dict | None = None
    degradation: object = None

    __hash__ = object.__hash__

    def __call__(
        self, lr: np.ndarray, scale: int, convert: Callable | None = None, dtype: type = np.float32
    ) -> np.ndarray:
        """Upscales one image; see `tfmisr.edge.upscaler.Upscaler.function`."""
        sr = self._function(scale)(lr)
        return convert(sr) if convert else sr

    @functools.lru_cache(maxsize=4)  # noqa: B019  a method lives as long as its command
    def _function(self, scale):
        from tfmisr import degradations

        degradation = self.degradation or degradations.make(scale)
        fitted = () if self.fitted is None else (self.fitted,)
        return _module(self.name).upscaler(*fitted, scale, degradation)


def _module(name):
    return importlib.import_module(f"{__name__}.{name}")


def create(name: str) -> Upscaler | None:
    """Returns the upscaler of a method, not yet fitted, or `None` if there is no such method.

    Args:
        name: One of `METHODS`; `tfmisr.inference.fitting.fit_upscaler` fits those in `LEARNING`.
    """
    return Upscaler(name, ClassicalMethod(name)) if name in METHODS else None


def load(name: str) -> Upscaler:
    """Returns the upscaler of a method without training, for bicubically downsampled images.

    Raises:
        InputError: The method has to be fitted first.
    """
    if name in LEARNING:
        raise InputError(
            f"{name} learns from images: python -m tfmisr.evaluate {name} --dataset ... prints the file to use here"
        )
    return create(name)


def fitted_file(name: str, source: "Source", fields: dict, seed: int = 0) -> pathlib.Path:
    """Returns the file of a method fitted to the train split; fits it first where the file does not exist.

    Args:
        name: One of `LEARNING`.
        source: `tfmisr.data.Source`.
        fields: `scale` and the configuration fields in `tfmisr.degradations.FIELDS`.
        seed: Random seed of the fit.

    Raises:
        InputError: The dataset has no train split.
    """
    from tfmisr import degradations
    from tfmisr.data import pipeline

    if "train" not in source.splits:
        raise InputError(
            f"{name} learns from the train split, which {source.name} does not hold; leave it out, or use the file "
            f"that python -m tfmisr.evaluate {name} printed for another dataset"
        )
    degradation, module = degradations.of(fields), _module(name)
    scale_independent = name in _SCALE_INDEPENDENT
    key = [name, module.SETTINGS, seed, _FORMAT] + (
        [] if scale_independent else [fields["scale"], degradation.describe()]
    )
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]
    suffix = ".keras" if name == "optimal_linear" else ".npz"
    part = "" if scale_independent else f"-x{fields['scale']}"
    path = source.folder / FOLDER / f"{name}{part}-{digest}{suffix}"
    if not path.is_file():
        cache = pipeline.cache_of(source, "train")
        print(f"{name} learns from the train split of {source.name}, {counted(len(cache), 'image')}")
        path.parent.mkdir(exist_ok=True)
        fitted = module.fit(cache, fields["scale"], degradation, seed)
        _write(path, name, fitted, {} if scale_independent else {**_with_defaults(fields), "dataset": source.name})
    print(f"{name}: {path}")
    return path


def _write(path, name, fitted, metadata):
    if path.suffix == ".keras":
        _module(name).write(path, fitted)
        return
    from tfmisr.classical import store

    store.write(path, {"method": name, **metadata}, fitted)


def _with_defaults(fields):
    from tfmisr import degradations

    parameters = inspect.signature(degradations.make).parameters
    defaults = {key: parameters[key].default for key in degradations.FIELDS}
    return {**defaults, **{k: v for k, v in fields.items() if v is not None and k in ("scale", *defaults)}}


def read(path: pathlib.Path) -> Upscaler:
    """Returns the upscaler of an `.npz` file that `fitted_file` has written.

    Raises:
        InputError: The file is not that of a fitted method.
    """
    from tfmisr.classical import store

    metadata, arrays = store.read(path)
    name = printable(path.stem)
    if metadata["method"] not in LEARNING[1:]:
        raise InputError(f"expected a fitted {' or '.join(LEARNING[1:])} in {path}. Received: {metadata['method']}")
    values = [array for _, array in sorted(arrays.items())]
    digest = hashlib.sha256(b"".join(array.tobytes() for array in values)).hexdigest()
    parameters = sum(array.size for array in values)
    weights = {"parameters": parameters, "weights_sha256": digest}
    if metadata["method"] == "plug_and_play":
        network = _module("plug_and_play").load_denoiser(arrays)
        return Upscaler(
            name, ClassicalMethod("plug_and_play", arrays), channels=network.output_shape[-1] // 4, **weights
        )
    fields = _checked_fields(metadata, path)
    _module("sparse_coding").check(arrays, fields["scale"])
    method = ClassicalMethod("sparse_coding", arrays, _degradation(fields))
    return Upscaler(name, method, scale=fields["scale"], config=fields, **weights)


def _checked_fields(metadata, path):
    """Returns the configuration fields of an untrusted file, validated like those of a run."""
    from tfmisr import config, degradations

    names = ("scale", "dataset", *degradations.FIELDS)
    if missing := [name for name in names if name not in metadata]:
        raise InputError(f"{path} does not contain {missing[0]}; fit the method again")
    checked = config.from_dict({name: metadata[name] for name in names}, str(path))
    return {name: getattr(checked, name) for name in names}


def _degradation(fields):
    from tfmisr import degradations

    return degradations.of(fields)


__getattr__ = renamed(__name__, Method="ClassicalMethod", made="tfmisr.inference.fitting.fit_upscaler", named="create")
