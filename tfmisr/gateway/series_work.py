"""What the process of a series does: makes its derived series; see `tfmisr.cluster.child`."""

import hashlib
import json
import os
import pathlib
import re
import shutil

import tfmisr
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import series_upscaling
from tfmisr.gateway import authenticity, spool, work

CHECK, UPSCALE = (f"tfmisr.gateway.series_work:{name}" for name in ("check", "upscale"))
_UID = re.compile(r"\b\d+(?:\.\d+){4,}\b")
_ADVICE = re.compile(r"; [^;]*--[^;]*$")  # for the command line


def request(method: str, key: os.PathLike | None, **values: object) -> str:
    """Returns the payload of `check` or `upscale` as JSON."""
    return json.dumps({"method": method, "key": str(key) if key else "", **values})


def check(payload: dict) -> dict:
    """Opens the network of a method, so that a wrong file is reported before the first series.

    Args:
        payload: `method`, and `key`, the public key of whoever must have signed it; empty where none is required.

    Returns:
        `sha256` of its weights, empty for an interpolation.

    Raises:
        InputError: There is no such network.
    """
    _require_signature(payload)
    return {"sha256": series_upscaling.weights_sha256(payload["method"])}


def upscale(payload: dict) -> dict:
    """Makes the derived series of a series; its files are on the disk when this returns.

    Args:
        payload: As of `check`, with `sources`, paths; `folder`, for files that are not complete; `results`, where the
            complete ones go; `prefix` of their names; `spacing`, `threads`, `memory` in GB, and
            `record_times`: without, a series that is made again has the same bytes.

    Returns:
        `refused`, the reason why there is no derived series, or `images`, of each the path as `file`, `uid`,
        `sop_class`, `syntax`, `digest` and `size`, with `remarks`, as text.

    Raises:
        InputError: There is no such network.
    """
    _require_signature(payload)
    series_upscaling.weights_sha256(payload["method"])  # an error of the network is none of the series
    folder, results = pathlib.Path(payload["folder"]), pathlib.Path(payload["results"])
    for source in payload["sources"]:  # a fault of the spool says nothing about the series: it is tried again
        with open(source, "rb"):
            pass
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        options = {name: payload[name] for name in ("method", "spacing", "threads", "memory")}
        made = series_upscaling.upscale_series(
            payload["sources"],
            folder / "derived",
            version=tfmisr.__version__,
            record_times=payload["record_times"],
            **options,
        )
        remarks = without_identifiers("; ".join(made.remarks), payload["sources"])
        return {"images": _keep(made.paths, results, payload["prefix"]), "remarks": remarks}
    except InputError as error:
        return {"refused": without_identifiers(str(error), payload["sources"])}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_signature(payload: dict) -> None:
    if payload["key"] and payload["method"].endswith(".tflite"):
        authenticity.require_model(payload["method"], payload["key"])


def _keep(written: list[pathlib.Path], results: pathlib.Path, prefix: str) -> list[dict]:
    """Moves files into the folder of results, each flushed to the disk first, and returns their description."""
    images = []
    for number, path in enumerate(written, 1):
        target = results / f"{prefix}-{number:05d}.dcm"
        _flush(path)
        os.replace(path, target)
        images.append({"file": str(target), **work.described(target), "size": target.stat().st_size})
    spool.sync_folder(results)
    return images


def _flush(path: pathlib.Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def without_identifiers(text: str, sources: list[str]) -> str:
    """Returns why a series is refused on one line, without UIDs and without the names of its files.

    Args:
        text: Message of the error.
        sources: Paths of its files.
    """
    for number, source in enumerate(sources, 1):
        for name in (source, os.path.basename(source)):
            text = text.replace(name, f"image {number}")
    text = _UID.sub(lambda match: f"UID {hashlib.sha256(match[0].encode()).hexdigest()[:8]}", text)
    return _ADVICE.sub("", " ".join(text.split()))
