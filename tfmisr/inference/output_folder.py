"""The record of an output folder, `upscale.json`: one model and one scale for all results in the folder."""

import dataclasses
import datetime
import json
import pathlib
import typing

from tfmisr import cli
from tfmisr.edge import images
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.inference import series_scales

if typing.TYPE_CHECKING:
    from tfmisr.inference.batch import BatchUpscaler

RECORD = "upscale.json"


def bind(folder: pathlib.Path, upscaler: "BatchUpscaler") -> "BatchUpscaler":
    """Records model and scale in `upscale.json` of an output folder, or compares them with the record.

    Existing results may then be skipped, and all slices have the same Series Date, that of the first start.

    Args:
        folder: Folder for the results.
        upscaler: Upscaler of the batch.

    Returns:
        The upscaler with the recorded start, `when`.

    Raises:
        InputError: The folder holds results of another model or scale.
    """
    network = upscaler.upscaler
    identity = {
        "model": network.name,
        "weights_sha256": network.weights_sha256,
        "scale": upscaler.scale,
        "tile": upscaler.tile,
        "max_tile": upscaler.max_tile,
        "consistency": network.consistency or None,
        "uncertainty": upscaler.statement or None,
    }
    path = folder / RECORD
    if path.is_file():
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            when = datetime.datetime.fromisoformat(record["when"]).isoformat()
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} cannot be read ({error}); choose another --output") from error
        if differing := [key for key in identity if record.get(key) != identity[key]]:
            key = differing[0]
            raise InputError(
                f"{folder} holds results of another {key}: {record.get(key)!r} there, {identity[key]!r} here; "
                "choose another --output"
            )
    else:
        when = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        cli.require_writable(folder)
        write_text(path, json.dumps({**identity, "when": when, series_scales.KEY: {}}, indent=2) + "\n")
    return dataclasses.replace(upscaler, when=when)


def result_name(name: pathlib.PurePath, file_format: str | None) -> pathlib.PurePath:
    """Returns the name of a result in a folder: TIFF stays TIFF, DICOM becomes derived DICOM, the rest PNG.

    Args:
        name: Name of the source below its folder.
        file_format: "PNG", "JPEG", "TIFF" or "DICOM"; `None` where it is not known.
    """
    if name.suffix.lower() in (".tif", ".tiff"):
        return name
    suffix = {"DICOM": ".dcm", "TIFF": ".tif"}.get(file_format or "", ".png")
    # DICOM files are often named by their UID, whose last number is not a suffix.
    return name.with_suffix(suffix) if name.suffix.lower() in images.EXTENSIONS else name.with_name(name.name + suffix)


def remove_empty(folder: pathlib.Path) -> None:
    """Removes an output folder without results, so that it may be used with another model."""
    if [path.name for path in folder.iterdir()] == [RECORD]:
        (folder / RECORD).unlink()
        folder.rmdir()
