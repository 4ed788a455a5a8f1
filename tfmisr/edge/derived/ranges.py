"""Stored values and the [0, 1] of a network: an affine map and back, without losing a level (D-30, D-34).

The network sees what it saw in training (`tfmisr.edge.dicom`): CT as `(HU + 1024) / 4095`, other gray values over the
full scale of the detector, of the series or of the file, bones bright whatever the polarity. Nothing is clipped away:
of values outside [0, 1], metal and unmarked padding in CT, the network sees the nearest end, and what is beyond it
goes round the network by linear interpolation. A Modality LUT Sequence (0028,3000) is left out here, unlike in
training: its table has no inverse.
"""

import dataclasses

import numpy as np
import pydicom

from tfmisr.edge import dicom, series
from tfmisr.edge.derived.geometry import Grid
from tfmisr.edge.levels import Frames, Scale, ScaleChooser, own_scale


@dataclasses.dataclass(frozen=True)
class Range:
    """Stored values `low` and `low + span` are 0 and 1; a negative span inverts.

    Attributes:
        given: It was given from outside, and differs from the file's own.
    """

    low: float
    span: float
    given: bool = False

    @property
    def note(self) -> str:
        """The two values where they are not the file's own: other pixels need another UID (D-02)."""
        return f"{self.low:.17g} to {self.low + self.span:.17g}" if self.given else ""

    def to_network(self, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns float32 values in [0, 1], and what lies beyond them in stored units, or `None`."""
        unit = (stored.astype(np.float32) - np.float32(self.low)) / np.float32(self.span)
        inside = np.clip(unit, 0, 1)
        beyond = (unit - inside) * np.float32(self.span)
        return inside, beyond if np.abs(beyond).max(initial=0) > 0.25 else None

    def to_stored(self, sr: np.ndarray) -> np.ndarray:
        """Returns the inverse as float32, neither rounded nor clipped: 24 bits hold 16 and their rounding."""
        return sr * np.float32(self.span) + np.float32(self.low)


def find(ds: pydicom.Dataset, frames: Frames, scale: ScaleChooser | None = None) -> list[Range]:
    """Returns the range of each frame.

    Args:
        ds: The source.
        frames: Its frames as (stored values, mask that is true where there is no image, or `None`).
        scale: `levels.Scale` of its series, where neither header nor modality fixes it; by default the file's own.
    """
    hounsfield = [dicom.hounsfield(ds, index) for index in range(frames.count)]
    known = [pair for pair in hounsfield if pair is not None]
    if len(known) == frames.count:
        low, span = dicom.LOWEST_HU, dicom.CT_MAX_VAL
        return [Range((low - intercept) / slope, span / slope) for slope, intercept in known]
    return [_of_file(ds, frames, scale)] * frames.count


def _of_file(ds: pydicom.Dataset, frames: Frames, scale: ScaleChooser | None) -> Range:
    """One range for all frames: it follows the values where the full scale is not known beforehand."""
    gray = dicom.channels_of(ds) == 1
    fixed = dicom.detector_range(ds) if gray else 255 if dicom.bits_of(ds) == 8 else None
    falling = float(dicom.rescale(ds, 0).get("RescaleSlope") or 1) < 0
    inverted = gray and (ds.PhotometricInterpretation == "MONOCHROME1") != falling
    if fixed:
        return _range(0, fixed, inverted)
    limits, rescale = _limits(frames), dicom.units(ds)
    own = own_scale(*limits)
    if scale is None or rescale is None or "ModalityLUTSequence" in ds or series.group_of(ds) is None:
        return _range(own.shift, own.max_val, inverted)
    chosen: Scale = scale.choose(*limits, rescale)
    gain, offset = chosen.units(rescale)
    low, span = (chosen.shift - offset) / gain, chosen.max_val / gain
    return _range(low, span, inverted, (low, span) != (own.shift, own.max_val))


def _range(low: float, span: float, inverted: bool, given: bool = False) -> Range:
    return Range(low + span, -span, given) if inverted else Range(low, span, given)


def _limits(frames: Frames) -> tuple[int, int]:
    valid = (values if mask is None else values[~mask] for values, mask in frames)
    limits = [int(limit) for v in valid if v.size for limit in (v.min(), v.max())]
    return min(limits, default=0), max(limits, default=0)


def linear(image: np.ndarray, axes: tuple[Grid, Grid], rows: slice) -> np.ndarray:
    """Returns some rows of an image interpolated linearly, which overshoots nowhere.

    Args:
        image: (rows, columns, channels).
        axes: Grids of the rows and the columns.
        rows: Of the result.
    """
    first, second, weight = _neighbours(axes[0], rows)
    image = image[first] * (1 - weight)[:, None, None] + image[second] * weight[:, None, None]
    first, second, weight = _neighbours(axes[1], slice(None))
    return image[:, first] * (1 - weight)[:, None] + image[:, second] * weight[:, None]


def _neighbours(axis: Grid, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    place = np.clip(axis.old()[part], 0, axis.length - 1)
    first = np.floor(place).astype(np.intp)
    return first, np.minimum(first + 1, axis.length - 1), (place - first).astype(np.float32)
