"""Removes or upscales overlay planes, groups 60xx (C.9.2; D-36)."""

from typing import Any

import numpy as np
import pydicom
from pydicom.tag import Tag

from tfmisr.edge.derived.geometry import grids
from tfmisr.edge.derived.product import Product

# ROI Area, Mean and Standard Deviation, which are in pixels.
_STATISTICS = (0x1301, 0x1302, 0x1303)
_ELEMENTS = (0x10, 0x11, 0x15, 0x50, 0x100, 0x3000)  # rows, columns, frames, origin, bits allocated, data


def convert(target: pydicom.Dataset, product: Product) -> list[str]:
    """Removes or upscales the overlays, depending on `product.overlays`.

    Args:
        target: Copy of the source, changed in place; it must still have the Rows and Columns of the source.
        product: Scale, convention and option.

    Returns:
        Remarks on what was removed.
    """
    remarks = []
    for group in sorted({tag.group for tag in target.keys() if 0x6000 <= tag.group <= 0x60FF}):
        reason = "" if product.overlays == "drop" else _upscale_overlay(target, group, product)
        if reason is not None:
            for tag in [tag for tag in target.keys() if tag.group == group]:
                del target[tag]
            remarks.append(f"overlay plane {group:04X} is removed" + (reason and f": {reason}"))
    return remarks


def _upscale_overlay(target: pydicom.Dataset, group: int, product: Product) -> str | None:
    """Upscales an overlay; returns why it cannot be upscaled, `None` if it has been."""
    value = _read(target, group)
    if value is None:
        return f"Overlay Rows ({group:04X},0010), Columns, Origin and Number of Frames must be whole numbers"
    rows, columns, frames = value.get(0x10), value.get(0x11), value.get(0x15) or 1
    if not rows or not columns or not value.get(0x3000):
        return f"Overlay Data ({group:04X},3000) is missing; in old files it is embedded in Pixel Data"
    if value.get(0x100, 1) != 1 or len(value[0x3000]) * 8 < rows * columns * frames:
        return f"Overlay Data ({group:04X},3000) has fewer bits than rows, columns and frames require"
    if max(rows, columns) * product.scale > 65535:
        return f"Overlay Rows ({group:04X},0010) and Columns would be more than 65535"
    bits = np.unpackbits(np.frombuffer(value[0x3000], np.uint8), bitorder="little")
    planes = bits[: rows * columns * frames].reshape(frames, rows, columns)
    planes = planes.repeat(product.scale, axis=1).repeat(product.scale, axis=2)
    packed = np.packbits(planes, bitorder="little").tobytes()
    target[Tag(group, 0x3000)].value = packed + b"\0" * (len(packed) % 2)
    target[Tag(group, 0x10)].value, target[Tag(group, 0x11)].value = rows * product.scale, columns * product.scale
    if value.get(0x50):
        axes = grids(target, product)
        origin = [round(axis.to_result(v - 1.5) + 0.5) + 1 for v, axis in zip(value[0x50], axes, strict=True)]
        target[Tag(group, 0x50)].value = origin
    for element in _STATISTICS:
        target.pop(Tag(group, element), None)
    return None


def _read(target: pydicom.Dataset, group: int) -> dict[int, Any] | None:
    """Returns the values of an overlay by element number, `None` if one is not a number."""
    try:
        value = {n: target[Tag(group, n)].value for n in _ELEMENTS if Tag(group, n) in target}
        numbers = [value[n] for n in (0x10, 0x11, 0x15) if value.get(n)] + list(value.get(0x50) or ())
    except Exception:  # pydicom's errors quote the value  # noqa: BLE001
        return None
    is_valid = all(isinstance(number, int) for number in numbers) and len(value.get(0x50) or (1, 1)) == 2
    return value if is_valid and (value.get(0x15) or 1) > 0 else None
