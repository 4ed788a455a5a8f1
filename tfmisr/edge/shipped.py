"""The models that come with the package, by name: `fast-x4`, `best-x2` and the like.

They are `.tflite` files with their cards in `tfmisr/edge/models`, beside `SHA256SUMS`, which says what they must be.
"""

import hashlib
import pathlib
import re

from tfmisr.edge.errors import InputError, hint

FOLDER = pathlib.Path(__file__).resolve().parent / "models"
_SUMS = "SHA256SUMS"
_NAME = re.compile(r"[a-z]+-x[2348]")


def sums() -> dict[str, str]:
    """Returns name to SHA-256 of every model that this package holds."""
    path = FOLDER / _SUMS
    if not path.is_file():
        return {}
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {pathlib.PurePosixPath(name).stem: digest for digest, name in lines}


def names() -> list[str]:
    """Returns the names of the models that this package holds."""
    return sorted(sums())


def is_name(name: str) -> bool:
    """Returns whether a name is that of a shipped model, or would be one."""
    return name in sums() or (_NAME.fullmatch(name) is not None and not pathlib.Path(name).exists())


def path(name: str) -> pathlib.Path:
    """Returns the file of a shipped model.

    Raises:
        InputError: There is none of that name, or its file is not the one that was shipped.
    """
    known = sums()
    if name not in known:
        listed = ", ".join(names()) or "none"
        raise InputError(
            f"expected one of the models that come with tfmisr ({listed}). Received: {name}{hint(name, known)}"
        )
    file = FOLDER / f"{name}.tflite"
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); install tfmisr again") from error
    if digest != known[name]:
        raise InputError(f"{file} is not the file that was shipped: its SHA-256 is another one; install tfmisr again")
    return file
