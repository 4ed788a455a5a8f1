"""What the rules of the checker share. They know the standard and the design, but nothing of how images are derived."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pydicom
from pydicom import uid
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element

from tfmisr.edge import palette, stored_values

Path = tuple[tuple[int, int], ...]  # (tag, number of the item) from the top down
Contents = dict[Path, tuple[str, bytes]]  # Value Representation and bytes

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_SIZES = {"AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4}
_SIZES |= {"FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8}
ENHANCED = (uid.EnhancedCTImageStorage, uid.EnhancedMRImageStorage)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A source image and the one that was derived from it.

    Attributes:
        convention: `half_pixel`, `top_left` or `align_corners`.
        keep_private: Private elements are allowed.
        source_bytes: What `contents` returned of the source, before anything of it was decoded.
        result_bytes: The same of the result.
    """

    source: pydicom.Dataset
    result: pydicom.Dataset
    convention: str = "half_pixel"
    keep_private: bool = False
    source_bytes: Contents = dataclasses.field(default_factory=dict)
    result_bytes: Contents = dataclasses.field(default_factory=dict)

    @property
    def scale(self) -> int:
        return round(self.result.Rows / self.source.Rows)

    @property
    def enhanced(self) -> bool:
        return self.result.get("SOPClassUID") in ENHANCED

    def changed(self, keywords: Iterable[str]) -> list[str]:
        """Returns the keywords of elements whose bytes differ; an empty element says what an absent one does."""
        return [k for k in keywords if self._bytes(self.source_bytes, k) != self._bytes(self.result_bytes, k)]

    @staticmethod
    def _bytes(found: Contents, keyword: str) -> dict[Path, bytes]:
        tag = tag_for_keyword(keyword)
        return {path: value for path, (_, value) in found.items() if path[0][0] == tag and value}

    def steps(self) -> tuple[float, float]:
        """Returns the distances of new rows and columns in old ones."""
        if self.convention == "align_corners":
            rows, columns = self.source.Rows, self.source.Columns
            return (rows - 1) / max(self.scale * rows - 1, 1), (columns - 1) / max(self.scale * columns - 1, 1)
        return 1 / self.scale, 1 / self.scale

    def shifts(self) -> tuple[float, float]:
        """Returns the old coordinates of the first new row and column."""
        if self.convention != "half_pixel":
            return 0.0, 0.0
        down, across = self.steps()
        return (down - 1) / 2, (across - 1) / 2

    @functools.cached_property
    def source_pixels(self) -> np.ndarray:
        return stored(self.source)

    @functools.cached_property
    def result_pixels(self) -> np.ndarray:
        return stored(self.result)

    def enlarged(self, frames: np.ndarray) -> np.ndarray:
        """Returns (frames, rows, columns, ...) of the source with the nearest pixels at the size of the result."""
        for axis, (step, shift) in enumerate(zip(self.steps(), self.shifts(), strict=True), start=1):
            length = frames.shape[axis]
            places = np.floor(shift + np.arange(length * self.scale) * step + 0.5).astype(int).clip(0, length - 1)
            frames = frames.take(places, axis=axis)
        return frames


Rule = Callable[[Pair], str | None]  # returns what is wrong, or `None`


def contents(ds: pydicom.Dataset, above: Path = ()) -> Contents:
    """Maps a path of (tag, number of the item) to (Value Representation, bytes), in little endian and without padding.

    Elements that have been decoded already are encoded again.
    """
    found: Contents = {}
    for tag in ds.keys():
        if tag in _PIXELS:
            continue
        element = ds.get_item(tag)
        vr = element.VR or _known_vr(tag)
        if vr == "SQ" or (vr == "UN" and _known_vr(tag) == "SQ"):
            for number, item in enumerate(ds[tag].value or ()):
                found |= contents(item, (*above, (int(tag), number)))
        else:
            path = (*above, (int(tag), 0))
            found[path] = vr, _plain(element, vr)
    return found


def _known_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def _plain(element: DataElement | RawDataElement, vr: str) -> bytes:
    if isinstance(element, RawDataElement):
        value, little = element.value or b"", element.is_little_endian
    else:
        file = DicomBytesIO()
        file.is_little_endian = file.is_implicit_VR = True
        write_data_element(file, element)
        value, little = file.getvalue()[8:], True
    size = _SIZES.get(vr[:2], 1)
    if size == 1:
        return value if vr[:2] in ("OB", "UN") else value.rstrip(b" \0")
    return value if little else b"".join(value[i : i + size][::-1] for i in range(0, len(value), size))


def same(first: object, second: object) -> bool:
    """Whether two values say the same; an empty one says what an absent one does."""
    if is_empty(first) or is_empty(second):
        return is_empty(first) and is_empty(second)
    return first == second


def is_empty(value: object) -> bool:
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def stored(ds: pydicom.Dataset) -> np.ndarray:
    """Returns stored values (frames, rows, columns, samples), colour as RGB."""
    pixels = np.stack(list(stored_values.read(ds).frames))
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        pixels = palette.apply(pixels, ds)
    samples = 3 if ds.PhotometricInterpretation == "PALETTE COLOR" else ds.SamplesPerPixel
    return pixels.reshape(int(ds.get("NumberOfFrames") or 1), ds.Rows, ds.Columns, samples)


def first(sequence: Sequence[pydicom.Dataset] | None) -> pydicom.Dataset:
    """Returns the first item of a sequence, an empty one where there is none."""
    return sequence[0] if sequence else pydicom.Dataset()


def codes(holder: pydicom.Dataset, keyword: str) -> list[str]:
    """Returns the codes of DICOM in a Code Sequence."""
    items = holder.get(keyword) or ()
    return [item.get("CodeValue") for item in items if item.get("CodingSchemeDesignator") == "DCM"]


def frame_groups(ds: pydicom.Dataset) -> list[pydicom.Dataset]:
    """Returns what holds for each frame of an enhanced object: its own functional groups, and the shared ones."""
    shared, frames = first(ds.get("SharedFunctionalGroupsSequence")), []
    for own in ds.get("PerFrameFunctionalGroupsSequence") or ():
        merged = pydicom.Dataset()
        merged.update(dict(shared))
        merged.update(dict(own))
        frames.append(merged)
    return frames
