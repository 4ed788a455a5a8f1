"""Writes the derived series of a volume as one DICOM file for each slice, or as one Enhanced object (V-11)."""

import contextlib
import dataclasses
import datetime
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np

from tfmisr.edge.derived import image as derived_image
from tfmisr.edge.derived.series import agreement, places, rescale, single_frames, sources
from tfmisr.edge.derived.series import enhanced as enhanced_object
from tfmisr.edge.derived.series.places import Place
from tfmisr.edge.derived.series.product import SeriesProduct
from tfmisr.edge.derived.series.single_frames import Series
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import add_path_to_errors, remove_stale_temporaries, temporary_name
from tfmisr.edge.volumes import Volume
from tfmisr.edge.volumes.slice_profile import SliceProfile

_LOG = logging.getLogger("tfmisr.edge.derived")


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
    profile: SliceProfile,
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
    agreement.check(series, source.volume, result, profile)
    placed = sorted(places.places(series.slices, result.grid, profile.fwhm), key=lambda place: place.number)
    with _appearing(folder) as temporary:
        if enhanced or series.slices.is_enhanced:
            files, clipped, more = _write_enhanced(temporary, series, placed, result.values, profile)
        else:
            files, clipped, more = _write_slices(temporary, series, placed, result.values)
    if clipped:
        _LOG.info("%d samples were clipped to the stored range", clipped)
    return SeriesReport(len(placed), clipped, (*remarks, *more), tuple(files))


def _series(
    source: sources.Source,
    result: Volume,
    product: SeriesProduct,
    profile: SliceProfile,
    force: bool,
    when: datetime.datetime | None,
) -> tuple[Series, tuple[str, ...]]:
    grid, thick = result.grid, source.volume.grid
    product = dataclasses.replace(
        product,
        force=force or product.force,
        profile=str(profile),
        spacing=grid.spacing[0],
        source_spacing=thick.spacing[0],
    )
    slices = sources.load(source, product)
    values = source.volume.values
    mapping = rescale.common_mapping(slices, float(values.min()), float(values.max()))
    thickness = grid.spacing[0] if product.ai else source.volume.slice_thickness
    now = when or datetime.datetime.now(datetime.timezone.utc)
    return Series(slices, grid, product, thickness, mapping, now), slices.remarks


def _write_slices(
    folder: pathlib.Path, series: Series, placed: list[Place], values: np.ndarray
) -> tuple[list[str], int, list[str]]:
    shared, remarks = single_frames.common(series)
    clipped, names, digits = 0, [], max(4, len(str(len(placed))))
    for place in placed:
        pixels, valid, beyond = _encoded(series, place, values)
        clipped += beyond
        names.append(f"{place.number:0{digits}d}.dcm")
        derived_image.write(single_frames.image(shared, series, place, pixels, valid), folder / names[-1])
    return names, clipped, remarks


def _write_enhanced(
    folder: pathlib.Path, series: Series, placed: list[Place], values: np.ndarray, profile: SliceProfile
) -> tuple[list[str], int, list[str]]:
    enhanced_object.check_size(series)
    frames, clipped = np.empty(series.grid.shape, series.mapping.dtype), 0
    for number, place in enumerate(placed):
        frames[number], _, beyond = _encoded(series, place, values)
        clipped += beyond
    ds, remarks = enhanced_object.image(series, placed, frames, profile.fwhm)
    derived_image.write(ds, folder / "0001.dcm")
    return ["0001.dcm"], clipped, remarks


def _encoded(series: Series, place: Place, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Returns the stored values of a new slice, a mask of its image or `None`, and the number of clipped samples."""
    pixels, clipped = series.mapping.encode(values[place.index])
    padding = series.slices.padding
    if padding is None or sources.padding_value(series.slices.description) is None:
        return pixels, None, clipped
    mask = padding[place.nearest]
    rescale.put_padding(pixels, mask, series.slices.description, series.mapping.limits)
    return pixels, ~mask, clipped


def _check_folder(folder: pathlib.Path) -> None:
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} exists; choose a folder that does not exist yet")
    if not folder.absolute().parent.is_dir():
        raise InputError(f"the folder {folder.absolute().parent} does not exist; create it first")


@contextlib.contextmanager
def _appearing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary folder, which is renamed to `folder` at the end, or removed after an error."""
    remove_stale_temporaries(folder.absolute().parent.glob(temporary_name(folder, "*").name))
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
