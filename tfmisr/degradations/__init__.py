"""From a high-resolution image to the low-resolution one: the model of the acquisition.

A degradation is a row of steps. The steps before the first random one are worked out once for the whole
image and cached; the random ones are drawn anew for each patch: for its low-resolution pixels where they treat
every pixel alone, from its high-resolution ones where they reduce it too.

A file here is a degradation by name, with `steps(scale, **numbers)`; `bicubic` is the default, and
`bicubic(rounding=pillow8)` is the same filter as Pillow applies it to 8-bit images.
"""

import dataclasses
import importlib
import inspect
import math
import pkgutil
import re
from typing import ClassVar

import numpy as np
from PIL import Image

from tfmisr.edge import arrays
from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.resize import resize

FIELDS = ("degradation", "blur_sigma", "noise_std", "quantize_lr")
ROUNDINGS = ("pillow8",)


@dataclasses.dataclass(frozen=True)
class Bicubic:
    """Antialiased bicubic reduction, equal to Pillow's `BICUBIC` (see `tfmisr.edge.resize.resize`)."""

    scale: int
    random: ClassVar[bool] = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width = image.shape[0] // self.scale, image.shape[1] // self.scale
        return resize(image, (height, width), "bicubic")


@dataclasses.dataclass(frozen=True, repr=False)
class Pillow8Bicubic:
    """Antialiased bicubic reduction by Pillow's resize of 8-bit images, pixel for pixel.

    Pillow resizes rows first, then columns, and clips and rounds to 8 bits after each pass; the LR images of many
    published results are made this way. An image that is not on 8-bit levels, such as a blurred one, is clipped and
    rounded to them first. At 16 bits a rounding between the passes changes at most one of 65,536 levels, so such
    images have no protocol of their own: `bicubic` is theirs.

    Reference:
        Pillow's `Resample.c`, `ImagingResampleHorizontal_8bpc` and `ImagingResampleVertical_8bpc`
    """

    scale: int
    random: ClassVar[bool] = False
    max_val: ClassVar[int] = 255

    def __repr__(self):
        return f"Bicubic(scale={self.scale}, rounding=pillow8)"

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        size = image.shape[1] // self.scale, image.shape[0] // self.scale
        pixels = np.rint(255 * np.clip(np.asarray(image, np.float32), 0, 1)).astype(np.uint8)
        planes = (Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(pixels, -1, 0))
        reduced = [np.asarray(plane.resize(size, Image.Resampling.BICUBIC)) for plane in planes]
        return np.stack(reduced, axis=-1) / np.float32(255)


