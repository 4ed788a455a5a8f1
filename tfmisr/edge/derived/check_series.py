"""Checks a derived series of thin slices against the series it was made from (V-11).

The rules have the letters V-11a to V-11q; the conformance statement lists them. They use nothing of the code that
writes such series.
"""

import collections
import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pydicom

from tfmisr.edge import dicom_file, element_values
from tfmisr.edge.derived.checking import Contents, element_bytes, first_item, frame_groups, stored_pixels
from tfmisr.edge.errors import InputError

_PROFILE = re.compile(r"slice profile (gaussian|rectangular):([0-9.]+(?:e-?[0-9]+)?)mm")
_KINDS = ("Through-plane super-resolution", "Interpolation along the slice axis")


@dataclasses.dataclass(frozen=True, repr=False)
class Image:
    """A slice: a file, or a frame of an Enhanced object.

    Attributes:
        ds: The Data Set, without Pixel Data.
        frame: Number of the frame, from 1; `None` for a file of one slice.
        group: What describes the frame: its functional groups, each with its first Item; the Data Set for a file.
        pixels: Stored values (rows, columns).
        contents: Bytes of the Data Elements as they were read.
    """

    ds: pydicom.Dataset
    frame: int | None
    group: dict[str, pydicom.Dataset]
    pixels: np.ndarray
    contents: Contents

    def get(self, macro: str, keyword: str) -> Any:
        """Returns the value of an Attribute, which Enhanced objects have in a functional group."""
        return (self.group.get(macro, pydicom.Dataset()) if self.frame else self.ds).get(keyword)

    @functools.cached_property
    def position(self) -> np.ndarray:
        """Image Position (Patient), mm: float64 (3,)."""
        return np.array(self.get("PlanePositionSequence", "ImagePositionPatient"), float)

    @functools.cached_property
    def cosines(self) -> np.ndarray:
        """Image Orientation (Patient): float64 (2, 3)."""
        return np.array(self.get("PlaneOrientationSequence", "ImageOrientationPatient"), float).reshape(2, 3)

    @property
    def rescale(self) -> tuple[float, float]:
        """Rescale Slope and Intercept."""
        values = [self.get("PixelValueTransformationSequence", k) for k in ("RescaleSlope", "RescaleIntercept")]
        return float(values[0] or 1), float(values[1] or 0)

    @property
    def identity(self) -> tuple[str, int | None]:
        """SOP Instance UID, and the number of the frame."""
        return str(self.ds.SOPInstanceUID), self.frame


@dataclasses.dataclass(frozen=True, repr=False)
class SeriesPair:
    """The slices of a source and of the series derived from it, each sorted along the normal of the source.

    Attributes:
        source: Acquired slices.
        result: New slices.
    """

    source: Sequence[Image]
    result: Sequence[Image]

    @functools.cached_property
    def normal(self) -> np.ndarray:
        """Unit vector along the slice axis."""
        vector = np.cross(*self.source[0].cosines)
        return vector / np.linalg.norm(vector)

    def places(self, images: Sequence[Image]) -> np.ndarray:
        """Returns the places of slices along the normal in mm."""
        return np.array([image.position for image in images]) @ self.normal

    @functools.cached_property
    def source_spacing(self) -> float:
        """Median distance between acquired slices, mm."""
        return float(np.median(np.diff(self.places(self.source))))

    @functools.cached_property
    def spacing(self) -> float:
        """Median distance between new slices, mm."""
        return float(np.median(np.diff(self.places(self.result))))

    @property
    def enhanced(self) -> bool:
        """Whether the result is an Enhanced object."""
        return self.result[0].frame is not None

    @functools.cached_property
    def tilted(self) -> bool:
        """Whether the source has a gantry tilt: its slices are shifted within their plane."""
        steps = np.diff([image.position for image in self.source], axis=0)
        across = steps - np.outer(steps @ self.normal, self.normal)
        return bool(np.linalg.norm(across, axis=1).max(initial=0) > 0.05)

    @functools.cached_property
    def descriptions(self) -> list[pydicom.Dataset]:
        """What describes the derivation of each new slice."""
        if not self.enhanced:
            return [image.ds for image in self.result]
        return [image.group.get("DerivationImageSequence", pydicom.Dataset()) for image in self.result]

    @functools.cached_property
    def statement(self) -> str:
        """Derivation Description of the first new slice, from the last sentence on a change of slices."""
        text = str(self.descriptions[0].get("DerivationDescription") or "")
        return text[max(0, *map(text.rfind, _KINDS)) :]

    @property
    def interpolated(self) -> bool:
        """Whether the new slices are interpolated, and not estimated as thin ones by a network."""
        return self.statement.startswith(_KINDS[1])

    @functools.cached_property
    def profile(self) -> tuple[str, float] | None:
        """Kind and full width at half maximum (mm) of the slice profile that the derivation states."""
        match = _PROFILE.search(self.statement)
        return (match[1], float(match[2])) if match else None


