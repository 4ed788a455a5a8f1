"""A common intensity scale for all images of a series.

A scanner stores the slices of a series in one unit, so a network must receive them on one scale. Files belong to a
series by Series Instance UID (0020,000E), otherwise by their folder. The full scale is the smallest `2**k - 1` that is
not below the values of all files, and their lowest negative value maps to 0 (`levels.scale_for_limits`). Where the
Attributes define the scale (8 bits, CT in Hounsfield units, detectors of up to 12 bits, `dicom.detector_full_scale`),
each file is processed on its own.
"""

import math
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

import pydicom

from tfmisr.edge import dicom
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import IntensityScale, scale_for_limits

# (Series Instance UID or "", channels, bits) of images whose values determine their scale.
Group = tuple[str, int, int]


def group_of(ds: pydicom.Dataset) -> Group | None:
    """Returns the group of images that share a scale with this one, `None` where its Attributes define the scale."""
    bits, channels = dicom.bits_of(ds), dicom.channels_of(ds)
    unsigned = channels == 3 or not ds.PixelRepresentation
    if (bits == 8 and unsigned) or dicom.hounsfield(ds, 0) is not None:
        return None
    if channels == 1 and dicom.detector_full_scale(ds) is not None:
        return None
    if dicom.slope_and_intercept(ds) is None:
        return None
    return str(ds.get("SeriesInstanceUID") or "").strip(), channels, bits


class Survey:
    """Collects the limits of the values of files, in place of an `IntensityScale` while they are read."""

    def __init__(self) -> None:
        self._reference: tuple[float, float] | None = None  # slope of the largest magnitude, and intercept
        self._low = self._high = 0.0  # in units of the reference
        self._fits = True

    def choose(self, lowest: int, highest: int, rescale: tuple[float, float]) -> IntensityScale:
        """Returns the file's own scale, and adds its limits to those of the series."""
        if self._reference is None:
            self._reference, self._low, self._high = rescale, lowest, highest
        reference = self._reference
        self._fits &= (rescale[0] < 0) == (reference[0] < 0)
        if (abs(rescale[0]), *rescale) > (abs(reference[0]), *reference):
            gain, offset = IntensityScale(0, 1, *rescale).conversion(reference)
            self._low, self._high = self._low * gain + offset, self._high * gain + offset
            self._reference = reference = rescale
        gain, offset = IntensityScale(0, 1, *reference).conversion(rescale)
        self._low = min(self._low, lowest * gain + offset)
        self._high = max(self._high, highest * gain + offset)
        return scale_for_limits(lowest, highest, rescale)

    def scale(self) -> IntensityScale | None:
        """Returns the common scale of all files; `None` where no file needs one, or no single scale fits all."""
        if self._reference is None or not self._fits:
            return None
        try:
            # Less than half a unit beyond an integer is rounding error of the slopes.
            return scale_for_limits(math.floor(self._low + 0.499), math.ceil(self._high - 0.499), self._reference)
        except InputError:
            return None


class SeriesScales:
    """The scales of several series; the files of a series are read when its scale is first needed.

    Args:
        survey: Reads one file with a `Survey` in place of its scale, as `images.survey`.
        shown: Wraps the iteration over the files of a series, such as a progress bar.
    """

    def __init__(self, survey: Callable, shown: Callable[[list], Iterable] = iter) -> None:
        self._survey, self._shown = survey, shown
        self._files: defaultdict[Hashable, list] = defaultdict(list)
        self._scales: dict[Hashable, IntensityScale | None] = {}

    def add(self, key: Hashable, path: str | os.PathLike) -> None:
        """Adds a file to the series `key`."""
        self._files[key].append(path)

    def __getitem__(self, key: Hashable) -> IntensityScale | None:
        """Returns the scale of a series; `None` where each file keeps its own. Broken files are skipped."""
        if key not in self._scales:
            result = Survey()
            for path in self._shown(self._files[key]):
                try:
                    self._survey(path, result)
                except InputError:
                    continue  # the error is raised when its pixels are read
            self._scales[key] = result.scale()
        return self._scales[key]
