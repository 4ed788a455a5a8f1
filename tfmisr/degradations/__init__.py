"""Degradation models: how a low-resolution image is generated from a high-resolution one.

A degradation is a sequence of steps. The steps before the first random one are computed once for the full image and
cached; random steps are drawn again for each patch: on its low-resolution pixels where they act on every pixel
independently, on its high-resolution pixels where they down-sample as well.

Each module here is a degradation by name, with a function `steps(scale, **parameters)`; `bicubic` is the default, and
`bicubic(rounding=pillow8)` is the same filter as Pillow applies it to 8-bit images.
"""

import importlib
import inspect
import math
import re

import numpy as np

from tfmisr import _lazy
from tfmisr.degradations._degradation import Degradation
from tfmisr.degradations._steps import (
    AreaMean,
    Bicubic,
    GaussianBlur,
    GaussianNoise,
    Pillow8Bicubic,
    crop_to_multiple,
)
from tfmisr.edge.errors import InputError, hint

__all__ = [
    "FIELDS",
    "ROUNDINGS",
    "AreaMean",
    "Bicubic",
    "Degradation",
    "GaussianBlur",
    "GaussianNoise",
    "Pillow8Bicubic",
    "crop_to_multiple",
    "make",
    "names",
    "of",
    "parse",
]

FIELDS = ("degradation", "blur_sigma", "noise_std", "quantize_lr")
ROUNDINGS = ("pillow8",)


def names() -> list[str]:
    """Returns the names of all degradations, from file names alone."""
    return ["bicubic", *_lazy.modules_of(__path__)]


def make(
    name_or_scale: str | int | None = None,
    /,
    blur_sigma: float = 0.0,
    noise_std: float = 0.0,
    quantize_lr: bool = True,
    degradation: str = "bicubic",
    *,
    scale: int | None = None,
    **parameters: float | str,
) -> Degradation:
    """Returns a degradation: `make("bicubic", scale=4)`, `make("xray", scale=2, photons=5000)`, or `make(4)`.

    Args:
        name_or_scale: `degradation` or `scale`.
        blur_sigma: With `bicubic`: standard deviation of a blur before down-sampling, in high-resolution pixels.
        noise_std: With `bicubic`: standard deviation of noise after it, as a fraction of the range.
        quantize_lr: Round the low-resolution image to the bit depth of the source.
        degradation: `bicubic`, antialiased bicubic down-sampling in full precision; `bicubic(rounding=pillow8)`, the
            same as Pillow resizes 8-bit images; or another of `names()`, with parameters in parentheses:
            `xray(photons=5000)`.
        scale: Down-sampling factor.
        **parameters: Parameters of the degradation, if they are not given in parentheses.

    Returns:
        A function of an image; see `Degradation.__call__`.

    Raises:
        InputError: No such degradation or parameter, or no scale.
    """
    if isinstance(name_or_scale, str):
        if degradation != "bicubic":
            raise InputError(f"expected one degradation. Received: {name_or_scale} and {degradation}")
        degradation = name_or_scale
    elif name_or_scale is not None:
        if scale is not None:
            raise InputError(f"expected one scale. Received: {name_or_scale} and {scale}")
        scale = name_or_scale
    if isinstance(scale, bool) or not isinstance(scale, (int, np.integer)) or scale < 1:
        raise InputError(f"scale must be a whole number, as in make({degradation!r}, scale=4). Received: {scale!r}")
    if parameters:
        if "(" in degradation:
            raise InputError(f"expected numbers in parentheses or as arguments, not both. Received: {degradation}")
        degradation = f"{degradation}({', '.join(f'{key}={value}' for key, value in parameters.items())})"
    return _create(int(scale), blur_sigma, noise_std, quantize_lr, degradation)


def _create(scale, blur_sigma, noise_std, quantize_lr, degradation) -> Degradation:
    name, parameters = parse(degradation)
    if name != "bicubic":
        if blur_sigma or noise_std:
            raise InputError(f"blur_sigma and noise_std are for bicubic only. Received: degradation={degradation}")
        return Degradation(_module(name).steps(scale, **parameters), quantize_lr)
    blur = (GaussianBlur(blur_sigma),) if blur_sigma else ()
    noise = (GaussianNoise(noise_std),) if noise_std else ()
    reduction = Pillow8Bicubic(scale) if parameters else Bicubic(scale)
    return Degradation((*blur, reduction, *noise), quantize_lr)


def of(fields: dict) -> Degradation:
    """Returns the degradation of a run.

    Args:
        fields: Fields of `tfmisr.config.Config`: `scale`, and those of `FIELDS` that differ from their default.

    Raises:
        InputError: No such degradation or parameter.
    """
    given = {key: fields[key] for key in FIELDS if fields.get(key) is not None}
    return make(fields["scale"], **given)


def of_card(card: dict, degradation: str | None = None) -> Degradation:
    """Returns the degradation that a model card says its network was trained with, or another of the same scale.

    Args:
        card: A model card: `scale`, and the fields of the run in `training`.
        degradation: A text as `parse` takes, in place of that of the training.

    Raises:
        InputError: No such degradation or parameter.
    """
    given = {"degradation": degradation} if degradation else card.get("training") or {}
    return of({**given, "scale": card["scale"]})


def parse(text: str) -> tuple[str, dict[str, float | str]]:
    """Returns name and parameters of a text such as `xray(photons=5000, mtf_nyquist=0.3)`.

    Parameters are numbers, except `rounding` of `bicubic`, one of `ROUNDINGS`.

    Raises:
        InputError: The text cannot be parsed, or there is no such degradation or parameter.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*", text)
    if not match or match[1] not in names():
        raise InputError(
            f"degradation must be one of {', '.join(names())}, with numbers in parentheses where it takes some, "
            f"as in xray(photons=5000). Received: {text}{hint(text.partition('(')[0].strip(), names())}"
        )
    pairs = [part.partition("=") for part in (match[2] or "").split(",") if part.strip()]
    if match[1] == "bicubic":
        return match[1], {key.strip(): _rounding(key.strip(), value.strip(), text) for key, _, value in pairs}
    known = list(inspect.signature(_module(match[1]).steps).parameters)[1:]
    return match[1], {key.strip(): _number(key.strip(), value, known, text) for key, _, value in pairs}


def _rounding(key, value, text):
    if key != "rounding" or value not in ROUNDINGS:
        raise InputError(
            f"{text}: expected bicubic or bicubic(rounding={' or '.join(ROUNDINGS)}). Received: {key}={value}"
        )
    return value


def _number(key, value, known, text):
    if key not in known:
        raise InputError(
            f"{text}: expected parameters named {', '.join(known) or 'nothing'}. Received: {key}{hint(key, known)}"
        )
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise InputError(f"{text}: {key} must be a number, 0 or more. Received: {value.strip() or 'nothing'}")
    return number


def _module(name):
    return importlib.import_module(f"{__name__}.{name}")
