"""Palettes of PALETTE COLOR images (PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6).

pydicom's `apply_color_lut` is left to segmented tables: it takes indices modulo 256 where entries have 8 bits, reads
tables in big endian as little endian, and refuses 8-bit tables of an odd length.
"""

import numpy as np
import pydicom
from pydicom import uid
from pydicom.pixels import apply_color_lut

from tfmisr.edge.element_values import label

_COLORS = ("Red", "Green", "Blue")


def refusal(ds: pydicom.Dataset) -> str | None:
    """Returns why the palette of an image cannot be used, or `None` if it can."""
    for color in _COLORS:
        keyword = f"{color}PaletteColorLookupTableDescriptor"
        if not ds.get(keyword):
            return f"{label(keyword)} is missing, and {label('PhotometricInterpretation')} is PALETTE COLOR"
        if ds[keyword].value[2] not in (8, 16):
            return f"{label(keyword)} must say 8 or 16 bits, not {ds[keyword].value[2]}"
        if reason := _without_data(ds, color):
            return reason
    if len({_entries(ds, color) for color in _COLORS}) > 1:
        return f"the three palettes differ in their number of entries, as {label(keyword)} says"
    return None


def _without_data(ds: pydicom.Dataset, color: str) -> str | None:
    keyword, entries = f"{color}PaletteColorLookupTableData", _entries(ds, color)
    if not ds.get(keyword):
        if not ds.get(f"Segmented{keyword}"):
            return f"{label(keyword)} is missing, and {label('PhotometricInterpretation')} is PALETTE COLOR"
        if ds[f"{color}PaletteColorLookupTableDescriptor"].value[2] == 8 and entries > 256:
            return f"{label(f'Segmented{keyword}')} of 8 bits and {entries} entries is not supported"
        return None
    length = len(_bytes(ds, keyword))
    if length // 2 * 2 not in (2 * entries, entries + entries % 2):
        return f"{label(keyword)} has {length} bytes for {entries} entries of 8 or 16 bits"
    return None


def _entries(ds: pydicom.Dataset, color: str) -> int:
    # Signed where the pixels are, and 16 bits have no 65536.
    return ds[f"{color}PaletteColorLookupTableDescriptor"].value[0] % 65536 or 65536


def _bytes(ds: pydicom.Dataset, keyword: str) -> bytes:
    """Returns a table in little endian; it is words (OW), also where two entries of 8 bits share one."""
    value = ds[keyword].value
    if not isinstance(value, bytes):
        return np.atleast_1d(value).astype("<u2").tobytes()
    if ds.file_meta.TransferSyntaxUID != uid.ExplicitVRBigEndian:
        return value
    return np.frombuffer(value[: len(value) // 2 * 2], ">u2").astype("<u2").tobytes()


def table(ds: pydicom.Dataset) -> np.ndarray:
    """Returns the colors of a palette that `refusal` accepts: (entries, 3), uint8 where 8 bits hold them, or uint16.

    Entries of 16 bits that are 8-bit ones times 256 or 257 count as 8 bits.
    """
    entries = _entries(ds, "Red")
    if "RedPaletteColorLookupTableData" not in ds:
        return _shortened(ds, apply_color_lut(np.arange(entries) + _first(ds), ds)[..., :3])
    columns = []
    for color in _COLORS:
        data = _bytes(ds, f"{color}PaletteColorLookupTableData")
        columns.append(np.frombuffer(data, "<u2" if len(data) >= 2 * entries else "u1", entries))
    return _shortened(ds, np.stack(columns, axis=-1))


def _shortened(ds: pydicom.Dataset, colors: np.ndarray) -> np.ndarray:
    if colors.dtype == np.uint8:
        return colors
    if ds.RedPaletteColorLookupTableDescriptor[2] == 8 and colors.max() <= 255:
        return colors.astype(np.uint8)
    return (colors >> 8).astype(np.uint8) if not (colors & 255).any() or not (colors % 257).any() else colors


def _first(ds: pydicom.Dataset) -> int:
    """Returns the pixel value of the first entry, signed as the pixels are."""
    first = ds.RedPaletteColorLookupTableDescriptor[1] % 65536
    return first - 65536 if ds.PixelRepresentation and first > 32767 else first


def apply(frame: np.ndarray, ds: pydicom.Dataset) -> np.ndarray:
    """Returns the colors of stored values: another axis of 3; values beyond the table get its first or last entry."""
    colors = table(ds)
    return colors[np.clip(frame.astype(np.int32) - _first(ds), 0, len(colors) - 1)]
