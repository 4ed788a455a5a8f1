"""Signed configurations (`--require_signature PEM`): a node takes the file and the models it names only from one owner.

Ed25519 signatures (RFC 8032) in files beside them; see `tfmisr.edge.signature`. The configuration is verified before it
is parsed, a model before its card is read, and again in each process that loads it, as long as the node runs.
"""

import os
import pathlib

from tfmisr import classical
from tfmisr.edge import resize, shipped, signature
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import resampling


def require_configuration(path: pathlib.Path, key: str | os.PathLike) -> None:
    """Refuses a configuration that the holder of a key has not signed.

    Args:
        path: The file.
        key: PEM file of the public key.

    Raises:
        InputError: There is no such file or no valid signature.
    """
    if not path.is_file():
        raise InputError(f"expected a configuration, found none at {path}")
    signature.verify(path, key)


def require_model(model: str, key: str | os.PathLike) -> None:
    """Refuses a model that the holder of a key has not signed; an interpolation is no file.

    Args:
        model: As in a rule.
        key: PEM file of the public key.

    Raises:
        InputError: There is no such file, it is no `.tflite` file, or it has no valid signature.
    """
    if model in (*resize.METHODS, *classical.METHODS, *resampling.METHODS):
        return
    name = model.removesuffix("+")
    path = shipped.path(name) if shipped.is_name(name) else pathlib.Path(name).expanduser()
    if path.suffix != ".tflite":
        raise InputError(f"--require_signature needs a .tflite file as model. Received: {model}")
    signature.require(path, key)
