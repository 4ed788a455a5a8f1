"""The pretrained models that are part of the package, by name, such as `fast-x4` and `best-x2`.

They are `.tflite` files with model cards in `tfmisr/edge/models`, each with its uncertainty head beside it
(`NAME.uncertainty.tflite`); `SHA256SUMS` lists the checksums of both.
"""

import hashlib
import pathlib
import re

from tfmisr.edge.errors import InputError, hint

FOLDER = pathlib.Path(__file__).resolve().parent / "models"
_SUMS = "SHA256SUMS"
_HEAD = ".uncertainty"  # end of the stem of an uncertainty head's file; see `tfmisr.edge.uncertainty`
_NAME = re.compile(r"[a-z]+-x[2348]")


def sums() -> dict[str, str]:
    """Returns the SHA-256 of each pretrained model by name."""
    return {stem: digest for stem, digest in _listed().items() if not stem.endswith(_HEAD)}


def _listed() -> dict[str, str]:
    """Returns the SHA-256 of each file, models and heads, by the stem of its name."""
    path = FOLDER / _SUMS
    if not path.is_file():
        return {}
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {pathlib.PurePosixPath(name).stem: digest for digest, name in lines}


def names() -> list[str]:
    """Returns the names of the pretrained models."""
    return sorted(sums())


def names_with_head() -> list[str]:
    """Returns the names of the pretrained models that have an uncertainty head: those of chest radiographs."""
    return [name for name in names() if name + _HEAD in _listed()]


def is_name(name: str) -> bool:
    """Whether a name is that of a pretrained model, or has its form and is not an existing path."""
    return name in sums() or (_NAME.fullmatch(name) is not None and not pathlib.Path(name).exists())


def path(name: str) -> pathlib.Path:
    """Returns the path of a pretrained model.

    Raises:
        InputError: There is no such model, or its file does not match its checksum.
    """
    known = sums()
    if name not in known:
        listed = ", ".join(names()) or "none"
        raise InputError(
            f"expected one of the pretrained models of tfmisr ({listed}). Received: {name}{hint(name, known)}"
        )
    return _verified(name, known[name])


def head(name: str) -> pathlib.Path | None:
    """Returns the path of the uncertainty head of a pretrained model, `None` where it has none.

    Raises:
        InputError: There is no such model, or the head's file does not match its checksum.
    """
    path(name)
    digest = _listed().get(name + _HEAD)
    return None if digest is None else _verified(name + _HEAD, digest)


def _verified(stem: str, expected: str) -> pathlib.Path:
    file = FOLDER / f"{stem}.tflite"
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); install tfmisr again") from error
    if digest != expected:
        raise InputError(f"{file} does not match its SHA-256 checksum; install tfmisr again")
    return file
