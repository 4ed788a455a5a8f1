"""The files of an evaluation on volumes: `metrics.json`, `per_volume.csv` and `table.md`; means and differences."""

import csv
import dataclasses
import io
import json
import math
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.edge.text import counted
from tfmisr.evaluation import protocol as protocols
from tfmisr.evaluation import results, statistics
from tfmisr.evaluation.outcomes import Evaluation
from tfmisr.evaluation.volume_measures import PLANES
from tfmisr.evaluation.volume_protocol import REFERENCE, VolumeProtocol

_ID = ("volume", "patient", "method")
# Name, title, format, what is best.
COLUMNS = (
    ("psnr_foreground", "PSNR foreground [dB]", ".2f", max),
    ("psnr_foreground_gain", "gain over spline [dB]", "+.2f", max),
    ("psnr", "PSNR [dB]", ".2f", max),
    *((f"ssim_{plane}", f"SSIM {plane}", ".4f", max) for plane in PLANES),
    *((f"haarpsi_med_{plane}", f"HaarPSI_MED {plane}", ".4f", max) for plane in PLANES),
    ("edge_fwhm", "edge FWHM [mm]", ".2f", None),
    ("detail_energy", "detail energy", ".3f", None),
    ("detail_correlation", "detail correlation", ".2f", max),
    ("bias", "bias", "+.2f", None),
    ("volume_error", "volume error", "+.2%", None),
)
_CONSOLE = ("psnr_foreground", "psnr_foreground_gain", "psnr", "ssim_sagittal", "ssim_coronal", "edge_fwhm")


def summarize(rows: list[dict], training: dict[str, str]) -> dict[str, dict]:
    """Returns means over volumes and paired differences from the spline with 95 % intervals over patients, by method.

    A measure that is not finite for a method on a volume is left out there for all of them; `<name>_n` counts the
    others. With one patient there is no interval (`None`).

    Args:
        rows: One dictionary per volume and method: `volume`, `patient`, `method`, and the measures.
        training: Method to how it was trained, empty for those that are not trained on the volume.
    """
    by_method = {method: [row for row in rows if row["method"] == method] for method in training}
    names = [name for name in rows[0] if name not in _ID]
    usable = {name: np.all([[_finite(row[name]) for row in of] for of in by_method.values()], axis=0) for name in names}
    patients = np.array([row["patient"] for row in by_method[REFERENCE]])
    summary = {}
    for method, of_method in by_method.items():
        values = {"n": len(of_method), "patients": len(set(patients.tolist()))}
        values |= {"training": training[method]} if training[method] else {}
        for name in (name for name in names if not name.endswith("_truth")):
            values |= _compared(name, of_method, by_method[REFERENCE], usable[name], patients)
        widths = [row["edge_fwhm_truth"] for row in of_method if _finite(row["edge_fwhm_truth"])]
        values |= {"edge_fwhm_truth": float(np.mean(widths))} if widths else {}
        summary[method] = results.finite(values)
    return summary


def _compared(name, rows, reference, usable, patients):
    keys = [f"{name}{end}" for end in ("", "_low", "_high", "_gain", "_gain_low", "_gain_high")]
    if not usable.any():
        return dict.fromkeys(keys, math.nan) | {f"{name}_n": 0}
    own, other = (np.array([row[name] for row in of])[usable] for of in (rows, reference))
    found = statistics.bootstrap_mean(own, patients[usable])
    found += statistics.paired_difference(own, other, patients[usable])
    return dict(zip(keys, found, strict=True)) | ({} if usable.all() else {f"{name}_n": int(usable.sum())})


def _finite(value):
    return value is not None and math.isfinite(value)


def merged(paths: Iterable[str | os.PathLike], protocol: VolumeProtocol, training: dict[str, str]) -> dict[str, dict]:
    """Returns the methods of earlier results that these results lack, by name.

    Args:
        paths: `metrics.json` files or their folders.
        protocol: That of these results.
        training: Methods of these results to how they were trained; their new numbers are kept.

    Raises:
        InputError: A protocol differs, a name stands for two methods, or there is no such file.
    """
    found = {}
    for path in paths:
        content = results.read(path)
        protocols.require_same(protocol.to_dict(), content["protocol"], path)
        for name, values in content["models"].items():
            own = training.get(name, found.get(name, values).get("training", ""))
            if (other := values.get("training", "")) != own:
                both = f"{other or 'not trained'}, here {own or 'not trained'}"
                raise InputError(f"{path} holds another method named {name} ({both}); leave one of them out")
            if name not in training:
                found[name] = values
    return found


