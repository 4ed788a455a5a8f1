"""One mapping between stored values and the unit of the volume for a whole derived series (D-30, V-11).

Where all acquired slices have the same Rescale Slope and Intercept, as in CT, the new ones have it too, and stored
values keep their meaning. MR scanners of some vendors scale each slice to its own range. A new slice is made from
several, so the series gets the pair with the largest slope, with which the largest value was stored; a series whose
values do not fit the stored range of that pair is refused.
"""

import dataclasses

import numpy as np
import pydicom

from tfmisr.edge import dicom
from tfmisr.edge.derived import padding
from tfmisr.edge.derived.series.sources import Slices, padding_value
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError


@dataclasses.dataclass(frozen=True)
class StoredValues:
    """Maps values of a volume to stored values.

    Attributes:
        slope: Rescale Slope (0028,1053).
        intercept: Rescale Intercept (0028,1052).
        limits: Lowest and highest value that can be stored.
        dtype: Of Pixel Data, little endian.
        is_sources: Whether all acquired slices have this slope and intercept.
    """

    slope: float
    intercept: float
    limits: tuple[int, int]
    dtype: str
    is_sources: bool = True

    def encode(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """Returns rounded stored values and the number of those that were clipped.

        Args:
            values: Values in the unit of the volume.

        Raises:
            InputError: A value is not finite.
        """
        if not np.isfinite(values).all():
            raise InputError("the volume to be written has values that are not finite")
        stored = np.rint((values.astype(np.float64) - self.intercept) / self.slope)
        clipped = int(np.count_nonzero((stored < self.limits[0]) | (stored > self.limits[1])))
        return np.clip(stored, *self.limits).astype(self.dtype), clipped


def common_mapping(slices: Slices, lowest: float, highest: float) -> StoredValues:
    """Returns the mapping of a derived series.

    Args:
        slices: The acquired slices.
        lowest: Lowest value of the source's volume, in its unit.
        highest: Highest value.

    Raises:
        InputError: The slices have no mapping in common that can store these values.
    """
    pairs = sorted({item.rescale for item in slices.items}, key=lambda pair: (abs(pair[0]), pair))
    slope, intercept = pairs[-1]
    mapping = StoredValues(slope, intercept, _limits(slices), _dtype(slices), len(pairs) == 1)
    if len(pairs) > 1:
        ends = sorted((value - intercept) / slope for value in (lowest, highest))
        if ends[0] < mapping.limits[0] - 0.5 or ends[1] > mapping.limits[1] + 0.5:
            raise InputError(
                f"{label('RescaleSlope')} and {label('RescaleIntercept')} differ between the slices, and no pair "
                "stores the values of all of them; write a .nii.gz instead"
            )
    return mapping


def _limits(slices: Slices) -> tuple[int, int]:
    half = 1 << (int(slices.description.BitsStored) - 1)
    return (-half, half - 1) if slices.description.PixelRepresentation else (0, 2 * half - 1)


def _dtype(slices: Slices) -> str:
    ds = slices.description
    return f"<{'i' if ds.PixelRepresentation else 'u'}{ds.BitsAllocated // 8}"


def put_padding(pixels: np.ndarray, mask: np.ndarray, description: pydicom.Dataset, limits: tuple[int, int]) -> None:
    """Writes padding into a new slice, in place; no other pixel keeps a value of padding (D-32).

    Args:
        pixels: Stored values (rows, columns).
        mask: The same shape, true where there is no image.
        description: Describes the stored values; without Pixel Padding Value nothing is written.
        limits: Lowest and highest value that can be stored.
    """
    value, ends = padding_value(description), dicom.padding_range(description)
    if value is not None and ends is not None:
        padding.avoid_padding_values(pixels, ends, limits)
        pixels[mask] = value