@dataclasses.dataclass(frozen=True)
class AreaMean:
    """Reduction by the mean over `scale` x `scale` pixels: larger detector elements, without gaps between them."""

    scale: int
    random: ClassVar[bool] = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        image = crop_to_multiple(image, self.scale)
        height, width, channels = image.shape
        blocks = image.reshape(height // self.scale, self.scale, width // self.scale, self.scale, channels)
        return blocks.mean((1, 3), dtype=np.float32)


@dataclasses.dataclass(frozen=True, repr=False)
class GaussianBlur:
    """Gaussian point spread, as of a detector or a focal spot.

    Args:
        sigma: Standard deviation in pixels of the image it is applied to (high-resolution pixels when it
            stands before the reduction).
        sigma_x: That along the rows of the image, where it is another.
    """

    sigma: float
    sigma_x: float | None = None
    random: ClassVar[bool] = False

    def __repr__(self):
        return f"GaussianBlur(sigma={self.sigma!r}{'' if self.sigma_x is None else f', sigma_x={self.sigma_x!r}'})"

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy import ndimage

        sigmas = (self.sigma, self.sigma if self.sigma_x is None else self.sigma_x, 0)
        return ndimage.gaussian_filter(image, sigmas, mode="nearest", truncate=4)


@dataclasses.dataclass(frozen=True)
class GaussianNoise:
    """White Gaussian noise.

    Args:
        std: Standard deviation as a fraction of the range [0, 1].
    """

    std: float
    random: ClassVar[bool] = True

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image + self.std * rng.standard_normal(image.shape, dtype=np.float32)


@dataclasses.dataclass(frozen=True, repr=False)
class Degradation:
    """Steps one after the other, then clipping and, if wanted, rounding to the source's levels.

    Args:
        steps: `Bicubic`, `GaussianBlur`, ...: one of them reduces by the scale.
        quantize: Round the result to whole steps of `1 / max_val`, as a stored image would be.
    """

    steps: tuple
    quantize: bool = True

    def __repr__(self):
        return f"<degradation {self.describe()}>"

    def split(self) -> tuple["Degradation", "Degradation"]:
        """Returns the part to be worked out once, not yet rounded, and the part to be drawn each time."""
        at = next((i for i, step in enumerate(self.steps) if step.random), len(self.steps))
        at = 0 if self.reduces_at_random else at
        once = dataclasses.replace(self, steps=self.steps[:at], quantize=self.quantize and self.fixed)
        return once, dataclasses.replace(self, steps=self.steps[at:])

    @property
    def fixed(self) -> bool:
        """Whether the same image always gives the same result."""
        return not any(step.random for step in self.steps)

    @property
    def reduces_at_random(self) -> bool:
        """Whether a patch has to be made from its high-resolution pixels each time."""
        first = next((i for i, step in enumerate(self.steps) if step.random), len(self.steps))
        return any(hasattr(step, "scale") for step in self.steps[first:])

    @property
    def margin(self) -> int:
        """High-resolution pixels around a patch that its low-resolution pixels depend on, in such a case."""
        return sum(getattr(step, "margin", 0) for step in self.steps)

    def __call__(self, hr: np.ndarray, max_val: int | None = None, rng: np.random.Generator | int | None = None):
        """Degrades one image.

        Args:
            hr: Array (height, width), (height, width, 1) or (height, width, 3): floats in [0, 1], uint8 or uint16.
            max_val: Pixel value that 1.0 stands for; the levels to round to. `None`: of uint8 and uint16 as
                `tfmisr.edge.arrays.to_unit` has it; floats are then not rounded.
            rng: Source of the random steps, or its seed; `None`: drawn anew each time.

        Returns:
            Array (height // scale, width // scale) with the channels of `hr`: float32 in [0, 1], or the integers' type.

        Raises:
            InputError: Another type, shape or range, or a step that is defined for another `max_val`, as
                `Pillow8Bicubic` is for 255.
        """
        given = np.asarray(hr)
        if given.dtype.kind != "f":
            unit, max_val = arrays.to_unit(given, max_val)
            return arrays.match_type(np.rint(self(unit, max_val, rng) * np.float32(max_val)), given)
        if given.ndim == 2:
            return self(given[..., None], max_val, rng)[..., 0]
        if max_val is None:
            given, _ = arrays.to_unit(given)
        return self._degraded(given, max_val, rng if self.fixed else np.random.default_rng(rng))

    def _degraded(self, hr, max_val, rng):
        self._require_max_val(max_val)
        image = np.asarray(hr, np.float32)
        for step in self.steps:
            # Where `split` cuts, so that its two parts together give the same.
            image = step(np.clip(image, 0.0, 1.0) if step.random else image, rng)
        image = np.clip(image, 0.0, 1.0)
        if self.quantize and max_val is not None:
            image = np.floor(image * np.float32(max_val) + np.float32(0.5)) / np.float32(max_val)
        return image

    def _require_max_val(self, max_val):
        for step in self.steps:
            if max_val is not None and getattr(step, "max_val", max_val) != max_val:
                raise InputError(
                    f"{step!r} is defined for 8-bit images (full scale {step.max_val}). Received: an image with full "
                    f"scale {max_val}; use bicubic, where more bits leave nothing to round between the two passes"
                )

    def describe(self) -> str:
        """Returns the steps in words for a protocol, such as `GaussianBlur(sigma=1.0) Bicubic(scale=4) rounded`."""
        return " ".join([*map(repr, self.steps), *(["rounded"] if self.quantize else [])])


def names() -> list[str]:
    """Returns the names of all degradations, from file names alone."""
    return ["bicubic", *sorted(module.name for module in pkgutil.iter_modules(__path__))]


def make(
    name_or_scale: str | int | None = None,
    /,
    blur_sigma: float = 0.0,
    noise_std: float = 0.0,
    quantize_lr: bool = True,
    degradation: str = "bicubic",
    *,
    scale: int | None = None,
    **numbers: float | str,
) -> Degradation:
    """Returns a degradation: `make("bicubic", scale=4)`, `make("xray", scale=2, photons=5000)`, or `make(4)`.

    Args:
        name_or_scale: `degradation` or `scale`.
        blur_sigma: With `bicubic`: standard deviation of a blur before the reduction, in high-resolution pixels.
        noise_std: With `bicubic`: standard deviation of noise after it, as a fraction of the range.
        quantize_lr: Round the low-resolution image to the source's bit depth.
        degradation: `bicubic`, antialiased bicubic reduction in full precision; `bicubic(rounding=pillow8)`, the
            same as Pillow resizes 8-bit images; or another of `names()`, with numbers in parentheses:
            `xray(photons=5000)`.
        scale: Factor of the reduction.
        **numbers: Those of the degradation, where they do not stand in parentheses.

    Returns:
        A function of an image; see `Degradation.__call__`.

    Raises:
        InputError: No such degradation or number, or no scale.
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
    if numbers:
        if "(" in degradation:
            raise InputError(f"expected numbers in parentheses or as arguments, not both. Received: {degradation}")
        degradation = f"{degradation}({', '.join(f'{key}={value}' for key, value in numbers.items())})"
    return _made(int(scale), blur_sigma, noise_std, quantize_lr, degradation)


def _made(scale, blur_sigma, noise_std, quantize_lr, degradation) -> Degradation:
    name, numbers = parse(degradation)
    if name != "bicubic":
        if blur_sigma or noise_std:
            raise InputError(f"blur_sigma and noise_std go with bicubic alone. Received: degradation={degradation}")
        return Degradation(_module(name).steps(scale, **numbers), quantize_lr)
    blur = (GaussianBlur(blur_sigma),) if blur_sigma else ()
    noise = (GaussianNoise(noise_std),) if noise_std else ()
    reduction = Pillow8Bicubic(scale) if numbers else Bicubic(scale)
    return Degradation((*blur, reduction, *noise), quantize_lr)


def of(fields: dict) -> Degradation:
    """Returns the degradation of a run's fields, a dictionary; those that are missing or `None` have their default."""
    known = {key: fields[key] for key in FIELDS if fields.get(key) is not None}
    return make(fields["scale"], **known)


def parse(text: str) -> tuple[str, dict[str, float | str]]:
    """Returns name and numbers of a text such as `xray(photons=5000, mtf_nyquist=0.3)`.

    `bicubic` has `rounding`, a word of `ROUNDINGS`, instead of numbers.

    Raises:
        InputError: It cannot be read, or there is no such degradation or number.
    """
    found = re.fullmatch(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*", text)
    if not found or found[1] not in names():
        raise InputError(
            f"degradation must be one of {', '.join(names())}, with numbers in parentheses where it takes some, "
            f"as in xray(photons=5000). Received: {text}{hint(text.partition('(')[0].strip(), names())}"
        )
    pairs = [part.partition("=") for part in (found[2] or "").split(",") if part.strip()]
    if found[1] == "bicubic":
        return found[1], {key.strip(): _rounding(key.strip(), value.strip(), text) for key, _, value in pairs}
    known = list(inspect.signature(_module(found[1]).steps).parameters)[1:]
    return found[1], {key.strip(): _number(key.strip(), value, known, text) for key, _, value in pairs}


def _rounding(key, value, text):
    if key != "rounding" or value not in ROUNDINGS:
        raise InputError(
            f"{text}: expected bicubic or bicubic(rounding={' or '.join(ROUNDINGS)}). Received: {key}={value}"
        )
    return value


def _number(key, value, known, text):
    if key not in known:
        raise InputError(
            f"{text}: expected numbers called {', '.join(known) or 'nothing'}. Received: {key}{hint(key, known)}"
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


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """Returns `image` without the last rows and columns that do not make a whole low-resolution pixel."""
    height, width = image.shape[0] // scale * scale, image.shape[1] // scale * scale
    return image[:height, :width]
