"""Derives the map of the half-widths of an upscaled image's intervals: for each pixel w, so that SR +- w covers (T-20).

    statement = HalfWidthStatement(alpha=0.1, delta=0.1, multiplier=1.22, patients=57)
    write(derive_half_width(sr, w, statement, product), "out.half_width.dcm")

Images with a plane in the patient (CT, MR, PET, Enhanced) get a Parametric Map (PS3.3 A.75). Projections and ultrasound
have no Frame of Reference, which it requires; they get a Multi-frame Grayscale Word Secondary Capture (PS3.3 A.8.4).
"""

import dataclasses
import datetime
import os

import numpy as np
import pydicom

from tfmisr.edge.derived.product import Product


@dataclasses.dataclass(frozen=True)
class HalfWidthStatement:
    """What the calibration of half-widths guarantees for a new patient.

    Attributes:
        alpha: At most this fraction of the pixels of a patient's images may lie outside of SR +- w.
        delta: At most this fraction of patients may have more of them outside.
        multiplier: Calibrated factor of the learned scale, lambda.
        patients: Number of patients it was calibrated on, n.
    """

    alpha: float
    delta: float
    multiplier: float
    patients: int

    @property
    def text(self) -> str:
        """The statement for `Product.uncertainty`."""
        raise NotImplementedError


def derive_half_width(
    sr: str | os.PathLike | pydicom.Dataset,
    half_width: np.ndarray,
    statement: HalfWidthStatement,
    product: Product,
    when: datetime.datetime | None = None,
    series_start: datetime.datetime | None = None,
    float_pixels: bool = False,
) -> pydicom.Dataset:
    """Returns the map as a new Data Set with `file_meta`.

    Args:
        sr: The upscaled image, as `derive` returns it, or its file.
        half_width: (rows, columns), or (frames, rows, columns), in units of the rescaled values of `sr`.
        statement: What the half-widths guarantee.
        product: The producer of `sr`.
        when: Time of processing, with a time zone; by default the current time.
        series_start: As for `derive`.
        float_pixels: Write Float Pixel Data instead of 16-bit integers; for a Parametric Map only.
    """
    raise NotImplementedError


def to_rescaled(sr: pydicom.Dataset, half_width: np.ndarray) -> np.ndarray:
    """Returns half-widths in units of rescaled values (HU), from half-widths in stored values."""
    raise NotImplementedError
