"""Writes the derived series of a volume as one DICOM file for each slice, or as one Enhanced object (V-11)."""

import contextlib
import dataclasses
import datetime
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from tfmisr.edge.derived import image as derived_image
from tfmisr.edge.derived.series import places, rescale, single_frames, sources
from tfmisr.edge.derived.series.product import SeriesProduct
from tfmisr.edge.derived.series.single_frames import Series
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import add_path_to_errors, temporary_name
from tfmisr.edge.volumes import Volume

_LOG = logging.getLogger("tfmisr.edge.derived")


class Profile(Protocol):
    """The slice profile (`tfmisr.edge.volumes.slice_profile.SliceProfile`)."""

    @property
    def kind(self) -> str:
        """`gaussian` or `rectangular`."""

    @property
    def fwhm(self) -> float:
        """Full width at half maximum, mm."""


@dataclasses.dataclass(frozen=True)
class SeriesReport:
    """Information about a derived series that is not stored in it.

    Attributes:
        slices: Number of new slices.
        clipped: Number of samples outside the stored range.
        remarks: Sentences on what was removed or may be wrong.
        files: Names of the files in the folder, in the order of Instance Number.
    """

    slices: int
    clipped: int
    remarks: tuple[str, ...]
    files: tuple[str, ...]


def write_series(
    source: sources.Source,
    result: Volume,
    folder: str | os.PathLike,
    product: SeriesProduct,
    profile: Profile,
    enhanced: bool = False,
    force: bool = False,
    when: datetime.datetime | None = None,
) -> SeriesReport:
    """Writes a volume as a derived series; the folder appears with all its files or not at all.

    Slice Thickness of the new slices is their spacing where a network estimated them as thin slices (`product.ai`), and
    the source's where they were interpolated: interpolation takes no averaging back.

    Args:
        source: The volume that was read, and its files.
        result: The new volume, in the unit of the source; rows, columns and directions are the source's.
        folder: A folder that does not exist yet.
        product: The producer; `profile` and the spacings are filled in.
        profile: Of the acquired slices.
        enhanced: Write one Enhanced CT or MR object. A source that is Enhanced has an Enhanced result in any case.
        force: Accept images that have already been processed (D-07).
        when: Time of processing, with a time zone; by default the current time.

    Raises:
        InputError: The folder exists, or a slice must not be processed, or the volumes do not fit.
    """
    folder = pathlib.Path(folder)
    _check_folder(folder)
    series, remarks = _series(source, result, product, profile, force, when)
    placed = places.places(series.slices, result.grid, profile.fwhm)
    with _appearing(folder) as temporary:
        files, clipped, more = _write_files(temporary, series, placed, result.values)
    if clipped:
        _LOG.info("%d samples were clipped to the stored range", clipped)
    return SeriesReport(len(placed), clipped, (*remarks, *more), tuple(files))


def _series(
    source: sources.Source,
    result: Volume,
    product: SeriesProduct,
    profile: Profile,
    force: bool,
    when: datetime.datetime | None,
) -> tuple[Series, tuple[str, ...]]:
    grid, thick = result.grid, source.volume.grid
    product = dataclasses.replace(
        product,
        force=force or product.force,
        profile=f"{profile.kind}:{profile.fwhm:.6g}mm",
        spacing=grid.spacing[0],
        source_spacing=thick.spacing[0],
    )
    slices = sources.load(source, product)
    values = source.volume.values
    mapping = rescale.common_mapping(slices, float(values.min()), float(values.max()))
    thickness = grid.spacing[0] if product.ai else source.volume.slice_thickness
    now = when or datetime.datetime.now(datetime.timezone.utc)
    return Series(slices, grid, product, thickness, mapping, now), slices.remarks


def _write_files(
    folder: pathlib.Path, series: Series, placed: list[places.Place], values: np.ndarray
) -> tuple[list[str], int, list[str]]:
    shared, remarks = single_frames.common(series)
    padding, clipped, names = sources.Padding(series.slices), 0, []
    digits = max(4, len(str(len(placed))))
    for place in placed:
        pixels, beyond = series.mapping.encode(values[place.index])
        clipped += beyond
        valid, nearest = None, padding.at(place.nearest)
        if nearest is not None:
            valid = ~rescale.put_padding(pixels, nearest, padding.limits, series.mapping.limits)
        names.append(f"{place.number:0{digits}d}.dcm")
        ds = single_frames.image(shared, series, place, pixels, valid)
        derived_image.write(ds, folder / names[-1])
    return sorted(names), clipped, remarks


def _check_folder(folder: pathlib.Path) -> None:
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} exists; choose a folder that does not exist yet")
    if not folder.absolute().parent.is_dir():
        raise InputError(f"the folder {folder.absolute().parent} does not exist; create it first")


@contextlib.contextmanager
def _appearing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary folder, which is renamed to `folder` at the end, or removed after an error."""
    temporary = temporary_name(folder)
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that had this process's id
    try:
        with add_path_to_errors(folder):
            temporary.mkdir()
            yield temporary
        _check_folder(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
