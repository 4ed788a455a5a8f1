"""One intensity scale for all images of a series: which files belong together, and what their values say.

A scanner writes the slices of a series in one unit, so they must reach a network over one full scale. Files belong
together by their Series Instance UID (0020,000E), otherwise by the folder they lie in. The scale is the smallest
`2**k - 1` that holds the values of all of them, and their lowest negative value becomes 0 (`levels.own_scale`).
Where the header alone gives the scale, 8 bits, CT in Hounsfield units and detectors of up to 12 bits
(`dicom.detector_range`), no file needs another.
"""

import math
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

import pydicom

from tfmisr.edge import dicom
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import Scale, own_scale

# (Series Instance UID or "", channels, bits) of images whose values decide their scale.
Group = tuple[str, int, int]


def group_of(ds: pydicom.Dataset) -> Group | None:
    """Returns what a DICOM image shares its scale with, or `None` where its header gives the scale."""
    bits, channels = dicom.bits_of(ds), dicom.channels_of(ds)
    unsigned = channels == 3 or not ds.PixelRepresentation
    if (bits == 8 and unsigned) or dicom.hounsfield(ds, 0) is not None:
        return None
    if channels == 1 and dicom.detector_range(ds) is not None:
        return None
    if dicom.units(ds) is None:
        return None
    return str(ds.get("SeriesInstanceUID") or "").strip(), channels, bits


class Survey:
    """Takes the place of a `Scale` while files are read, gives each its own, and keeps what all of them need."""

    def __init__(self) -> None:
        self._reference: tuple[float, float] | None = None  # the largest slope in size, with its intercept
        self._low = self._high = 0.0  # in units of the reference
        self._fits = True

    def choose(self, lowest: int, highest: int, rescale: tuple[float, float]) -> Scale:
        """Returns the file's own scale; its limits count for the series."""
        if self._reference is None:
            self._reference, self._low, self._high = rescale, lowest, highest
        reference = self._reference
        self._fits &= (rescale[0] < 0) == (reference[0] < 0)
        if (abs(rescale[0]), *rescale) > (abs(reference[0]), *reference):
            gain, offset = Scale(0, 1, *rescale).units(reference)
            self._low, self._high = self._low * gain + offset, self._high * gain + offset
            self._reference = reference = rescale
        gain, offset = Scale(0, 1, *reference).units(rescale)
        self._low = min(self._low, lowest * gain + offset)
        self._high = max(self._high, highest * gain + offset)
        return own_scale(lowest, highest, rescale)

    def scale(self) -> Scale | None:
        """Returns the scale of all files; `None` where no file needed one, or where no single one fits all."""
        if self._reference is None or not self._fits:
            return None
        try:
            # Less than a rounded level beyond a whole number is rounding of the slopes.
            return own_scale(math.floor(self._low + 0.499), math.ceil(self._high - 0.499), self._reference)
        except InputError:
            return None


class SeriesScales:
    """The scales of many series; a series is read when its scale is first asked for.

    Args:
        survey: Reads one file with a `Survey` in place of its scale, as `images.survey` does.
        shown: Wraps the files of a series while they are read, as a progress bar does.
    """

    def __init__(self, survey: Callable, shown: Callable[[list], Iterable] = iter) -> None:
        self._survey, self._shown = survey, shown
        self._files: defaultdict[Hashable, list] = defaultdict(list)
        self._scales: dict[Hashable, Scale | None] = {}

    def add(self, key: Hashable, path: str | os.PathLike) -> None:
        """Counts a file to the series `key`."""
        self._files[key].append(path)

    def __getitem__(self, key: Hashable) -> Scale | None:
        """Returns the scale of a series; `None` where each file keeps its own. Files that are broken do not count."""
        if key not in self._scales:
            found = Survey()
            for path in self._shown(self._files[key]):
                try:
                    self._survey(path, found)
                except InputError:
                    continue  # told when its pixels are wanted
            self._scales[key] = found.scale()
        return self._scales[key]
