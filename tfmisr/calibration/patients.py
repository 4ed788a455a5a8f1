"""Salted hashes of the training patients in a model card, which say whether a patient is one of them.

A card lists no names or numbers: of each patient 8 bytes of SHA-256 over a salt, the dataset and the patient's number
in it. Two patients are confused with probability `n m / 2^64` for n listed and m compared ones, 1e-15 for 456 and 57.
Who has a patient's number can test whether it is listed: that is the purpose.
"""

import base64
import hashlib
import secrets
from collections.abc import Iterable, Mapping

import numpy as np

from tfmisr.data import Source
from tfmisr.data.cached_source import CachedSource

BYTES = 8  # of each hash


def identity(source: Source | CachedSource) -> str:
    """Returns the name of the numbering of patients.

    The numbers of an archive, such as ChestX-ray14, mean the same patients in all of its configurations; those of a
    folder of images or volumes mean the same patients in that folder alone.
    """
    name = source.name.partition("/")[0]
    return f"{name}/{source.prepared}" if name in ("image_folder", "volume_folder") else name


def record(source: Source | CachedSource, split: str = "train", salt: str | None = None) -> dict:
    """Returns the card's list of training patients.

    Args:
        source: Dataset that the model was trained on.
        split: Its split.
        salt: Hexadecimal digits; a random salt by default.
    """
    from tfmisr.data import pipeline

    patients = np.unique(pipeline.cache_of(source, split).patients)
    salt = secrets.token_hex(8) if salt is None else salt
    hashes = sorted(_hash(salt, identity(source), patient) for patient in patients.tolist())
    listed = base64.b64encode(b"".join(hashes)).decode()
    return {"numbering": identity(source), "patients": len(patients), "salt": salt, "sha256_64": listed}


def comparable(listed: Mapping, source: Source | CachedSource) -> bool:
    """Whether the patients of a dataset are numbered as those of a list."""
    return listed["numbering"] == identity(source)


def among(listed: Mapping, patients: Iterable[int]) -> list[int]:
    """Returns those of some patients that a list of `record` holds.

    Args:
        listed: The list.
        patients: Numbers of patients, in the same numbering.
    """
    content = base64.b64decode(listed["sha256_64"])
    hashes = {content[start : start + BYTES] for start in range(0, len(content), BYTES)}
    return [patient for patient in patients if _hash(listed["salt"], listed["numbering"], patient) in hashes]


def _hash(salt: str, numbering: str, patient: int) -> bytes:
    return hashlib.sha256(f"{salt} {numbering} {patient}".encode()).digest()[:BYTES]
