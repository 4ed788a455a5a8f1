"""The intensity scale of each image in a batch of `python -m tfmisr.upscale`: one per series, kept in `upscale.json`.

All slices of a series are mapped to [0, 1] by the same scale, so that gray levels stay comparable between slices.
"""

import collections
import hashlib
import json
import pathlib

from tfmisr.edge import images, series
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.edge.levels import IntensityScale
from tfmisr.progress import bar

KEY = "scales"


def with_scales(record: pathlib.Path, jobs: list[tuple], pending: list[tuple], like: str | None = None) -> list[tuple]:
    """Returns the pending jobs as (input, output, scale); the scale is `None` where a file has its own.

    A series keeps the scale in the record for as long as the folder is used, so that slices which are added later are
    upscaled like the first ones; a slice with values outside this scale is refused when it is read.

    Args:
        record: `upscale.json` in the folder of the results.
        jobs: All pairs of input and output file.
        pending: Those that are not done yet.
        like: Folder or file whose scales are used instead of those of the jobs.

    Raises:
        InputError: The record, or `like`, does not match the files.
    """
    folder, reference = record.parent, ReferenceSeries(like) if like else None
    groups = {job: group for job, group in _groups(pending) if group}
    scales = read_scales(record, needed=bool(groups))
    group_of = {_series_key(job, group, folder): group for job, group in groups.items()}
    if reference:
        new_scales = {key: reference.scale(group) for key, group in group_of.items()}
        require_same(scales, new_scales, folder)
    else:
        new_scales = _survey(jobs, groups, group_of.keys() - scales.keys(), folder)
    if new_scales.keys() - scales.keys():
        scales |= new_scales
        write_scales(record, scales)
    return [(*job, scales[_series_key(job, groups[job], folder)] if job in groups else None) for job in pending]


def read_scales(record: pathlib.Path, needed: bool = True) -> dict[str, IntensityScale | None]:
    """Returns the scales in a record by the keys of `series_key`.

    Args:
        record: `upscale.json`.
        needed: Whether images need one.

    Raises:
        InputError: It cannot be read, or is of a version without scales while they are needed.
    """
    content = json.loads(record.read_text(encoding="utf-8"))
    if needed and KEY not in content:
        raise InputError(
            f"{record.parent} holds results of an earlier version, where each file had its own intensity scale; "
            "choose another --output"
        )
    try:
        return {key: fields and IntensityScale(**fields) for key, fields in content.get(KEY, {}).items()}
    except (AttributeError, TypeError) as error:
        raise InputError(f"{record} cannot be read ({error}); choose another --output") from error


def write_scales(record: pathlib.Path, scales: dict[str, IntensityScale | None]) -> None:
    """Replaces the scales in a record."""
    content = json.loads(record.read_text(encoding="utf-8"))
    as_json = {key: scale and vars(scale) for key, scale in scales.items()}
    write_text(record, json.dumps({**content, KEY: as_json}, indent=2) + "\n")


def _groups(jobs):
    for job in bar(jobs, desc="headers", unit=" files", leave=False, disable=len(jobs) < 1000):
        yield job, images.group_of(job[0])


def _series_key(job, group, folder) -> str:
    source, target = job
    depth = len(target.parent.relative_to(folder).parts) + 1
    return series_key(group, source.resolve().parent.parts[-depth:])


def series_key(group: series.Group, folders: tuple[str, ...]) -> str:
    """Returns the key of a series in the record: a digest, since a UID or a folder name may identify a patient.

    Args:
        group: Of an image.
        folders: Names of the folders of the image that count where it has no UID: as many as its result has, and one.
    """
    uid, channels, bits = group
    identity = uid or "/".join(folders)
    text = f"{'series' if uid else 'folder'} {identity} {channels} {bits}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def _survey(jobs, groups, missing, folder) -> dict:
    """Returns the scales of the series that are not in the record, from all files, finished ones included."""
    if not missing:
        return {}
    other_jobs = [job for job in jobs if job not in groups]
    scales = series.SeriesScales(images.survey, _with_progress)
    for job, group in [*groups.items(), *_groups(other_jobs)]:
        if group and (key := _series_key(job, group, folder)) in missing:
            scales.add(key, job[0])
    return {key: scales[key] for key in missing}


def _with_progress(files):
    return bar(files, desc="scale of a series", unit=" files", leave=False, disable=len(files) < 100)


def require_same(recorded: dict, reference: dict, folder: pathlib.Path) -> None:
    """Compares the scales of a record with those of `--like`.

    Raises:
        InputError: They differ.
    """
    for key in recorded.keys() & reference.keys():
        if recorded[key] != reference[key]:
            raise InputError(
                f"{folder} holds results of the same series on another intensity scale than that of --like; "
                "choose another --output"
            )


class ReferenceSeries:
    """The series in a folder or file whose intensity scale is used (`--like`).

    Args:
        path: A folder or one file of the series. A folder is searched recursively for DICOM files of the Series
            Instance UID (0020,000E); files without a UID are taken from the folder itself only.

    Raises:
        InputError: The path does not exist.
    """

    def __init__(self, path: str):
        self.path = pathlib.Path(path).expanduser()
        if not self.path.exists():
            raise InputError(f"--like: expected a folder or an image at {self.path}, found nothing")
        self._scales = None

    def scale(self, group: series.Group) -> IntensityScale:
        """Returns the common scale of the files in a group.

        Args:
            group: Series Instance UID (or an empty string), number of channels and bits of a file.

        Raises:
            InputError: The group has no files, or no common scale.
        """
        if self._scales is None:
            self._read()
        if group not in self._counts:
            criterion = (
                "with the same Series Instance UID" if group[0] else f"of {group[2]} bits without its own max_val"
            )
            raise InputError(f"--like {self.path} holds no image {criterion}; give the folder of the image's series")
        if (scale := self._scales[group]) is None:
            raise InputError(f"--like {self.path}: the images of the series cannot be read, or have no common scale")
        return scale

    def _read(self):
        self._scales, self._counts = series.SeriesScales(images.survey, _with_progress), collections.Counter()
        files = [self.path] if self.path.is_file() else sorted(p for p in self.path.rglob("*") if p.is_file())
        for path in bar(files, desc="headers", unit=" files", leave=False, disable=len(files) < 1000):
            group = images.group_of(path)
            if group and (group[0] or path == self.path or path.parent == self.path):
                self._scales.add(group, path)
                self._counts[group] += 1


def reference_scale(source: pathlib.Path, path: str | None) -> IntensityScale | None:
    """Returns the scale for a single image from the series at `path`.

    Args:
        source: The image.
        path: Folder or file given as `--like`, or `None`.

    Returns:
        The scale; `None` where there is no `path`, or where the image's type fixes its scale.
    """
    if path is None:
        return None
    reference, group = ReferenceSeries(path), images.group_of(source)
    return reference.scale(group) if group else None


def describe_scale(scale: IntensityScale | None, survey: series.Survey) -> str:
    """Returns the intensity range of an upscaled image as text for the log; empty where its type fixes the range.

    Args:
        scale: Scale of its series, or `None`.
        survey: Has collected the file's own scale where the series has none.
    """
    used = scale or survey.scale()
    if used is None:
        return ""
    values = f"from {used.shift} to {used.shift + used.max_val}" if used.shift else f"over {used.max_val}"
    if scale:
        return f", values {values}, the scale of its series"
    return f", values {values}, the file's own scale; --like FOLDER_OR_FILE uses that of a series"


__getattr__ = renamed(
    __name__, of_jobs="with_scales", Like="ReferenceSeries", like="reference_scale", told="describe_scale"
)
