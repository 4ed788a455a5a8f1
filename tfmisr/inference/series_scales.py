"""The scale of each image that `python -m tfmisr.upscale` enlarges: one for a series, kept in `upscale.json`."""

import collections
import hashlib
import json
import pathlib

from tfmisr.edge import images, series
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.edge.levels import IntensityScale
from tfmisr.progress import bar

KEY = "scales"


def of_jobs(record: pathlib.Path, jobs: list[tuple], left: list[tuple], like: str | None = None) -> list[tuple]:
    """Returns the jobs that are left as (input, output, scale), `None` where a file has its own.

    What the record holds of a series counts as long as the folder is used, so that slices which were added later
    are enlarged like the first ones; a slice that such a scale does not cover is refused when it is read.

    Args:
        record: `upscale.json` in the folder of the results.
        jobs: All pairs of input and output file.
        left: Those that are not done yet.
        like: Folder or file that gives the scales instead of the jobs.

    Raises:
        InputError: The record, or `like`, does not go with the files.
    """
    content = json.loads(record.read_text(encoding="utf-8"))
    folder, other = record.parent, Like(like) if like else None
    groups = {job: group for job, group in _groups(left) if group}
    if groups and KEY not in content:
        raise InputError(
            f"{folder} holds results of an earlier version, where each file had an intensity scale of its own; "
            "choose another --output"
        )
    known = _known(content.get(KEY, {}), record)
    wanted = {_name(job, group, folder): group for job, group in groups.items()}
    if other:
        found = {name: other.scale(group) for name, group in wanted.items()}
        _require_same(known, found, folder)
    else:
        found = _surveyed(jobs, groups, wanted.keys() - known.keys(), folder)
    if found.keys() - known.keys():
        known |= found
        written = {name: scale and vars(scale) for name, scale in known.items()}
        write_text(record, json.dumps({**content, KEY: written}, indent=2) + "\n")
    return [(*job, known[_name(job, groups[job], folder)] if job in groups else None) for job in left]


def _known(written, record) -> dict:
    try:
        return {name: value and IntensityScale(**value) for name, value in written.items()}
    except (AttributeError, TypeError) as error:
        raise InputError(f"{record} cannot be read ({error}); choose another --output") from error


def _groups(jobs):
    for job in bar(jobs, desc="headers", unit=" files", leave=False, disable=len(jobs) < 1000):
        yield job, images.group_of(job[0])


def _name(job, group, folder) -> str:
    """Returns what the record calls a series: a digest, since a UID or a folder may lead to a patient."""
    uid, channels, bits = group
    source, target = job
    depth = len(target.parent.relative_to(folder).parts) + 1
    where = uid or "/".join(source.resolve().parent.parts[-depth:])
    text = f"{'series' if uid else 'folder'} {where} {channels} {bits}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def _surveyed(jobs, groups, missing, folder) -> dict:
    """Returns the scales of the series that the record lacks; all files count, those that are done too."""
    if not missing:
        return {}
    rest = [job for job in jobs if job not in groups]
    scales = series.SeriesScales(images.survey, _shown)
    for job, group in [*groups.items(), *_groups(rest)]:
        if group and (name := _name(job, group, folder)) in missing:
            scales.add(name, job[0])
    return {name: scales[name] for name in missing}


def _shown(files):
    return bar(files, desc="scale of a series", unit=" files", leave=False, disable=len(files) < 100)


def _require_same(known, found, folder):
    for name in known.keys() & found.keys():
        if known[name] != found[name]:
            raise InputError(
                f"{folder} holds results of the same series over another intensity scale than --like gives; "
                "choose another --output"
            )


class Like:
    """The series of a folder or a file, to take the scale from.

    Args:
        path: A folder, searched to the bottom for a Series Instance UID and only itself for files without one; or a
            file of the series.

    Raises:
        InputError: Nothing is there.
    """

    def __init__(self, path: str):
        self.path = pathlib.Path(path).expanduser()
        if not self.path.exists():
            raise InputError(f"--like: expected a folder or an image at {self.path}, found nothing")
        self._scales = None

    def scale(self, group: series.Group) -> IntensityScale:
        """Returns the scale of the files that belong to a group.

        Raises:
            InputError: There are none, or no scale fits them.
        """
        if self._scales is None:
            self._read()
        if group not in self._counts:
            what = "of the same Series Instance UID" if group[0] else f"of {group[2]} bits without a max_val of its own"
            raise InputError(f"--like {self.path} holds no image {what}; give the folder of the image's series")
        if (found := self._scales[group]) is None:
            raise InputError(f"--like {self.path}: the images of the series are broken, or no one scale fits them")
        return found

    def _read(self):
        self._scales, self._counts = series.SeriesScales(images.survey, _shown), collections.Counter()
        files = [self.path] if self.path.is_file() else sorted(p for p in self.path.rglob("*") if p.is_file())
        for path in bar(files, desc="headers", unit=" files", leave=False, disable=len(files) < 1000):
            group = images.group_of(path)
            if group and (group[0] or path == self.path or path.parent == self.path):
                self._scales.add(group, path)
                self._counts[group] += 1


def like(source: pathlib.Path, path: str | None) -> IntensityScale | None:
    """Returns the scale for a single image, `None` where it has its own or a fixed one."""
    if path is None:
        return None
    other, group = Like(path), images.group_of(source)
    return other.scale(group) if group else None


def told(scale: IntensityScale | None, own: series.Survey) -> str:
    """Returns for people over which values an image was enlarged; empty where its type fixes them.

    Args:
        scale: That of its series.
        own: Got the file's own where there is none.
    """
    used = scale or own.scale()
    if used is None:
        return ""
    values = f"from {used.shift} to {used.shift + used.max_val}" if used.shift else f"over {used.max_val}"
    if scale:
        return f", values {values}, the scale of its series"
    return f", values {values}, the file's own scale; --like FOLDER_OR_FILE takes a series'"
