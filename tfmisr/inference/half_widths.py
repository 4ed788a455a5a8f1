"""Writes the half-width map of one upscaled file: PNG, TIFF, NumPy, or DICOM beside a derived DICOM image."""

import dataclasses
import pathlib

import numpy as np
import pydicom

from tfmisr import cli
from tfmisr.edge import half_width_files, report_page
from tfmisr.edge.errors import InputError
from tfmisr.inference import reporting
from tfmisr.inference.examination import Examination


def units(header: pydicom.Dataset) -> tuple[str, tuple[float, ...]]:
    """Returns the unit of the rescaled values of a DICOM image, and for each frame that of one stored value."""
    from tfmisr.edge import dicom

    count = int(header.get("NumberOfFrames") or 1)
    known = [dicom.hounsfield(header, frame) for frame in range(count)]
    if all(known):
        return "HU", tuple(abs(slope) for slope, _ in known)
    slopes = (dicom.rescale_item(header, frame).get("RescaleSlope") for frame in range(count))
    return "gray levels", tuple(abs(float(slope or 1)) for slope in slopes)


def write(path: pathlib.Path, examination: Examination) -> None:
    """Writes the half-widths of all frames, in the unit of the result's values."""
    half_widths = examination.half_widths
    cli.require_writable(path.parent)
    if path.suffix.lower() != ".dcm":
        frames = (frame * np.float32(examination.slope(index)) for index, frame in enumerate(half_widths))
        text = f"{reporting.statement(examination)} {report_page.GUARANTEE[reporting.guarantee(examination)]}"
        half_width_files.write(path, frames, len(half_widths), half_widths.full, examination.unit, text)
        return
    from tfmisr.edge import derived
    from tfmisr.edge.derived import half_width_map

    if examination.derived is None:
        raise InputError(f"a half-width map in DICOM needs an --output in DICOM. Received: {path}")
    image, product, start = examination.derived
    rescaled = half_width_map.to_rescaled(image, half_widths.array())
    statement = reporting.dicom_statement(examination.checks)
    product = dataclasses.replace(product, applicability=reporting.described(examination))
    derived.write(half_width_map.derive_half_width(image, rescaled, statement, product, series_start=start), path)
