"""Overlay planes, groups 60xx (C.9.2): dropped, or enlarged with the image (D-36)."""

import numpy as np
import pydicom
from pydicom.tag import Tag

from tfmisr.edge.derived.geometry import grids
from tfmisr.edge.derived.product import Product

# Area, mean and deviation of a region are in pixels.
_STATISTICS = (0x1301, 0x1302, 0x1303)


def convert(target: pydicom.Dataset, product: Product) -> list[str]:
    """Drops or enlarges the overlays; `target` must still have the Rows and Columns of the source.

    Returns:
        Remarks on what was dropped.
    """
    remarks = []
    for group in sorted({tag.group for tag in target.keys() if 0x6000 <= tag.group <= 0x60FF}):
        reason = "as asked" if product.overlays == "drop" else _enlarge(target, group, product)
        if reason:
            for tag in [tag for tag in target.keys() if tag.group == group]:
                del target[tag]
            remarks.append(f"overlay {group:04X} dropped, {reason}")
    return remarks


def _enlarge(target, group, product):
    """Returns why an overlay cannot be enlarged, or `None` when it is."""
    value = {n: target[Tag(group, n)].value for n in (0x10, 0x11, 0x50, 0x100, 0x3000) if Tag(group, n) in target}
    rows, columns, frames = value.get(0x10), value.get(0x11), _frames(target, group)
    if not rows or not columns or not value.get(0x3000):
        return "its bits are among those of the pixels or missing"
    if value.get(0x100, 1) != 1 or len(value[0x3000]) * 8 < rows * columns * frames:
        return "it has fewer bits than it says"
    if max(rows, columns) * product.scale > 65535:
        return "it would be too large"
    bits = np.unpackbits(np.frombuffer(value[0x3000], np.uint8), bitorder="little")
    bits = bits[: rows * columns * frames].reshape(frames, rows, columns)
    bits = bits.repeat(product.scale, axis=1).repeat(product.scale, axis=2)
    packed = np.packbits(bits, bitorder="little").tobytes()
    target[Tag(group, 0x3000)].value = packed + b"\0" * (len(packed) % 2)
    target[Tag(group, 0x10)].value, target[Tag(group, 0x11)].value = rows * product.scale, columns * product.scale
    if value.get(0x50):
        axes = grids(target, product)
        origin = [round(axis.new(v - 1.5) + 0.5) + 1 for v, axis in zip(value[0x50], axes, strict=True)]
        target[Tag(group, 0x50)].value = origin
    for element in _STATISTICS:
        target.pop(Tag(group, element), None)
    return None


def _frames(target, group):
    number = Tag(group, 0x15)
    return int(target[number].value or 1) if number in target else 1
