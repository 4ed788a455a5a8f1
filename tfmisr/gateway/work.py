"""What a worker process does: upscales one object into a derived DICOM file; see `tfmisr.cluster.child`."""

import errno
import functools
import json
import os
import pathlib

import pydicom

from tfmisr.edge.dicom_file import suppress_pydicom_messages
from tfmisr.edge.errors import InputError
from tfmisr.gateway import authenticity, spool
from tfmisr.inference.batch import BatchUpscaler

LOAD, UPSCALE = (f"tfmisr.gateway.work:{name}" for name in ("load", "upscale"))


@functools.lru_cache(maxsize=8)
def _upscaler(model: str, scale: int, threads: int, key: str = "", record_times: bool = False) -> BatchUpscaler:
    if key:
        authenticity.require_model(model, key)
    batch = BatchUpscaler(model, scale, threads=threads)
    return BatchUpscaler(model, batch.upscaler.scale or scale, threads=threads, record_times=record_times)


def load(payload: dict) -> dict:
    """Loads a model.

    Args:
        payload: `model`, `scale` (0 for the model's own), `threads`, and `key`, the public key of whoever must have
            signed the model, where signatures are required.

    Returns:
        `sha256` of its weights, empty for an interpolation.

    Raises:
        InputError: There is no such model.
    """
    batch = _upscaler(payload["model"], payload["scale"], payload["threads"], payload.get("key", ""))
    return {"sha256": batch.upscaler.weights_sha256}


def upscale(payload: dict) -> dict:
    """Upscales a DICOM file; the result is on the disk when this returns.

    A result that an interrupted process left complete is used as it is: its UID is that of any other attempt. So are
    its bytes, unless `record_times` is set: the same image that comes again later, or to a second node with the same
    models, gives the same instance, not another one under its UID (`tfmisr.edge.derived.identity.omit_times`).

    Args:
        payload: As of `load`, with the paths `source` and `target`, and `record_times` where results state when they
            were made.

    Returns:
        `refused`, the reason why the image must not or cannot be upscaled, or `uid`, `syntax` and `digest` of the
        result.

    Raises:
        InputError: There is no such model.
    """
    source, target = pathlib.Path(payload["source"]), pathlib.Path(payload["target"])
    times = "record_times" in payload
    batch = _upscaler(payload["model"], payload["scale"], payload["threads"], payload.get("key", ""), times)
    _ = batch.upscaler  # an error of the model is none of the image
    if not target.is_file():
        _check_files(source, target)
        try:
            batch(source, target)
        except InputError as error:
            return {"refused": _reason(error, source)}
    return described(target)


def _reason(error: InputError, source: pathlib.Path) -> str:
    """Returns why an image is refused, without the name of its file and the advice for the command line."""
    text = str(error).replace(f"{source}: ", "").replace(str(source), "the image")
    return text.partition(": choose another model, or add --force")[0]


def _check_files(source: pathlib.Path, target: pathlib.Path) -> None:
    """Raises `OSError` for a fault of the spool, which says nothing about the image: it is tried again."""
    with open(source, "rb"):
        pass
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "the folder of the results cannot be written")


def described(path: pathlib.Path) -> dict:
    """Returns `uid`, `sop_class`, `syntax` and `digest` of a DICOM file; its name is flushed to the disk."""
    spool.sync_folder(path.parent)
    with suppress_pydicom_messages():
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "SOPClassUID"])
    with open(path, "rb") as file:
        file.seek(144 + header.file_meta.FileMetaInformationGroupLength)  # preamble, DICM, group length (PS3.10 7.1)
        digest = spool.digest(file)
    return {
        "uid": str(header.SOPInstanceUID),
        "sop_class": str(header.SOPClassUID),
        "syntax": str(header.file_meta.TransferSyntaxUID),
        "digest": digest,
    }


def request(model: str, scale: int, threads: int, **paths: os.PathLike | None) -> str:
    """Returns the payload of `load` or `upscale` as JSON."""
    given = {name: str(path) for name, path in paths.items() if path is not None}
    return json.dumps({"model": model, "scale": scale, "threads": threads, **given})
