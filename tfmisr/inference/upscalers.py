"""Whatever enlarges an image, seen as one thing: an interpolation, a run's folder, a network's file."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable

import numpy as np

from tfmisr import classical
from tfmisr.edge import dihedral, resize, shipped, tiling
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.files import printable
from tfmisr.edge.upscaler import Upscaler
from tfmisr.layers.receptive_field import receptive_radius_or_whole_image as receptive_radius


def load(name: str, tile: int | None = None, threads: int = 1, max_tile: int | None = None) -> Upscaler:
    """Returns the upscaler that `name` says.

    Args:
        name: `nearest`, `bilinear`, `bicubic` or `lanczos`, one of `tfmisr.edge.shipped.names()`, one of
            `tfmisr.classical.METHODS` that does not learn or the file that one has learned, the folder of a run, a
            `.keras` or a `.tflite` file; `NAME+` is the mean of a network over the eight orientations.
        tile: Side of all tiles in low-resolution pixels; see `tfmisr.edge.tiling.upscale`. For a `.tflite` file, whose
            own tile is the default, the overlap is part of it.
        threads: Of a `.tflite` file.
        max_tile: Tiles are chosen for each image, of at most `max_tile * max_tile` low-resolution pixels, overlap
            included; the default where a file has no tile of its own. See `tfmisr.edge.tiling.fit`.

    Raises:
        InputError: There is no such thing, or both `tile` and `max_tile` are given.
    """
    if name.endswith("+") and not pathlib.Path(name).expanduser().exists():
        return _self_ensemble(name[:-1], tile, threads, max_tile)
    if name in resize.METHODS:
        return Upscaler(name, _interpolation(name))
    if name in classical.METHODS:
        return classical.load(name)
    if shipped.is_name(name):
        return _edge(shipped.path(name), tile, threads, max_tile)
    path = _existing(name)
    if path.suffix == ".tflite":
        return _edge(path, tile, threads, max_tile)
    if path.suffix == ".npz":
        return classical.read(path)
    return _network(path, tile, max_tile)


def _self_ensemble(name, tile, threads, max_tile):
    """Returns a network's mean over the eight orientations, under the network's name with `+`."""
    if name in (*resize.METHODS, *classical.METHODS) or name.endswith(".npz"):
        raise InputError(f"+ is for networks, the mean over eight orientations. Received: {name}+")
    if shipped.is_name(name) or name.endswith(".tflite"):
        path = shipped.path(name) if shipped.is_name(name) else _existing(name)
        found = _edge(path, tile, threads, max_tile, self_ensemble=True)
    else:
        found = _network(_existing(name), tile, max_tile, self_ensemble=True)
    return dataclasses.replace(found, name=f"{found.name}+")


def _existing(name) -> pathlib.Path:
    path = pathlib.Path(name).expanduser()
    if not path.exists():
        known = [*shipped.names(), *resize.METHODS, *classical.METHODS]
        raise InputError(
            f"model must be a run's folder, a .keras, .tflite or .npz file, or one of {', '.join(known)}. "
            f"Received: {name}, where there is nothing{hint(name, known, 0.6)}"
        )
    if path.is_dir() and not (path / "model.keras").is_file():
        state = "is not finished; start its fit again" if (path / "checkpoints").is_dir() else "is no run"
        raise InputError(f"expected {path / 'model.keras'}, found none: {path} {state}")
    return path


def _edge(path: pathlib.Path, tile, threads: int, max_tile, self_ensemble: bool = False) -> Upscaler:
    from tfmisr.edge import runtime

    model = runtime.Model(path, threads, tile, self_ensemble, max_tile)

    def upscale(lr, scale, convert=None, dtype=np.float32):
        return model(lr, convert, dtype)

    parameters, digest = model.card.get("parameters", 0), model.card["weights_sha256"]
    return Upscaler(model.name, upscale, model.scale, model.channels, parameters, weights_sha256=digest)


def _interpolation(method):
    def upscale(lr, scale, convert=None, dtype=np.float32):
        sr = resize.upscale(lr, scale, method)
        return convert(sr) if convert else sr

    return upscale


def _network(path: pathlib.Path, tile, max_tile, self_ensemble: bool = False) -> Upscaler:
    from tfmisr import config, models

    network = models.load(path)
    folder = path if path.is_dir() else path.parent
    written = folder / "config.json"
    fields = dataclasses.asdict(config.from_dict(config.read(written), str(written))) if written.is_file() else {}
    label = path.stem if path.is_file() and path.name != "model.keras" else folder.resolve().name
    return Upscaler(
        printable(label),
        tiled(network, tile, self_ensemble, max_tile),
        models.scale_of(network),
        network.input_shape[-1],
        network.count_params(),
        fields,
        hashlib.sha256(b"".join(weight.tobytes() for weight in network.get_weights())).hexdigest(),
    )


def tiled(
    network, tile: int | None = None, self_ensemble: bool = False, max_tile: int | None = None
) -> Callable[..., np.ndarray]:
    """Returns a function that applies a Keras network to an image of any size in bounded memory.

    Args:
        network: The network.
        tile: Side of what is kept of a tile, in low-resolution pixels, the same for all images.
        self_ensemble: Take the mean over the eight orientations of each tile.
        max_tile: Tiles are chosen for each image, of at most `max_tile * max_tile` low-resolution pixels, overlap
            included; the default, `tfmisr.edge.tiling.default_max_tile`, where there is no `tile`.

    Raises:
        InputError: Both `tile` and `max_tile` are given, or nothing of a tile would be kept.
    """
    apply = _compiled(network)
    enlarge = dihedral.self_ensemble(apply) if self_ensemble else apply
    radius = receptive_radius(network)
    most = _bound(radius, tile, max_tile)

    def upscale(lr, scale, convert=None, dtype=np.float32):
        height, width = lr.shape[:2]
        if min(height, width) < 2:
            raise InputError(f"a network needs images of at least 2x2 pixels. Received: {height}x{width}")
        # A network that sees the whole image at once cannot be cut into tiles.
        if radius is None or (tile and max(height, width) <= tile):
            side, overlap = max(height, width), 0
        else:
            side, overlap = tile or tiling.fit(height, width, radius, most), radius
        return tiling.upscale(lambda x: enlarge(x[0])[None], lr, scale, side, overlap, convert, dtype)

    return upscale


def _bound(radius, tile, max_tile):
    """Returns the bound of tiles that are chosen for each image."""
    if tile and max_tile:
        raise InputError(f"expected tile or max_tile, not both. Received: tile={tile}, max_tile={max_tile}")
    if max_tile and radius is not None and max_tile <= 2 * radius:
        raise InputError(f"max_tile must be above {2 * radius}, twice the overlap. Received: {max_tile}")
    return max_tile or tiling.default_max_tile(radius or 0)


def _compiled(network):
    """Returns a function that applies a network to one array (height, width, channels)."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return lambda lr: network.predict_on_batch(lr[None])[0]
    import tensorflow as tf

    signature = [tf.TensorSpec((1, None, None, network.input_shape[-1]), tf.float32)]
    apply = tf.function(lambda lr: network(lr, training=False), input_signature=signature)
    return lambda lr: apply(lr[None]).numpy()[0]


__getattr__ = renamed(__name__, to_levels="tfmisr.edge.upscaler.to_levels")
