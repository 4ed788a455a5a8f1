"""Shared by the rules of the checker, which is independent of the code that derives images."""

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
from tfmisr.edge.deprecation import renamed

Path = tuple[tuple[int, int], ...]  # (tag, index of the Item) from the Data Set down
Contents = dict[Path, tuple[str, bytes]]  # Value Representation and bytes

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_SIZES = {"AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4}
_SIZES |= {"FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8}
ENHANCED = (uid.EnhancedCTImageStorage, uid.EnhancedMRImageStorage)
PROCESSING_EVENTS = ("InstanceCreation", "Series", "Content")


@dataclasses.dataclass(frozen=True)
class Pair:
    """A source image and the one that was derived from it.

    Attributes:
        source: The source.
        result: The derived image.
        convention: Sampling grid of the result: `half_pixel`, `top_left` or `align_corners`.
        keep_private: Private Data Elements are allowed.
        source_bytes: `element_bytes` of the source, taken before anything was decoded.
        result_bytes: The same for the result.
    """

    source: pydicom.Dataset
    result: pydicom.Dataset
    convention: str = "half_pixel"
    keep_private: bool = False
    source_bytes: Contents = dataclasses.field(default_factory=dict)
    result_bytes: Contents = dataclasses.field(default_factory=dict)

    @property
    def scale(self) -> int:
        """Upsampling factor."""
        return round(self.result.Rows / self.source.Rows)

    @property
    def enhanced(self) -> bool:
        """Whether the result is an Enhanced CT or MR image."""
        return self.result.get("SOPClassUID") in ENHANCED

    def changed(self, keywords: Iterable[str]) -> list[str]:
        """Returns the keywords of Data Elements whose bytes differ; an empty one equals an absent one."""
        return [k for k in keywords if self._bytes(self.source_bytes, k) != self._bytes(self.result_bytes, k)]

    @staticmethod
    def _bytes(elements: Contents, keyword: str) -> dict[Path, bytes]:
        tag = tag_for_keyword(keyword)
        return {path: value for path, (_, value) in elements.items() if path[0][0] == tag and value}

    def steps(self) -> tuple[float, float]:
        """Returns the distances of rows and columns of the result, in pixels of the source."""
        if self.convention == "align_corners":
            rows, columns = self.source.Rows, self.source.Columns
            return (rows - 1) / max(self.scale * rows - 1, 1), (columns - 1) / max(self.scale * columns - 1, 1)
        return 1 / self.scale, 1 / self.scale

    def shifts(self) -> tuple[float, float]:
        """Returns the coordinates of the first row and column of the result, in pixels of the source."""
        if self.convention != "half_pixel":
            return 0.0, 0.0
        down, across = self.steps()
        return (down - 1) / 2, (across - 1) / 2

    @functools.cached_property
    def source_pixels(self) -> np.ndarray:
        """Stored values of the source; see `stored_pixels`."""
        return stored_pixels(self.source)

    @functools.cached_property
    def result_pixels(self) -> np.ndarray:
        """Stored values of the result; see `stored_pixels`."""
        return stored_pixels(self.result)

    def upscale_nearest(self, frames: np.ndarray) -> np.ndarray:
        """Returns frames of the source, (frames, rows, columns, ...), upscaled by the nearest pixel."""
        for axis, (step, shift) in enumerate(zip(self.steps(), self.shifts(), strict=True), start=1):
            length = frames.shape[axis]
            positions = np.floor(shift + np.arange(length * self.scale) * step + 0.5).astype(int).clip(0, length - 1)
            frames = frames.take(positions, axis=axis)
        return frames


Rule = Callable[[Pair], str | None]  # returns what is wrong, or `None`


def element_bytes(ds: pydicom.Dataset, above: Path = ()) -> Contents:
    """Returns the Value Representation and the bytes (little endian, without padding) of each Data Element.

    Data Elements that have already been decoded are encoded again. Pixel Data is left out.

    Args:
        ds: A Data Set or Item.
        above: Path of the Item that `ds` is; empty for a Data Set.
    """
    elements: Contents = {}
    for tag in ds.keys():
        if tag in _PIXELS:
            continue
        element = ds.get_item(tag)
        vr = element.VR or _known_vr(tag)
        if vr == "SQ" or (vr == "UN" and _known_vr(tag) == "SQ"):
            for number, item in enumerate(ds[tag].value or ()):
                elements |= element_bytes(item, (*above, (int(tag), number)))
        else:
            path = (*above, (int(tag), 0))
            elements[path] = vr, _plain(element, vr)
    return elements


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
    """Whether two values are equal; an empty one equals an absent one."""
    if is_empty(first) or is_empty(second):
        return is_empty(first) and is_empty(second)
    return first == second


def is_empty(value: object) -> bool:
    """Whether a value is absent or has no length."""
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def omits_times(pair: Pair) -> bool:
    """Whether the result states nowhere when it was made; Enhanced images must (`identity.omit_times`)."""
    keywords = [f"{event}{part}" for event in PROCESSING_EVENTS for part in ("Date", "Time")]
    items = pair.result.get("ContributingEquipmentSequence") or []
    added = items[len(pair.source.get("ContributingEquipmentSequence") or ()) :]
    times = [pair.result.get(keyword) for keyword in keywords] + [item.get("ContributionDateTime") for item in added]
    return not pair.enhanced and all(map(is_empty, times))


def stored_pixels(ds: pydicom.Dataset) -> np.ndarray:
    """Returns stored values (frames, rows, columns, samples), color as RGB, with a palette applied."""
    pixels = np.stack(list(stored_values.read(ds).frames))
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        pixels = palette.apply(pixels, ds)
    samples = 3 if ds.PhotometricInterpretation == "PALETTE COLOR" else ds.SamplesPerPixel
    return pixels.reshape(int(ds.get("NumberOfFrames") or 1), ds.Rows, ds.Columns, samples)


def first_item(sequence: Sequence[pydicom.Dataset] | None) -> pydicom.Dataset:
    """Returns the first Item of a Sequence, an empty Item if there is none."""
    return sequence[0] if sequence else pydicom.Dataset()


def codes(holder: pydicom.Dataset, keyword: str) -> list[str]:
    """Returns the Code Values of the DICOM Controlled Terminology (DCM) in a Code Sequence."""
    items = holder.get(keyword) or ()
    return [item.get("CodeValue") for item in items if item.get("CodingSchemeDesignator") == "DCM"]


def frame_groups(ds: pydicom.Dataset) -> list[pydicom.Dataset]:
    """Returns the functional groups that apply to each frame of an Enhanced image: its own, and the shared ones."""
    shared, frames = first_item(ds.get("SharedFunctionalGroupsSequence")), []
    for group in ds.get("PerFrameFunctionalGroupsSequence") or ():
        merged = pydicom.Dataset()
        merged.update(dict(shared))
        merged.update(dict(group))
        frames.append(merged)
    return frames


__getattr__ = renamed(__name__, contents="element_bytes", stored="stored_pixels", first="first_item")
