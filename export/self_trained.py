"""Exports a network that was trained on one volume's own slices: `.tflite` files, and what each costs (V-09).

The ranges of 8-bit files are calibrated on planes that the training left, and files are compared with the Keras network
on planes of slices that were held out.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

from tfmisr import cli, models
from tfmisr.edge import card as model_card
from tfmisr.edge import files, plane_card
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import plane_model
from tfmisr.evaluation import outcomes
from tfmisr.export import cards, convert, planes
from tfmisr.volumes import plane_run

_REFUSED = {"dataset": None, "orientations": 1, "target": "generic"}  # flags that need images or another runtime


def is_run(folder: str | pathlib.Path) -> bool:
    """Returns whether a folder is the finished training on a volume."""
    return (pathlib.Path(folder).expanduser() / plane_run.NAME).is_file()


def export(arguments: argparse.Namespace) -> outcomes.Exported:
    """Writes the files and `report.json`.

    Args:
        arguments: The parsed flags: `model` is the folder of the training.

    Raises:
        InputError: The folder is damaged, or a flag does not apply.
    """
    for name, default in _REFUSED.items():
        if getattr(arguments, name) != default:
            raise InputError(f"--{name} does not apply to a network that was trained on one volume; leave it out")
    folder = pathlib.Path(arguments.model).expanduser()
    run, network = plane_run.read(folder), convert.in_float32(models.load(folder))
    patches, held_out = _planes(folder)
    cli.require_writable(arguments.output)
    output = pathlib.Path(arguments.output)
    name = arguments.name or folder.resolve().name
    rows, paths = {}, []
    for flavor in (flavor for flavor in convert.FLAVORS if flavor in arguments.formats):
        path = output / f"{name}_{flavor}.tflite"
        content, fields = _converted(network, run, flavor, patches, name, arguments)
        _store(path, content, fields)
        rows[path.name] = _compared(network, path, held_out) | {"flavour": flavor, "bytes": path.stat().st_size}
        _store(path, content, fields | {"against_keras": rows[path.name]})
        paths.append(path)
    if "saved_model" in arguments.formats:
        convert.save_model(network, output / "saved_model")
    report = {"files": rows, "planes": len(held_out), "failures": _failures(rows, arguments)}
    files.write_text(output / "report.json", json.dumps(report, indent=2) + "\n")
    files.write_text(output / "report.md", _markdown(report))
    for failure in report["failures"]:
        print(f"over the limit: {failure}", file=sys.stderr)
    return outcomes.Exported(output, tuple(paths), report)


def _planes(folder):
    try:
        with np.load(folder / plane_run.PLANES, allow_pickle=False) as stored:
            pairs = [(stored[f"degraded_{number}"], stored[f"sharp_{number}"]) for number in range(2)]
            return stored["patches"], [pair for both in pairs for pair in zip(*both, strict=True)]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"expected {folder / plane_run.PLANES} of the training; run it again") from error


def _converted(network, run, flavor, patches, name, arguments):
    subgraph = convert.exported_subgraph(network, flavor)
    content = convert.to_tflite(subgraph, flavor, None, lambda: iter(patches))
    run_fields = {
        "modality": arguments.modality or "not stated",
        "training": run.training,
        "license": arguments.license or "not stated",
    }
    card = cards.describe(name, flavor, subgraph, models.PLANE_SCALE, None, run.overlap, run_fields, arguments.max_tile)
    ranges = (run.ratio, run.ratio), (run.fwhm, run.fwhm), tuple(run.spacing)
    described = planes.described(card | {"overlap": run.overlap}, [run.profile], *ranges, run.stride)
    return content, described | {"slices": run.slices, "intensities": run.intensities}


def _store(path, content, fields):
    whole = model_card.attach(content, fields)
    with files.atomic_write(path) as temporary:
        temporary.write_bytes(whole)
    written = model_card.latest(model_card.check(whole, "the new file", plane_card.KIND))
    files.write_text(model_card.sidecar_path(path), json.dumps(written, indent=2) + "\n")


def _compared(network, path, held_out) -> dict:
    """Returns PSNR on held-out planes, its loss against Keras in dB, and the largest difference of a pixel."""
    model, scores, exact, worst = plane_model.PlaneModel(path, threads=2), [], [], 0.0
    for degraded, sharp in held_out:
        height, width = (side // 8 * 8 for side in degraded.shape)  # any stride
        plane = np.ascontiguousarray(degraded[None, :height, :width, None], np.float32)
        expected, found = np.asarray(network(plane, training=False)), model(plane)
        worst = max(worst, float(np.abs(expected - found).max()))
        truth = sharp[None, :height, :width, None]
        scores.append(_psnr(found, truth))
        exact.append(_psnr(expected, truth))
    drop = float(np.mean(np.subtract(exact, scores)))
    return {"psnr": float(np.mean(scores)), "psnr_drop": drop, "worst_pixel": worst}


def _psnr(image, truth) -> float:
    return float(-10 * np.log10(max(np.mean((image - truth) ** 2, dtype=np.float64), 1e-12)))


def _markdown(report) -> str:
    """Returns the report in Markdown."""
    lines = [
        f"# What each file costs against the Keras network, on {report['planes']} planes of held-out slices",
        "",
        "| file | size | PSNR | PSNR drop, dB | worst pixel |",
        "|---|---|---|---|---|",
    ]
    for name, row in report["files"].items():
        numbers = f"{row['psnr']:.2f} | {row['psnr_drop']:+.4f} | {row['worst_pixel']:.1e}"
        lines.append(f"| {name} | {row['bytes'] / 1e6:.2f} MB | {numbers} |")
    return "\n".join([*lines, "", f"Gate: {'; '.join(report['failures']) or 'all within the limit'}.", ""])


def _failures(rows, arguments) -> list[str]:
    limit = arguments.max_psnr_drop
    return [
        f"{name}: loses {row['psnr_drop']:.4f} dB of PSNR, above the limit of {limit} dB"
        for name, row in rows.items()
        if not row["psnr_drop"] <= limit
    ]
