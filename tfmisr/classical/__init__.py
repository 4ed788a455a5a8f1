"""Methods older than deep networks, one a file, by name. Those that learn do so on a dataset's training images.

What has been learned is kept beside the prepared dataset, in a file that `tfmisr.inference.upscalers.load` takes.
"""

import dataclasses
import functools
import hashlib
import importlib
import inspect
import json
import pathlib

import numpy as np

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import printable
from tfmisr.edge.text import counted
from tfmisr.edge.upscaler import Upscaler

METHODS = ("back_projection", "optimal_linear", "plug_and_play", "self_similarity", "sparse_coding")
LEARNING = ("optimal_linear", "plug_and_play", "sparse_coding")
FOLDER = "tfmisr_classical"

# What they learn holds for every scale and degradation.
_GENERAL = ("plug_and_play",)
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Method:
    """A method as the function of a `tfmisr.edge.upscaler.Upscaler`.

    Args:
        name: One of `METHODS`.
        fitted: What it has learned, arrays by name.
        degradation: How the low-resolution images are made; `None`: by antialiased bicubic reduction.
    """

    name: str
    fitted: dict | None = None
    degradation: object = None

    __hash__ = object.__hash__

    def __call__(self, lr, scale, convert=None, dtype=np.float32):
        """Enlarges one image; see `tfmisr.edge.upscaler.Upscaler.function`."""
        sr = self._function(scale)(lr)
        return convert(sr) if convert else sr

    @functools.lru_cache(maxsize=4)  # noqa: B019  a method lives as long as its command
    def _function(self, scale):
        from tfmisr import degradations

        made = self.degradation or degradations.make(scale)
        known = () if self.fitted is None else (self.fitted,)
        return _module(self.name).upscaler(*known, scale, made)


def _module(name):
    return importlib.import_module(f"{__name__}.{name}")


def named(name: str) -> Upscaler | None:
    """Returns the upscaler that a name says, which `tfmisr.inference.fitting.fitted` fits, or `None`."""
    return Upscaler(name, Method(name)) if name in METHODS else None


def load(name: str) -> Upscaler:
    """Returns the upscaler of a method that does not learn, for images that bicubic reduction has made.

    Raises:
        InputError: It learns.
    """
    if name in LEARNING:
        raise InputError(
            f"{name} learns from images: python -m tfmisr.evaluate {name} --dataset ... prints the file to give here"
        )
    return named(name)


def fitted_file(name: str, source, fields: dict, seed: int = 0) -> pathlib.Path:
    """Returns the file with what a method has learned from the train split, learning it where that is not done yet.

    Args:
        name: One of `LEARNING`.
        source: `tfmisr.data.Source`.
        fields: `scale` and those of `tfmisr.degradations.FIELDS`.
        seed: Start of the random draws.

    Raises:
        InputError: There are no training images.
    """
    from tfmisr import degradations
    from tfmisr.data import pipeline

    if "train" not in source.splits:
        raise InputError(
            f"{name} learns from the train split, which {source.name} does not hold; leave it out, or give the file "
            f"that python -m tfmisr.evaluate {name} printed for another dataset"
        )
    degradation, module = degradations.of(fields), _module(name)
    general = name in _GENERAL
    key = [name, module.SETTINGS, seed, _FORMAT] + ([] if general else [fields["scale"], degradation.describe()])
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]
    suffix = ".keras" if name == "optimal_linear" else ".npz"
    part = "" if general else f"-x{fields['scale']}"
    path = source.folder / FOLDER / f"{name}{part}-{digest}{suffix}"
    if not path.is_file():
        cache = pipeline.cache_of(source, "train")
        print(f"{name} learns from the train split of {source.name}, {counted(len(cache), 'image')}")
        path.parent.mkdir(exist_ok=True)
        learned = module.fit(cache, fields["scale"], degradation, seed)
        _write(path, name, learned, {} if general else {**_complete(fields), "dataset": source.name})
    print(f"{name}: {path}")
    return path


def _write(path, name, learned, about):
    if path.suffix == ".keras":
        _module(name).write(path, learned)
        return
    from tfmisr.classical import store

    store.write(path, {"method": name, **about}, learned)


def _complete(fields):
    from tfmisr import degradations

    given = inspect.signature(degradations.make).parameters
    defaults = {key: given[key].default for key in degradations.FIELDS}
    return {**defaults, **{k: v for k, v in fields.items() if v is not None and k in ("scale", *defaults)}}


def read(path: pathlib.Path):
    """Returns the upscaler of a file that a method has written.

    Raises:
        InputError: The file is something else.
    """
    from tfmisr.classical import store

    about, arrays = store.read(path)
    name = printable(path.stem)
    if about["method"] not in LEARNING[1:]:
        raise InputError(
            f"expected what {' or '.join(LEARNING[1:])} has learned in {path}. Received: {about['method']}"
        )
    values = [array for _, array in sorted(arrays.items())]
    digest = hashlib.sha256(b"".join(array.tobytes() for array in values)).hexdigest()
    parameters = sum(array.size for array in values)
    known = {"parameters": parameters, "weights_sha256": digest}
    if about["method"] == "plug_and_play":
        network = _module("plug_and_play").network_of(arrays)
        return Upscaler(name, Method("plug_and_play", arrays), channels=network.output_shape[-1] // 4, **known)
    fields = _checked(about, path)
    _module("sparse_coding").check(arrays, fields["scale"])
    method = Method("sparse_coding", arrays, _degradation(fields))
    return Upscaler(name, method, scale=fields["scale"], config=fields, **known)


def _checked(about, path):
    """Returns the fields of a file that has come from anywhere, of the types that a run's have."""
    from tfmisr import config, degradations

    names = ("scale", "dataset", *degradations.FIELDS)
    if missing := [name for name in names if name not in about]:
        raise InputError(f"{path} does not say its {missing[0]}; learn it anew")
    found = config.from_dict({name: about[name] for name in names}, str(path))
    return {name: getattr(found, name) for name in names}


def _degradation(fields):
    from tfmisr import degradations

    return degradations.of(fields)


__getattr__ = renamed(__name__, made="tfmisr.inference.fitting.fitted")
