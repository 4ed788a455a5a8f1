"""Writes the derived series of a volume as one DICOM file for each slice, or as one Enhanced object (V-11)."""

import dataclasses
import datetime
import os
from typing import Protocol

from tfmisr.edge.derived.series.product import SeriesProduct
from tfmisr.edge.volumes import Volume


class Profile(Protocol):
    """The slice profile: `tfmisr.edge.volumes.slice_profile.SliceProfile`."""

    kind: str
    fwhm: float  # mm


class Source(Protocol):
    """What was read: `tfmisr.edge.volumes.reading.Source`."""

    volume: Volume
    kind: str
    paths: list


@dataclasses.dataclass(frozen=True)
class SeriesReport:
    """Information about a derived series that is not stored in it.

    Attributes:
        slices: Number of new slices.
        clipped: Number of samples outside the stored range.
        remarks: Sentences on what was removed or may be wrong.
    """

    slices: int
    clipped: int
    remarks: tuple[str, ...]


def write_series(
    source: Source,
    result: Volume,
    folder: str | os.PathLike,
    product: SeriesProduct,
    profile: Profile,
    enhanced: bool = False,
    force: bool = False,
    when: datetime.datetime | None = None,
) -> SeriesReport:
    """Writes a volume as a derived series; the folder appears with all its files or not at all."""
    raise NotImplementedError
