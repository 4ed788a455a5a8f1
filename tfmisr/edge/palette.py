"""Palette Color Lookup Tables of PALETTE COLOR images (PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6).

pydicom's `apply_color_lut` is used for segmented tables only: for others it takes indices modulo 256 where entries have
8 bits, reads big endian tables as little endian, and rejects 8-bit tables of an odd length.
"""

import numpy as np
import pydicom
from pydicom import uid
from pydicom.pixels import apply_color_lut

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.element_values import label

_COLORS = ("Red", "Green", "Blue")


def unsupported_reason(ds: pydicom.Dataset) -> str | None:
    """Returns why the palette of an image is not supported, `None` if it is."""
    for color in _COLORS:
        keyword = f"{color}PaletteColorLookupTableDescriptor"
        if not ds.get(keyword):
            return f"{label(keyword)} is missing, and {label('PhotometricInterpretation')} is PALETTE COLOR"
        if ds[keyword].value[2] not in (8, 16):
            return f"{label(keyword)} must state 8 or 16 bits, not {ds[keyword].value[2]}"
        if reason := _missing_data_reason(ds, color):
            return reason
    if len({_entries(ds, color) for color in _COLORS}) > 1:
        return f"the three palettes differ in their number of entries; see {label(keyword)}"
    return None


def _missing_data_reason(ds: pydicom.Dataset, color: str) -> str | None:
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
    # May be signed, as the pixels are; 0 stands for 65536.
    return ds[f"{color}PaletteColorLookupTableDescriptor"].value[0] % 65536 or 65536


def _bytes(ds: pydicom.Dataset, keyword: str) -> bytes:
    """Returns a table in little endian; its VR is OW, even where two 8-bit entries share a word."""
    value = ds[keyword].value
    if not isinstance(value, bytes):
        return np.atleast_1d(value).astype("<u2").tobytes()
    if ds.file_meta.TransferSyntaxUID != uid.ExplicitVRBigEndian:
        return value
    return np.frombuffer(value[: len(value) // 2 * 2], ">u2").astype("<u2").tobytes()


def table(ds: pydicom.Dataset) -> np.ndarray:
    """Returns the colors of a supported palette: (entries, 3), uint8 where 8 bits suffice, else uint16.

    16-bit entries that are 8-bit values times 256 or 257 are returned as 8 bits.
    """
    entries = _entries(ds, "Red")
    if "RedPaletteColorLookupTableData" not in ds:
        return _as_8_bits(ds, apply_color_lut(np.arange(entries) + _first(ds), ds)[..., :3])
    columns = []
    for color in _COLORS:
        data = _bytes(ds, f"{color}PaletteColorLookupTableData")
        columns.append(np.frombuffer(data, "<u2" if len(data) >= 2 * entries else "u1", entries))
    return _as_8_bits(ds, np.stack(columns, axis=-1))


def _as_8_bits(ds: pydicom.Dataset, colors: np.ndarray) -> np.ndarray:
    if colors.dtype == np.uint8:
        return colors
    if ds.RedPaletteColorLookupTableDescriptor[2] == 8 and colors.max() <= 255:
        return colors.astype(np.uint8)
    return (colors >> 8).astype(np.uint8) if not (colors & 255).any() or not (colors % 257).any() else colors


def _first(ds: pydicom.Dataset) -> int:
    """Returns the pixel value that maps to the first entry; signed if the pixels are."""
    first = ds.RedPaletteColorLookupTableDescriptor[1] % 65536
    return first - 65536 if ds.PixelRepresentation and first > 32767 else first


def apply(frame: np.ndarray, ds: pydicom.Dataset) -> np.ndarray:
    """Returns the colors of stored values, with a new last axis of 3; values outside the table map to its ends."""
    colors = table(ds)
    return colors[np.clip(frame.astype(np.int32) - _first(ds), 0, len(colors) - 1)]


__getattr__ = renamed(__name__, refusal="unsupported_reason")
