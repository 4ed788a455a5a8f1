"""Weights to start from: those of another run's network, as SRGAN starts from a network trained on pixels alone."""

import hashlib
import pathlib
import zipfile
import zlib

from tfmisr.edge.errors import InputError


def digest(path) -> str:
    """Returns the SHA-256 of the weights in a run's folder or a `.keras` file; imports no Keras.

    Raises:
        InputError: There are none.
    """
    path = pathlib.Path(path).expanduser()
    path = path / "model.keras" if path.is_dir() else path
    try:
        with zipfile.ZipFile(path) as file, file.open("model.weights.h5") as weights:
            found = hashlib.sha256()
            while part := weights.read(2**20):
                found.update(part)
            return found.hexdigest()
    except (OSError, KeyError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(f"initial_weights must be a finished run or a .keras file. Received: {path}") from error


def load(network, path) -> None:
    """Gives `network` the weights of the same network in a run's folder or a `.keras` file.

    Raises:
        InputError: It is another network.
    """
    from tfmisr import models

    found = models.load(pathlib.Path(path).expanduser())
    own, other = ([(w.name, tuple(w.shape)) for w in model.weights] for model in (network, found))
    if own != other:
        raise InputError(
            f"initial_weights must be those of the network {network.name} of the same size, scale and channels. "
            f"Received: {path} with {found.name}, {len(other)} arrays where {len(own)} are expected"
            + (", or of other shapes" if len(own) == len(other) else "")
        )
    network.set_weights(found.get_weights())