def write(
    folder: pathlib.Path, protocol: VolumeProtocol, rows: list[dict], models: dict[str, dict], notes: Iterable[str] = ()
) -> dict:
    """Writes `metrics.json`, `per_volume.csv` and `table.md`, each atomically; returns the content of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"protocol": protocol.to_dict(), "notes": list(notes), "models": results.finite(models)}
    write_text(folder / "metrics.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    write_text(folder / "table.md", markdown(content))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*rows[0], "protocol"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        known = {k: "" if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        writer.writerow(known | {"protocol": protocol.hash})
    write_text(folder / "per_volume.csv", text.getvalue())
    return content


def markdown(content: dict) -> str:
    """Returns the table in Markdown with the protocol beneath; the best of a column is bold."""
    titles, *lines = cells(content["models"], intervals=True)
    rows = [titles, ["---", *["---:"] * (len(titles) - 1)], *lines]
    table = "".join(f"| {' | '.join(line)} |\n" for line in rows)
    notes = "".join(f"\nNote: {note}.\n" for note in content.get("notes", ()))
    return f"{table}\n{caption(content)}\n{notes}"


def caption(content: dict) -> str:
    """Returns the protocol in words."""
    protocol = content["protocol"]
    intervals = any(_finite(m.get("psnr_foreground_gain_low")) for m in content["models"].values())
    parts = [
        f"{counted(protocol['volumes'], 'volume')} (hash {protocol['volumes_sha256']})",
        f"ratio {protocol['ratio']:g}",
        f"slices by {protocol['slice_profile']}",
        f"volume error above {protocol['threshold']}",
        protocol["values"],
        protocol["measures"],
        *["intervals: 95 % bootstrap over patients, paired differences"] * intervals,
    ]
    return f"Protocol `{protocol['hash']}`: {'; '.join(parts)}."


def cells(models: dict[str, dict], names: Iterable[str] | None = None, intervals: bool = False) -> list[list[str]]:
    """Returns the titles, then one row per method; the best of a column is within `**`.

    Args:
        models: `models` of `metrics.json`.
        names: Measures to show; `None`: all.
        intervals: Add the interval of the gain.
    """
    titles, columns = ["method"], [list(models)]
    for name, title, style, best in COLUMNS:
        if (names is not None and name not in names) or not any(_finite(m.get(name)) for m in models.values()):
            continue
        values = [m.get(name) for m in models.values()]
        texts = [format(v, style) if _finite(v) else "-" for v in values]
        known = [v for v in values if _finite(v)]
        top = format(best(known), style) if best and len(known) > 1 else None
        texts = [f"**{text}**" if text == top else text for text in texts]
        if intervals and name.endswith("_gain"):
            texts = [text + _interval(m, name, style) for text, m in zip(texts, models.values(), strict=True)]
        original = next((m[f"{name}_truth"] for m in models.values() if _finite(m.get(f"{name}_truth"))), None)
        titles.append(title if original is None else f"{title} (truth {original:{style}})")
        columns.append(texts)
    return [titles, *map(list, zip(*columns, strict=True))]


def _interval(model, name, style):
    low, high = model.get(f"{name}_low"), model.get(f"{name}_high")
    return f" ({low:{style}} to {high:{style}})" if _finite(low) and _finite(high) and low < high else ""


@dataclasses.dataclass(frozen=True, repr=False)
class VolumeEvaluation(Evaluation):
    """Scores of methods on volumes; in place of `per_image.csv` there is `per_volume.csv`."""

    def table(self) -> str:
        """Returns the main measures of all methods, aligned."""
        lines = [[cell.replace("**", "") for cell in line] for line in cells(self.summary, _CONSOLE)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = [[cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)] for line in lines]
        return "\n".join("  ".join([line[0].ljust(widths[0]), *rest]) for line, rest in zip(lines, padded, strict=True))

    def __str__(self):
        files = "tables and montage" if self.figure.is_file() else "tables"
        return f"{self.table()}\nprotocol {self.metrics['protocol']['hash']}; {files} in {self.workdir}"

    def __repr__(self):
        return f"<VolumeEvaluation: {', '.join(self.summary)}; files in {self.workdir}>"


def require_methods(names: Iterable[str]) -> None:
    """Checks that no two methods have one name.

    Raises:
        InputError: Two have.
    """
    names = list(names)
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise InputError(f"expected methods of different names. Received: {doubled} twice; rename one file")
