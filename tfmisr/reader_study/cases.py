"""Selects the cases of a study from image files or a dataset's split, one per patient as far as there are patients."""

import glob
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfmisr.edge import images, series
from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.levels import IntensityScale
from tfmisr.reader_study import design
from tfmisr.reader_study.case import Case, from_array, read_file

__all__ = ["Case", "collect", "from_array", "read_file"]


def collect(selection: design.Cases, scale: int, seed: int, folder: pathlib.Path) -> tuple[Iterator[Case], int]:
    """Returns the cases of a study in random order.

    Answers to several images of one patient are not independent. So a second case of a patient is drawn only when all
    patients have one. A file without a patient counts as a patient.

    Args:
        selection: `[cases]` of the study file.
        scale: Upsampling factor; images are cropped to a multiple of it.
        seed: Seed of the random selection.
        folder: Folder that relative paths are relative to.

    Returns:
        The cases, the analyzed ones before those of the training block, read when they are iterated over; and the
        number of patients among the analyzed ones.

    Raises:
        InputError: There are too few images, or one cannot be displayed: color, several frames, a Modality LUT.
    """
    rng = np.random.default_rng([seed, 1])
    if selection.files:
        return _from_files(selection, scale, rng, folder)
    return _from_dataset(selection, scale, rng, folder)


def _from_files(
    selection: design.Cases, scale: int, rng: np.random.Generator, folder: pathlib.Path
) -> tuple[Iterator[Case], int]:
    total = selection.count + selection.training
    paths = _matching(selection.files, folder)
    _require(len(paths), total, "files")
    patients = _patients(paths, selection.patient_pattern)
    indices = _one_per_patient_first(patients, rng)[:total]
    scales = _scales(paths)
    cases = (read_file(paths[i], scale, scales(paths[i])) for i in indices)
    return cases, _count_patients(patients, indices[: selection.count])


def _from_dataset(
    selection: design.Cases, scale: int, rng: np.random.Generator, folder: pathlib.Path
) -> tuple[Iterator[Case], int]:
    from tfmisr import data
    from tfmisr.data import pipeline

    total = selection.count + selection.training
    local = folder / selection.dataset
    name = os.fspath(local) if local.is_dir() else selection.dataset
    manual_dirs = [folder / manual for manual in selection.manual_dir]
    data_dir = selection.data_dir and os.fspath(folder / selection.data_dir)
    source = data.load(name, data_dir, manual_dirs, selection.patient_pattern)
    if selection.split not in source.splits:
        raise InputError(
            f"[cases] split must be one of {', '.join(source.splits)}. "
            f"Received: {selection.split}{hint(selection.split, source.splits)}"
        )
    if source.channels != 1:
        raise InputError(f"expected gray images for a reader study. Received: {source.name} in color")
    cache = pipeline.cache_of(source, selection.split)
    _require(len(cache), total, f"images in the {selection.split} split of {source.name}")
    where = f"{source.name} {selection.split}"
    indices = _one_per_patient_first(cache.patients, rng)[:total]
    cases = (
        from_array(cache[i][..., 0], int(cache.max_vals[i]), scale, f"{where} {cache.ids[i]}".encode()) for i in indices
    )
    return cases, _count_patients(cache.patients, indices[: selection.count])


def _matching(patterns: Sequence[str], folder: pathlib.Path) -> list[str]:
    """Returns the files that match the patterns, each once."""
    paths = {}
    for pattern in patterns:
        matches = sorted(glob.glob(os.fspath(folder / pathlib.Path(pattern).expanduser())))
        if not matches:
            raise InputError(f"[cases] files: expected images at {pattern}, found nothing")
        paths |= dict.fromkeys(matches)
    return list(paths)


def _require(available: int, total: int, what: str) -> None:
    if available < total:
        raise InputError(
            f"the study needs {total} cases including those of the training block, found {available} {what}"
        )


def _patients(paths: list[str], pattern: str | None) -> list[str]:
    """Returns the patient of each file: by the pattern, else by the DICOM Patient ID, else the file itself."""
    if pattern is None:
        return [_patient_id(path) or f"file {path}" for path in paths]
    matches = [re.search(pattern, os.path.basename(path)) for path in paths]
    if None in matches:
        raise InputError(f"[cases] patient_pattern {pattern} finds no patient in {paths[matches.index(None)]}")
    return [match[1] or match[0] for match in matches]


def _patient_id(path: str) -> str | None:
    try:
        header = images.read_header(path)
    except InputError:
        return None  # `read_file` raises the error again if the file is selected
    return header and header.patient and f"patient {header.patient}"


def _count_patients(patients: Sequence[str], indices: Sequence[int]) -> int:
    return len({patients[i] for i in indices})


def _one_per_patient_first(patients: Sequence[str], rng: np.random.Generator) -> list[int]:
    """Returns all indices in random order, one of each patient before the others."""
    shuffled = rng.permutation(len(patients))
    _, first = np.unique(np.asarray(patients)[shuffled], return_index=True)
    first = np.sort(first)
    return [*shuffled[first], *np.delete(shuffled, first)]


def _scales(paths: list[str]) -> Callable[[str], IntensityScale | None]:
    """Returns a function of a path: the intensity scale of its series among the paths; `None` without a series.

    Training uses the same scales, so that models get the intensities they were trained with.
    """
    series_scales, keys = series.SeriesScales(images.survey), {}
    for path in paths:
        if group := images.group_of(path):
            keys[path] = group if group[0] else (os.path.dirname(path), group)
            series_scales.add(keys[path], path)
    return lambda path: series_scales[keys[path]] if path in keys else None