Rule = Callable[[SeriesPair], str | None]  # returns what is wrong, or `None`


def load(source: str | os.PathLike, result: str | os.PathLike) -> SeriesPair:
    """Reads both series.

    Args:
        source: Folder with the source; where it holds several series, the one that the result references. Files that
            are no slices are skipped: a slice that is missing is noticed as a reference to nothing.
        result: Folder with the derived series, and nothing else.

    Raises:
        InputError: A folder holds no series of slices, or a file cannot be read.
    """
    new = _read(result, every_file=True)
    referenced = {str(item.get("ReferencedSOPInstanceUID")) for image in new for item in _sources(image)}
    old = _choose(_read(source, every_file=False), referenced)
    pair = SeriesPair(old, new)
    return SeriesPair(*(_sorted(images, pair.normal) for images in (old, new)))


def _sources(image: Image) -> Sequence[pydicom.Dataset]:
    holder = image.group.get("DerivationImageSequence", pydicom.Dataset()) if image.frame else image.ds
    return holder.get("SourceImageSequence") or ()


def _sorted(images: Sequence[Image], normal: np.ndarray) -> list[Image]:
    return sorted(images, key=lambda image: float(image.position @ normal))


def _choose(images: list[Image], referenced: set[str]) -> list[Image]:
    """Returns the series that the result references; of several slices at one place those that are referenced."""
    series = collections.Counter(
        str(image.ds.get("SeriesInstanceUID")) for image in images if image.identity[0] in referenced
    )
    if series:
        images = [image for image in images if image.ds.get("SeriesInstanceUID") == series.most_common(1)[0][0]]
    places = {tuple(np.round(image.position, 2)) for image in images}
    if len(places) < len(images):
        images = [image for image in images if image.identity[0] in referenced]
    return images


def _read(folder: str | os.PathLike, every_file: bool) -> list[Image]:
    path = pathlib.Path(folder)
    files = (
        sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")) if path.is_dir() else [path]
    )
    images = []
    for file in files:
        try:
            with dicom_file.raise_input_errors(os.fspath(file)):
                images += _images(file)
        except InputError:
            if every_file:
                raise
    if len(images) < 2:
        raise InputError(f"{folder}: expected a series of slices, found {len(images)}")
    return images


def _images(file: pathlib.Path) -> list[Image]:
    ds = dicom_file.load(file)
    contents = element_bytes(ds)
    element_values.check(ds)
    if not ds.get("Rows"):
        raise InputError("expected an image")
    pixels = stored_pixels(ds)[..., 0]
    ds.pop("PixelData", None)  # decoded, and large
    groups = frame_groups(ds)
    if not groups:
        if missing := [k for k in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing") if not ds.get(k)]:
            raise InputError(f"expected slices with a place in the patient; {', '.join(missing)} missing")
        return [Image(ds, None, {}, pixels[0], contents)]
    macros = [{e.keyword: first_item(e.value) for e in group if e.VR == "SQ"} for group in groups]
    return [Image(ds, n, macro, pixels[n - 1], contents) for n, macro in enumerate(macros, start=1)]
