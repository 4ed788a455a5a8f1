"""Weights to start from: those of another run's network, of a `.tflite` file, or of a smaller network that grows."""

import hashlib
import pathlib
import zipfile
import zlib

from tfmisr.edge import card, shipped
from tfmisr.edge.errors import InputError

_SHARE = 0.05  # of He's random values in a layer that is new in a row of trained ones
_OUTPUT = "output_conv"  # starts at zero where it is new: the network is then the interpolation


def digest(path) -> str:
    """Returns the SHA-256 of the weights in a run's folder, a `.keras` or `.tflite` file; imports no Keras.

    Args:
        path: One of these, or the name of a model that comes with the package.

    Raises:
        InputError: There are none.
    """
    path = _place(path)
    if path.suffix == ".tflite":
        return card.read(path)["weights_sha256"]
    path = path / "model.keras" if path.is_dir() else path
    try:
        with zipfile.ZipFile(path) as file, file.open("model.weights.h5") as weights:
            found = hashlib.sha256()
            while part := weights.read(2**20):
                found.update(part)
            return found.hexdigest()
    except (OSError, KeyError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(
            "initial_weights must be a finished run, a .keras or .tflite file or a model that comes with tfmisr "
            f"({', '.join(shipped.names())}). Received: {path}"
        ) from error


def load(network, path) -> None:
    """Gives `network` the weights of the same network in a run's folder or file, or lets a smaller one grow into it.

    A network grows where its layers all are in `network`, by name and size, and each layer that is new can begin as
    the identity, as those of `plain` do (Chen et al., Net2Net, ICLR 2016, https://arxiv.org/abs/1511.05641). For
    another scale the last convolution is new too.

    Args:
        network: The network to train.
        path: A run's folder, a `.keras` or `.tflite` file, or the name of a model that comes with the package. A file
            of integers gives the network that it stands for, up to its rounding and to where its ReLUs end; one of
            several orientations gives the upright one.

    Raises:
        InputError: It is another network.
    """
    place = _place(path)
    found = _of_tflite(place) if place.suffix == ".tflite" else _of_keras(place)
    own, other = ([(w.name, tuple(w.shape)) for w in model.weights] for model in (network, found))
    if own == other:
        network.set_weights(found.get_weights())
    elif found.name != network.name or not _grown(network, found):
        raise InputError(
            f"initial_weights must be those of the network {network.name} of the same size, scale and channels, or of "
            f"a smaller one that can grow. Received: {path} with {found.name}, {len(other)} arrays where {len(own)} "
            "are expected" + (", or of other shapes" if len(own) == len(other) else "")
        )


def _place(path) -> pathlib.Path:
    return shipped.path(path) if path in shipped.names() else pathlib.Path(path).expanduser()


def _of_keras(path):
    from tfmisr import models

    return models.load(path)


def _of_tflite(path):
    from tfmisr.training import tflite_weights

    return tflite_weights.network(path)


def _grown(network, found) -> bool:
    """Gives `network` the layers of a smaller one and makes the new ones do nothing; false where that cannot be."""
    known = {layer.name: layer.get_weights() for layer in found.layers if layer.weights}
    for layer in (layer for layer in network.layers if layer.weights):
        weights = known.pop(layer.name, None) or _nothing(layer)
        if not _fits(layer, weights) and layer.name == _OUTPUT:
            weights = layer.get_weights() if weights[0].shape[:3] == layer.kernel.shape[:3] else None
        if not _fits(layer, weights):
            return False
        layer.set_weights(weights)
    return not known


def _nothing(layer) -> list | None:
    """Returns weights with which a layer passes on what it is given, and a little noise for it to learn from."""
    from tfmisr.layers.upsampling import NearIdentity

    if not isinstance(getattr(layer, "kernel_initializer", None), NearIdentity):
        return None
    kernel, bias = layer.get_weights()
    return [NearIdentity(_SHARE)(kernel.shape), 0 * bias]


def _fits(layer, weights) -> bool:
    return weights is not None and [w.shape for w in weights] == [tuple(w.shape) for w in layer.weights]
