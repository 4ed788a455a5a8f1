"""The report on one upscaled file: what was checked, and what came out (T-50), as JSON and as a row of a table.

It names neither the file nor the patient: names of files may hold a patient's name, so input and output are identified
by the SHA-256 of their content (`sha256sum FILE`), and of a DICOM header only technical Attributes are copied.
"""

import csv
import dataclasses
import importlib.metadata
import json
import math
import pathlib
import platform
import re
from collections.abc import Iterator, Mapping

import numpy as np
import pydicom

from tfmisr.edge.consistency_measures import Agreement
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write, write_text
from tfmisr.edge.report_measures import HalfWidths

VERSION = 1
SUFFIXES = (".json", ".html")
TABLE_SUFFIX = ".csv"

_PHOTOMETRIC = {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
_PACKAGES = ("numpy", "Pillow", "pydicom", "ai-edge-litert")
_CARD = ("name", "weights_sha256", "scale", "flavor", "card_version", "modality", "intended_use", "limits", "task")
_COLUMNS = (
    "input_sha256 output_sha256 half_width_sha256 model weights_sha256 outcome p_value deviations header_mismatches "
    "forced guarantee frames within_half_level largest_deviation null_space_energy energy_beyond_nyquist unit "
    "half_width_mean half_width_median half_width_p95 half_width_largest"
).split()


@dataclasses.dataclass(frozen=True)
class Frame:
    """What was measured of one frame.

    Attributes:
        agreement: With the input; `None` where the model's degradation is not known.
        half_widths: In the unit of the image; `None` without uncertainty.
        energy_beyond_nyquist: See `tfmisr.edge.report_measures.energy_beyond_nyquist`.
        image: Small picture, uint8 (height, width); `None` where none may be shown.
        half_width_image: The same of the half-width.
        size: Height and width of the result.
    """

    agreement: Agreement | None
    half_widths: HalfWidths | None
    energy_beyond_nyquist: float
    image: np.ndarray | None
    half_width_image: np.ndarray | None
    size: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Report:
    """One report.

    Attributes:
        content: What `write` stores as JSON; no `nan`.
        frame: The frame that is described, with its pictures.
    """

    content: dict
    frame: Frame

    def row(self) -> dict[str, object]:
        """Returns the row of a table of several files."""
        content, checks = self.content, self.content["applicability"]
        agreement, half = content["consistency"] or {}, content["half_width"] or {}
        values = {
            "input_sha256": content["input"]["sha256"],
            "output_sha256": content["output"]["sha256"],
            "half_width_sha256": content["output"]["half_width_sha256"],
            "model": content["model"]["name"],
            "weights_sha256": content["model"]["weights_sha256"],
            "outcome": checks["outcome"],
            "p_value": checks["p_value"],
            "deviations": "; ".join(checks["deviations"]),
            "header_mismatches": "; ".join(checks["header_mismatches"]),
            "forced": checks["forced"],
            "guarantee": content["guarantee"]["state"],
            "frames": content["input"]["frames"],
            "within_half_level": agreement.get("within_half"),
            "largest_deviation": agreement.get("maximum"),
            "null_space_energy": agreement.get("null_space_energy"),
            "energy_beyond_nyquist": content["energy_beyond_nyquist"],
            "unit": half.get("unit"),
            "half_width_mean": half.get("mean"),
            "half_width_median": half.get("median"),
            "half_width_p95": half.get("p95"),
            "half_width_largest": half["shares"][-1]["at_most"] if half else None,
        }
        return {name: values[name] for name in _COLUMNS}

    def write(self, path: pathlib.Path) -> None:
        """Writes the report as JSON or, by the suffix, as an HTML page that needs no other file."""
        from tfmisr.edge import report_page

        page = path.suffix.lower() == ".html"
        text = report_page.html(self) if page else json.dumps(self.content, indent=2, allow_nan=False) + "\n"
        write_text(path, text)


def check_path(path: pathlib.Path, several: bool) -> None:
    """Raises an `InputError` where the name of a report has not the suffix for one file, or for several."""
    expected = (TABLE_SUFFIX,) if several else SUFFIXES
    if path.suffix.lower() not in expected:
        what = "for several images a table" if several else "for one image"
        raise InputError(f"--report must end in {' or '.join(expected)} ({what}). Received: {path}")


def describe_header(header: pydicom.Dataset | None) -> dict[str, object]:
    """Returns technical Attributes of a DICOM header; empty without.

    In a broken file a value may be anything, even a name: only two capitals of Modality and known terms are repeated.
    """
    if header is None:
        return {}
    modality, photometric = (str(header.get(key) or "") for key in ("Modality", "PhotometricInterpretation"))
    found = {
        "Modality": modality if re.fullmatch("[A-Z]{2}", modality) else None,
        "PhotometricInterpretation": photometric if photometric in _PHOTOMETRIC else None,
        "BitsStored": bits if isinstance(bits := header.get("BitsStored"), int) else None,
    }
    return {keyword: value for keyword, value in found.items() if value is not None}


def describe_model(card: Mapping, name: str, weights_sha256: str, scale: int) -> dict[str, object]:
    """Returns what the report says of the model: a summary of its card."""
    summary = {key: card[key] for key in _CARD if card.get(key) is not None}
    trained = card.get("training") or {}
    data = {"training_dataset": trained["dataset"]} if trained.get("dataset") else {}
    return {**summary, **data, "name": name, "weights_sha256": weights_sha256, "scale": scale}


def versions(version: str) -> dict[str, str]:
    """Returns the versions of tfmisr, Python and the packages of the base install."""
    found = {"tfmisr": version, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def finite(value: object) -> object:
    """Returns a value for JSON: numbers that are not finite as `None`, tuples as lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [finite(each) for each in value]
    return value


class Table:
    """A table of several files, `report.csv`, a row each. Use it as a context manager.

    Rows are appended as they come, so that those of an interrupted command are kept; at its end only the last row of
    each input remains.

    Args:
        path: The file; rows of an earlier command are kept.

    Raises:
        InputError: The file is another table.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            self._compact()
        else:
            write_text(path, ",".join(_COLUMNS) + "\n")
        self._file = open(path, "a", encoding="utf-8", newline="")  # noqa: SIM115
        self._writer = csv.DictWriter(self._file, _COLUMNS, lineterminator="\n")

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._compact()

    def add(self, row: Mapping) -> None:
        """Appends a row of `Report.row`."""
        self._writer.writerow(row)
        self._file.flush()

    def _read(self) -> Iterator[dict]:
        """Yields the complete rows; a killed command may leave half of one."""
        with open(self.path, encoding="utf-8", errors="replace", newline="") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != _COLUMNS:
                raise InputError(f"{self.path} is another table than that of --report; choose another name")
            yield from (row for row in reader if None not in row and None not in row.values())

    def _compact(self) -> None:
        last = {row["input_sha256"]: number for number, row in enumerate(self._read())}
        with atomic_write(self.path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for number, row in enumerate(self._read()) if last[row["input_sha256"]] == number)
