"""`initial_weights` of a run: where they are stored, and the digest that identifies them; imports no Keras."""

import hashlib
import os
import pathlib
import zipfile
import zlib

from tfmisr.edge.errors import InputError


def path_of(name: str | os.PathLike) -> pathlib.Path:
    """Returns the path of initial weights: a run's directory, a file, or a model that comes with the package."""
    from tfmisr.edge import shipped

    return shipped.path(name) if name in shipped.names() else pathlib.Path(name).expanduser()


def plane_kind(path: pathlib.Path) -> str | None:
    """Returns the kind of the card of a through-plane network, `None` for other files; see `tfmisr.edge.card.read`."""
    from tfmisr.edge import card, plane_card

    return plane_card.KIND if path.is_file() and card.kind_of(path) == plane_card.KIND else None


def digest(name: str | os.PathLike, field: str = "initial_weights") -> str:
    """Returns the SHA-256 of initial weights, in hexadecimal digits.

    Args:
        name: A run's directory, a `.keras` or `.tflite` file, or the name of a model that comes with the package.
        field: The configuration's field, for the error message.

    Raises:
        InputError: There are none.
    """
    from tfmisr.edge import card, shipped

    path = path_of(name)
    if path.suffix == ".tflite":
        return card.read(path, plane_kind(path))["weights_sha256"]
    path = path / "model.keras" if path.is_dir() else path
    try:
        with zipfile.ZipFile(path) as file, file.open("model.weights.h5") as weights:
            sha256 = hashlib.sha256()
            while part := weights.read(2**20):
                sha256.update(part)
            return sha256.hexdigest()
    except (OSError, KeyError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(
            f"{field} must be a finished run, a .keras or .tflite file or a model that comes with tfmisr "
            f"({', '.join(shipped.names())}). Received: {path}"
        ) from error
