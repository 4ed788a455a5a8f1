"""The files of an evaluation: `metrics.json`, `per_image.csv`, `table.md` and `montage.png`."""

import csv
import importlib
import io
import json
import math
import os
import pathlib
import sys
import types
import typing

from tfmisr.edge.errors import InputError
from tfmisr.evaluation.protocol import current_metrics, reference

if typing.TYPE_CHECKING:
    from tfmisr.evaluation.scoring import Result


def write(result: "Result", folder: pathlib.Path, merged: dict | None = None) -> dict:
    """Writes `metrics.json`, `per_image.csv`, `table.md` and `montage.png`, each of them atomically.

    With the metric `sfrc` also `hallucinations.png`, the case with its marked patches.

    Args:
        result: Result of the evaluation.
        folder: Output folder.
        merged: Models of earlier results to include in the same table.

    Returns:
        The content of `metrics.json`.
    """
    from tfmisr.edge.files import write_text
    from tfmisr.evaluation import table

    folder.mkdir(parents=True, exist_ok=True)
    metrics = {
        "protocol": result.protocol.to_dict(),
        "notes": list(result.notes),
        "models": {**(merged or {}), **finite(result.summary)},
    }
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    write_text(folder / "table.md", table.markdown_table(metrics))
    write_text(folder / "per_image.csv", _csv(result))
    _write_montage(result, folder)
    return metrics


def drawing(module: str) -> types.ModuleType | None:
    """Returns a module of `tfmisr.evaluation` that draws the montage.

    Without matplotlib, which training with JAX does not need, it prints a notice and returns `None`.
    """
    try:
        return importlib.import_module(f"tfmisr.evaluation.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        print("no montage.png: matplotlib is not installed", file=sys.stderr)
        return None


def _write_montage(result, folder):
    if (montage := drawing("montage")) is None:
        return
    scores = {
        row["model"]: {"psnr": row["psnr"], "ssim": row.get("ssim")} for row in result.rows if row["id"] == result.case
    }
    title = f"{result.case}, x{result.protocol.scale}, protocol {result.protocol.hash}"
    options = {"scores": scores, "title": title, "caption": case_caption(result.summary)}
    montage.save_montage(folder / "montage.png", result.picture, result.max_val, **options)
    if "sfrc" in result.rows[0]:
        _save_marked_patches(folder / "hallucinations.png", result, title)


def _save_marked_patches(path, result, title):
    """Draws the patches of the measured region, without the border that is cut off."""
    from tfmisr.evaluation import marked_patches
    from tfmisr.metrics import shave

    border = result.protocol.crop_border
    measured = {name: shave(image, border) for name, image in result.picture.items() if name != "LR"}
    marked_patches.save(path, measured, result.max_val, title)


def read(path: str | os.PathLike) -> dict:
    """Returns the content of a `metrics.json` with the names of this release.

    Args:
        path: The file, or its folder.

    Raises:
        InputError: There is no such file, or it has no protocol or no models.
    """
    path = pathlib.Path(path)
    path = path / "metrics.json" if path.is_dir() else path
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        metrics["protocol"], metrics["models"]
        return current_metrics(metrics)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"expected a metrics.json at {path}: {error}") from error


def case_caption(summary: dict[str, dict]) -> str:
    """Returns how the case of the montage was chosen; see `scoring.evaluate`."""
    model = list(summary)[-1]
    count = summary[model].get("psnr_n", summary[model]["n"])
    base = reference(summary)
    if model == base or count < 2:
        images = summary[model]["n"]
        return "the only image" if images == 1 else f"one of {images} images"
    over = f"PSNR gain of {model} over {base}" if base in summary else f"PSNR of {model}"
    return f"median case of {count} by {over}"


def finite(value: typing.Any) -> typing.Any:
    """Returns nested dictionaries with nan and infinity, which JSON does not have, replaced by `None`."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv(result) -> str:
    """Returns one row per image and model, with the protocol's hash; infinite and undefined values are empty."""
    text = io.StringIO()
    names = dict.fromkeys(key for row in result.rows for key in row)
    writer = csv.DictWriter(text, [*names, "protocol"], restval="", lineterminator="\n")
    writer.writeheader()
    for row in result.rows:
        writer.writerow({k: _cell(v) for k, v in row.items()} | {"protocol": result.protocol.hash})
    return text.getvalue()


def _cell(value):
    return "" if isinstance(value, float) and not math.isfinite(value) else value
