"""What the rules of the checker share. They know the standard and the design, but nothing of how images are derived."""

import dataclasses
import functools

import numpy as np
import pydicom
from pydicom import uid
from pydicom.pixels import apply_color_lut

from tfmisr.edge import stored_values

ENHANCED = (uid.EnhancedCTImageStorage, uid.EnhancedMRImageStorage)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A source image and the one that was derived from it.

    Attributes:
        convention: `half_pixel`, `top_left` or `align_corners`.
        keep_private: Private elements are allowed.
    """

    source: pydicom.Dataset
    result: pydicom.Dataset
    convention: str = "half_pixel"
    keep_private: bool = False

    @property
    def scale(self) -> int:
        return round(self.result.Rows / self.source.Rows)

    @property
    def enhanced(self) -> bool:
        return self.result.get("SOPClassUID") in ENHANCED

    def changed(self, keywords) -> list[str]:
        """Returns the keywords whose values differ."""
        return [k for k in keywords if not same(self.source.get(k), self.result.get(k))]

    def steps(self) -> tuple[float, float]:
        """Returns the distances of new rows and columns in old ones."""
        if self.convention == "align_corners":
            lengths = self.source.Rows, self.source.Columns
            return tuple((n - 1) / max(self.scale * n - 1, 1) for n in lengths)
        return 1 / self.scale, 1 / self.scale

    def shifts(self) -> tuple[float, float]:
        """Returns the old coordinates of the first new row and column."""
        return tuple((step - 1) / 2 if self.convention == "half_pixel" else 0.0 for step in self.steps())

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


def same(first, second) -> bool:
    """Whether two values say the same; an empty one says what an absent one does."""
    if is_empty(first) or is_empty(second):
        return is_empty(first) and is_empty(second)
    return first == second


def is_empty(value) -> bool:
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def stored(ds: pydicom.Dataset) -> np.ndarray:
    """Returns stored values (frames, rows, columns, samples), colour as RGB."""
    pixels = np.stack(list(stored_values.read(ds).frames))
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, ds)[..., :3]
    samples = 3 if ds.PhotometricInterpretation == "PALETTE COLOR" else ds.SamplesPerPixel
    return pixels.reshape(int(ds.get("NumberOfFrames") or 1), ds.Rows, ds.Columns, samples)


def first(sequence) -> pydicom.Dataset:
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
