"""Assigns the images of a folder to patients, and patients to splits."""

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
    """Returns the compiled regular expression that finds the patient in a file name.

    Raises:
        InputError: It is invalid, or does not have exactly one group.
    """
    if pattern is None:
        return None
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--patient_pattern must be a regular expression ({error}). Received: {pattern}") from error
    if expression.groups != 1:
        raise InputError(
            "--patient_pattern must have one group, the patient identifier in a file name, as in "
            f"'(.+)_[0-9]+'. Received: {pattern}"
        )
    return expression


def keys(files: list[File], pattern: re.Pattern | None, listed: bool = False) -> list[str]:
    """Returns the key of the patient of each image, "rule:name".

    The rules, in order: the pattern if given; the DICOM Patient ID (0010,0020); the topmost sub-folder, or the only
    DICOM patient in it; the file itself.

    Args:
        files: The images.
        pattern: `--patient_pattern`, or `None`.
        listed: Whether the user states the splits, so that a sub-folder may have the name of one.

    Raises:
        InputError: A file name does not match the pattern, or the sub-folders are splits.
    """
    if pattern:
        return [f"pattern:{_match(file, pattern)}" for file in files]
    folders = _top_folders(files)
    known = collections.defaultdict(set)
    for file, folder in zip(files, folders, strict=True):
        known[folder].add(file.header.patient)
    keys = [_key(*pair, known) for pair in zip(files, folders, strict=True)]
    names = {key[7:].lower() for key in keys if key.startswith("folder:")}
    if not listed and len(names & SPLIT_NAMES) > 1:
        raise InputError(
            f"the sub-folders {', '.join(sorted(names & SPLIT_NAMES))} seem to be splits, not patients; "
            "splits are assigned by patient here: give --patient_pattern, or list the patients in patient_splits.csv"
        )
    return keys


def unused_split_folders(files: list[File], keys: list[str]) -> str:
    """Returns a sentence where sub-folders are named as splits and patients are told apart by something else."""
    names = {folder.lower() for folder in _top_folders(files) if folder} & SPLIT_NAMES
    if len(names) < 2 or any(key.startswith("folder:") for key in keys):
        return ""
    return (
        f"note: the sub-folders {', '.join(sorted(names))} are not the splits: each patient is assigned to one, "
        "whatever its folder; patient_splits.csv states your own"
    )


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
    # Previews in the folder of one patient's DICOM files belong to that patient.
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

    The hash keeps every patient in its split when others are added. An empty split takes one patient from the largest
    one, so that three patients are enough for three splits; two make train and test, one makes test.
    """
    split_by_key = {key: data.split_of(key, data.SPLIT_PERCENT) for key in sorted(set(keys), key=_digest)}
    required = ("test", "train", "validation")[: len(split_by_key)]
    for split in required:
        count = collections.Counter(split_by_key.values())
        if not count[split]:
            spare = {s: count[s] - (s in required) for s in data.SPLITS if count[s]}
            donor = max(spare, key=spare.get)
            split_by_key[next(key for key in split_by_key if split_by_key[key] == donor)] = split
    return split_by_key


def _digest(key):
    return hashlib.sha256(encode_name(key)).hexdigest()
