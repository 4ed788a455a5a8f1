"""Invertible affine mapping between stored values and a network's [0, 1], without loss of gray levels (D-30, D-34).

The mapping is that of training (`tfmisr.edge.dicom`): CT as `(HU + 1024) / 4095`, other gray values relative to the
full scale of the detector, the series or the file, with bright bones in MONOCHROME1 and MONOCHROME2. Values outside
[0, 1], such as metal and unmarked padding in CT, are clipped for the network only: the excess bypasses it by linear
interpolation and is added to the result. A Modality LUT Sequence (0028,3000) is not applied, unlike in training: its
table has no inverse.
"""

import dataclasses

import numpy as np
import pydicom

from tfmisr.edge import dicom, series
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.derived.geometry import Grid
from tfmisr.edge.levels import Frames, IntensityScale, IntensityScaleChooser, scale_for_limits


@dataclasses.dataclass(frozen=True)
class Range:
    """Maps the stored values `low` and `low + span` to 0 and 1; a negative span inverts.

    Attributes:
        low: Stored value that maps to 0.
        span: Difference to the stored value that maps to 1.
        from_series: Whether it is the range of a series and differs from the file's own.
    """

    low: float
    span: float
    from_series: bool = False

    @property
    def note(self) -> str:
        """The two stored values if they are not the file's own, which requires a different UID (D-02)."""
        return f"{self.low:.17g} to {self.low + self.span:.17g}" if self.from_series else ""

    def to_network(self, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns float32 values in [0, 1], and the excess beyond them in stored values, `None` if there is none."""
        unit = (stored.astype(np.float32) - np.float32(self.low)) / np.float32(self.span)
        inside = np.clip(unit, 0, 1)
        beyond = (unit - inside) * np.float32(self.span)
        return inside, beyond if np.abs(beyond).max(initial=0) > 0.25 else None

    def to_stored(self, sr: np.ndarray) -> np.ndarray:
        """Returns stored values as float32, neither rounded nor clipped; 24 bits suffice to round to 16."""
        return sr * np.float32(self.span) + np.float32(self.low)


def frame_ranges(ds: pydicom.Dataset, frames: Frames, scale: IntensityScaleChooser | None = None) -> list[Range]:
    """Returns the range of each frame.

    Args:
        ds: The source.
        frames: Its frames as pairs of stored values and a padding mask (true where there is no image) or `None`.
        scale: Intensity scale of its series, used where neither Attributes nor modality define one; by default the
            file's own.
    """
    hounsfield = [dicom.hounsfield(ds, index) for index in range(frames.count)]
    known = [pair for pair in hounsfield if pair is not None]
    if len(known) == frames.count:
        low, span = dicom.LOWEST_HU, dicom.CT_MAX_VAL
        return [Range((low - intercept) / slope, span / slope) for slope, intercept in known]
    return [_of_file(ds, frames, scale)] * frames.count


def _of_file(ds: pydicom.Dataset, frames: Frames, scale: IntensityScaleChooser | None) -> Range:
    """Returns the range of all frames of a file, from their values where the Attributes do not define it."""
    gray = dicom.channels_of(ds) == 1
    fixed = dicom.detector_full_scale(ds) if gray else 255 if dicom.bits_of(ds) == 8 else None
    has_negative_slope = float(dicom.rescale_item(ds, 0).get("RescaleSlope") or 1) < 0
    inverted = gray and (ds.PhotometricInterpretation == "MONOCHROME1") != has_negative_slope
    if fixed:
        return _range(0, fixed, inverted)
    limits, rescale = _limits(frames), dicom.slope_and_intercept(ds)
    file_scale = scale_for_limits(*limits)
    if scale is None or rescale is None or "ModalityLUTSequence" in ds or series.group_of(ds) is None:
        return _range(file_scale.shift, file_scale.max_val, inverted)
    used: IntensityScale = scale.choose(*limits, rescale)
    gain, offset = used.conversion(rescale)
    low, span = (used.shift - offset) / gain, used.max_val / gain
    return _range(low, span, inverted, (low, span) != (file_scale.shift, file_scale.max_val))


def _range(low: float, span: float, inverted: bool, from_series: bool = False) -> Range:
    return Range(low + span, -span, from_series) if inverted else Range(low, span, from_series)


def _limits(frames: Frames) -> tuple[int, int]:
    valid = (values if mask is None else values[~mask] for values, mask in frames)
    limits = [int(limit) for v in valid if v.size for limit in (v.min(), v.max())]
    return min(limits, default=0), max(limits, default=0)


def linear(image: np.ndarray, axes: tuple[Grid, Grid], rows: slice) -> np.ndarray:
    """Returns some rows of an image upscaled by linear interpolation, which does not overshoot.

    Args:
        image: (rows, columns, channels).
        axes: Grids of the rows and the columns.
        rows: Rows of the result.
    """
    first, second, weight = _neighbors(axes[0], rows)
    image = image[first] * (1 - weight)[:, None, None] + image[second] * weight[:, None, None]
    first, second, weight = _neighbors(axes[1], slice(None))
    return image[:, first] * (1 - weight)[:, None] + image[:, second] * weight[:, None]


def _neighbors(axis: Grid, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    position = np.clip(axis.source_coordinates()[part], 0, axis.length - 1)
    first = np.floor(position).astype(np.intp)
    return first, np.minimum(first + 1, axis.length - 1), (position - first).astype(np.float32)


__getattr__ = renamed(__name__, find="frame_ranges")
