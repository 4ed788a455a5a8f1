"""Modality LUT Sequence (0028,3000), PS3.3 C.11.1: maps stored values by a table."""

from collections.abc import Callable

import numpy as np
import pydicom
from pydicom import uid


def mapping(ds: pydicom.Dataset) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that applies Modality LUT Sequence (0028,3000); the identity without one."""
    # pydicom's apply_modality_lut overflows where a signed 16-bit LUT starts below 0.
    if "ModalityLUTSequence" not in ds:
        return lambda frame: frame
    entries, first = table(ds), ds.ModalityLUTSequence[0].LUTDescriptor[1] % 65536
    if ds.PixelRepresentation and first > 32767:  # signed as the pixels are, whatever its Value Representation
        first -= 65536
    return lambda frame: entries[np.clip(frame.astype(np.int32) - first, 0, len(entries) - 1)]


def table(ds: pydicom.Dataset) -> np.ndarray:
    """Returns the entries of a Modality LUT Sequence that `dicom_rules` accepts, as uint16."""
    item = ds.ModalityLUTSequence[0]
    entries, data = item.LUTDescriptor[0] % 65536 or 65536, item.LUTData
    if isinstance(data, bytes):
        little = ds.file_meta.TransferSyntaxUID != uid.ExplicitVRBigEndian
        data = np.frombuffer(data[: 2 * entries], "<u2" if little else ">u2")
    return np.atleast_1d(data).astype(np.uint16)[:entries]
