"""Loads an upscaler by name or path: interpolations, classical methods, Keras networks, LiteRT models.

The result is a `tfmisr.edge.upscaler.Upscaler`, the predictor that scoring, batches and studies share.
"""

import dataclasses
import functools
import hashlib
import pathlib
import typing
from collections.abc import Callable

import numpy as np

from tfmisr import classical
from tfmisr.edge import dihedral, resize, shipped, tiling
from tfmisr.edge import half_width as half_widths
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.files import printable
from tfmisr.edge.upscaler import Upscaler
from tfmisr.layers.receptive_field import receptive_radius_or_whole_image as receptive_radius

if typing.TYPE_CHECKING:
    import keras


def load(
    name: str,
    tile: int | None = None,
    threads: int = 1,
    max_tile: int | None = None,
    consistency: bool = True,
) -> Upscaler:
    """Loads an upscaler.

    Args:
        name: `nearest`, `bilinear`, `bicubic` or `lanczos`, one of `tfmisr.edge.shipped.names()`, one of
            `tfmisr.classical.METHODS` that needs no training or the `.npz` file of a fitted one, the folder of a run,
            a `.keras` or a `.tflite` file; `NAME+` is a network with geometric self-ensemble (the mean over the eight
            flips and rotations).
        tile: Side of all tiles in low-resolution pixels; see `tfmisr.edge.tiling.upscale`. For a `.tflite` file the
            overlap is included, and the default is the tile in its card.
        threads: Number of threads of the LiteRT interpreter, for a `.tflite` file.
        max_tile: Tiles are chosen per image, of at most `max_tile * max_tile` low-resolution pixels, overlap
            included; the default where a file has no fixed tile. See `tfmisr.edge.tiling.fit`.
        consistency: Correct the result of a `.tflite` file to agree with its input, where its card says how; see
            `tfmisr.edge.consistency`.

    Raises:
        InputError: There is no such model, or both `tile` and `max_tile` are given.
    """
    if name.endswith("+") and not pathlib.Path(name).expanduser().exists():
        return _self_ensemble(name[:-1], tile, threads, max_tile, consistency)
    if name in resize.METHODS:
        return Upscaler(name, _interpolation(name))
    if name in classical.METHODS:
        return classical.load(name)
    if shipped.is_name(name):
        return _tflite(shipped.path(name), tile, threads, max_tile, consistency)
    path = _existing(name)
    if path.suffix == ".tflite":
        return _tflite(path, tile, threads, max_tile, consistency)
    if path.suffix == ".npz":
        return classical.read(path)
    return _network(path, tile, max_tile)


def absolute(name: str) -> str:
    """Returns a name or path of `load` that means the same in any working directory; a wrong one stays as it is."""
    if name in (*resize.METHODS, *classical.METHODS) or shipped.is_name(name):
        return name
    if name.endswith("+") and not pathlib.Path(name).expanduser().exists():
        return f"{absolute(name[:-1])}+"
    path = pathlib.Path(name).expanduser()
    return str(path.absolute()) if path.exists() else name


def _self_ensemble(name, tile, threads, max_tile, consistency):
    """Returns a network with geometric self-ensemble (Timofte et al., CVPR 2016), named `NAME+`."""
    if name in (*resize.METHODS, *classical.METHODS) or name.endswith(".npz"):
        raise InputError(f"+ is for networks (geometric self-ensemble). Received: {name}+")
    if shipped.is_name(name) or name.endswith(".tflite"):
        path = shipped.path(name) if shipped.is_name(name) else _existing(name)
        upscaler = _tflite(path, tile, threads, max_tile, consistency, self_ensemble=True)
    else:
        upscaler = _network(_existing(name), tile, max_tile, self_ensemble=True)
    return dataclasses.replace(upscaler, name=f"{upscaler.name}+")


def _existing(name) -> pathlib.Path:
    path = pathlib.Path(name).expanduser()
    if not path.exists():
        names = [*shipped.names(), *resize.METHODS, *classical.METHODS]
        raise InputError(
            f"model must be a run's folder, a .keras, .tflite or .npz file, or one of {', '.join(names)}. "
            f"Received: {name}, where there is nothing{hint(name, names, 0.6)}"
        )
    if path.is_dir() and not (path / "model.keras").is_file():
        state = "is not finished; start its fit again" if (path / "checkpoints").is_dir() else "is no run"
        raise InputError(f"expected {path / 'model.keras'}, found none: {path} {state}")
    return path


def _tflite(path: pathlib.Path, tile, threads: int, max_tile, consistency, self_ensemble: bool = False) -> Upscaler:
    from tfmisr.edge import runtime

    model = runtime.Model(path, threads, tile, self_ensemble, max_tile, consistency)

    def upscale(lr, scale, convert=None, dtype=np.float32, max_val=None):
        return model(lr, convert, dtype, max_val)

    calibrated = consistency and not self_ensemble and half_widths.levels(model.card)
    return Upscaler(
        model.name,
        upscale,
        model.scale,
        model.channels,
        model.card.get("parameters", 0),
        weights_sha256=model.card["weights_sha256"],
        consistency=str(model.consistency or ""),
        operator=model.operator,
        half_width=functools.partial(half_widths.HalfWidth.of, path, model.card) if calibrated else None,
        card=model.card,
    )


def _interpolation(method):
    def upscale(lr, scale, convert=None, dtype=np.float32):
        sr = resize.upscale(lr, scale, method)
        return convert(sr) if convert else sr

    return upscale


def _network(path: pathlib.Path, tile, max_tile, self_ensemble: bool = False) -> Upscaler:
    from tfmisr import config, models

    network = models.load(path)
    folder = path if path.is_dir() else path.parent
    config_file = folder / "config.json"
    fields = {}
    if config_file.is_file():
        fields = dataclasses.asdict(config.from_dict(config.read(config_file), str(config_file)))
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
    network: "keras.Model", tile: int | None = None, self_ensemble: bool = False, max_tile: int | None = None
) -> Callable[..., np.ndarray]:
    """Returns a function that applies a Keras network to an image of any size in bounded memory.

    Args:
        network: Fully convolutional super-resolution network.
        tile: Side of a tile without its overlap, in low-resolution pixels, the same for all images.
        self_ensemble: Apply geometric self-ensemble: the mean over the eight flips and rotations of each tile.
        max_tile: Tiles are chosen per image, of at most `max_tile * max_tile` low-resolution pixels, overlap
            included; default without `tile`: `tfmisr.edge.tiling.default_max_tile`.

    Returns:
        The `function` of a `tfmisr.edge.upscaler.Upscaler`.

    Raises:
        InputError: Both `tile` and `max_tile` are given, or `max_tile` is no larger than twice the overlap.
    """
    predict = _compiled(network)
    if self_ensemble:
        predict = dihedral.self_ensemble(predict)
    radius = receptive_radius(network)
    max_side = _max_tile(radius, tile, max_tile)

    def upscale(lr, scale, convert=None, dtype=np.float32):
        height, width = lr.shape[:2]
        if min(height, width) < 2:
            raise InputError(f"a network needs images of at least 2x2 pixels. Received: {height}x{width}")
        # A network whose receptive field is the full image cannot be tiled.
        if radius is None or (tile and max(height, width) <= tile):
            side, overlap = max(height, width), 0
        else:
            side, overlap = tile or tiling.fit(height, width, radius, max_side), radius
        return tiling.upscale(lambda x: predict(x[0])[None], lr, scale, side, overlap, convert, dtype)

    return upscale


def _max_tile(radius, tile, max_tile):
    """Returns the largest side of tiles that are chosen per image, overlap included."""
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
