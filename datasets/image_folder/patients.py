"""Which patient an image of a folder belongs to, and which split a patient."""

import collections
import hashlib
import os
import pathlib
import re

from tfmisr import data
from tfmisr.datasets.image_folder.scan import File
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import encode_name

RULES = {"pattern": "the pattern", "id": "Patient ID", "folder": "sub-folder", "file": "file"}
SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}


def compiled(pattern: str | None) -> re.Pattern | None:
    """Returns the regular expression that finds a patient in a file's name.

    Raises:
        InputError: It is none, or has not exactly one group.
    """
    if pattern is None:
        return None
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--patient_pattern must be a regular expression ({error}). Received: {pattern}") from error
    if expression.groups != 1:
        raise InputError(
            "--patient_pattern must have one group, the patient's part of a file's name, as in "
            f"'(.+)_[0-9]+'. Received: {pattern}"
        )
    return expression


def keys(files: list[File], pattern: re.Pattern | None) -> list[str]:
    """Returns the key of each image's patient, "rule:name".

    The rules, in order: the pattern where there is one; the DICOM Patient ID; the topmost sub-folder,
    or its one DICOM patient; the file itself.

    Raises:
        InputError: A file's name does not fit the pattern, or the sub-folders are splits.
    """
    if pattern:
        return [f"pattern:{_match(file, pattern)}" for file in files]
    folders = _top_folders(files)
    known = collections.defaultdict(set)
    for file, folder in zip(files, folders, strict=True):
        known[folder].add(file.header.patient)
    keys = [_key(*pair, known) for pair in zip(files, folders, strict=True)]
    names = {key[7:].lower() for key in keys if key.startswith("folder:")}
    if len(names & SPLIT_NAMES) > 1:
        raise InputError(
            f"the sub-folders {', '.join(sorted(names & SPLIT_NAMES))} seem to be splits, not patients; "
            "splits are made here so that no two share a patient: give --patient_pattern"
        )
    return keys


def _match(file, pattern):
    match = pattern.search(file.path.name)
    if not match or not match[1]:
        raise InputError(f"--patient_pattern {pattern.pattern} finds no patient in {file.path.name}")
    return match[1]


def _key(file, folder, known):
    if file.header.patient:
        return f"id:{file.header.patient}"
    if folder is None:
        return f"file:{file.name}"
    # Previews beside the DICOM files of one patient are of that patient.
    patients = known[folder] - {None}
    return f"id:{patients.pop()}" if len(patients) == 1 else f"folder:{folder}"


def _top_folders(files):
    """Returns the sub-folder of each file right below the folder that holds all images, or `None`."""
    parents = [pathlib.PurePosixPath("/", file.name).parent for file in files]
    common = os.path.commonpath(parents) if parents else "/"
    parts = [parent.relative_to(common).parts for parent in parents]
    return [part[0] if part else None for part in parts]


def splits(keys: list[str]) -> dict[str, str]:
    """Returns the split of each patient, by a hash of its key.

    The hash keeps every patient where it is when others come. Only an empty split takes one patient
    from the fullest, so that three patients are enough for three splits; two make train and test, one
    makes test.
    """
    chosen = {key: data.split_of(key, data.SPLIT_PERCENT) for key in sorted(set(keys), key=_digest)}
    wanted = ("test", "train", "validation")[: len(chosen)]
    for split in wanted:
        count = collections.Counter(chosen.values())
        if not count[split]:
            spare = {s: count[s] - (s in wanted) for s in data.SPLITS if count[s]}
            donor = max(spare, key=spare.get)
            chosen[next(key for key in chosen if chosen[key] == donor)] = split
    return chosen


def _digest(key):
    return hashlib.sha256(encode_name(key)).hexdigest()
