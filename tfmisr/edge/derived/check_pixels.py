"""Checks the pixels of a derived image and the Attributes that describe them (D-30 to D-36).

Each rule returns a sentence on what is wrong, or `None`.
"""

import numpy as np
import pydicom

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.derived.checking import Pair, is_empty, same

_PIXEL_ATTRIBUTES = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_INTENSITY_TRANSFORMS = (
    "RescaleSlope RescaleIntercept RescaleType ModalityLUTSequence WindowCenter WindowWidth "
    "WindowCenterWidthExplanation VOILUTFunction VOILUTSequence PixelIntensityRelationship "
    "PixelIntensityRelationshipSign"
).split()
_GRAY = ("MONOCHROME1", "MONOCHROME2")


def _is_gray(ds: pydicom.Dataset) -> bool:
    return ds.get("PhotometricInterpretation") in _GRAY


def stored_values(pair: Pair) -> str | None:
    """D-30: bits, sign, Modality LUT and VOI LUT are those of the source."""
    palette = pair.source.PhotometricInterpretation == "PALETTE COLOR"
    # The source is described as by its codestream: wrong Attributes are corrected in the result.
    differing = [] if palette else [k for k in _PIXEL_ATTRIBUTES if pair.source.get(k) != pair.result.get(k)]
    if changed := differing + pair.changed(_INTENSITY_TRANSFORMS):
        return f"{', '.join(changed)} must be the source's"
    if not palette and pair.changed(["SamplesPerPixel"]):
        return "Samples per Pixel must be the source's"
    return None


def _valid(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Returns masks of the pixels that are not padding, of source and result."""
    limits = padding_limits(pair.source)
    if limits is None:
        return np.ones(pair.source_pixels.shape[:3], bool), np.ones(pair.result_pixels.shape[:3], bool)
    return ~_within(pair.source_pixels, limits), ~_within(pair.result_pixels, limits)


def padding_limits(ds: pydicom.Dataset) -> tuple[int, int] | None:
    """Returns the lowest and highest stored value of padding, `None` for an image without it."""
    value, last = ds.get("PixelPaddingValue"), ds.get("PixelPaddingRangeLimit")
    if not isinstance(value, int) or not _is_gray(ds):
        return None
    ends = [_stored(v, ds) for v in (value, last if isinstance(last, int) else value)]
    return min(ends), max(ends)


def _stored(value: int, ds: pydicom.Dataset) -> int:
    """Returns the pixel value with the same bits, if the bits above Bits Stored are zero- or sign-extension."""
    bits, mask = value & 0xFFFF, (1 << ds.BitsStored) - 1
    above, sign = (bits & ~mask & 0xFFFF), bits >> (ds.BitsStored - 1) & 1
    if above not in (0, ~mask & 0xFFFF if sign else 0):
        return value
    return (bits & mask) - ((mask + 1) * sign if ds.PixelRepresentation else 0)


def _within(pixels: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    return np.asarray(((pixels >= limits[0]) & (pixels <= limits[1])).all(axis=-1))


def _downsampled(pair: Pair) -> np.ndarray:
    """Returns the result at the size of the source: block means for half-pixel centers, else the nearest pixel."""
    if pair.convention != "half_pixel":
        positions = [
            np.rint((np.arange(n) - shift) / step).astype(int)
            for n, step, shift in zip(pair.source_pixels.shape[1:3], pair.steps(), pair.shifts(), strict=True)
        ]
        return pair.result_pixels[:, positions[0]][:, :, positions[1]].astype(float)
    count, rows, columns, samples = pair.source_pixels.shape
    blocks = pair.result_pixels.reshape(count, rows, pair.scale, columns, pair.scale, samples)
    return blocks.mean(axis=(2, 4))


def downsampling_consistency(pair: Pair) -> str | None:
    """D-31: averaged to the size of the source, the result equals it within limits."""
    valid, averaged = _valid(pair)[0], _downsampled(pair)
    for before, after, inside in zip(pair.source_pixels, averaged, valid, strict=True):
        values, errors = before[inside].astype(float), (after - before)[inside]
        if not values.size:
            continue
        low, high = np.percentile(values, (1, 99))
        if abs(errors.mean()) > 0.5 * max(1.0, np.ptp(values) / 4096):
            return "the mean of a frame differs by more than half a stored unit, or half of 1/4096 of the range used"
        if np.percentile(np.abs(errors), 99) > max(0.2 * (high - low), 1.0):
            return "1 % of the pixels differ by more than a fifth of the image's range"
    return None


def padding(pair: Pair) -> str | None:
    """D-32: pixel padding is where the source has it."""
    if changed := pair.changed(("PixelPaddingValue", "PixelPaddingRangeLimit")):
        return f"{', '.join(changed)} must be the source's"
    if padding_limits(pair.source) is None:
        return None
    source, result = _valid(pair)
    if not np.array_equal(pair.upscale_nearest(source), result):
        return "padding must be exactly where the source has it"
    return None


def limits(pair: Pair) -> str | None:
    """D-33: smallest and largest values are those of the pixels."""
    if remaining := [k for k in ("SmallestPixelValueInSeries", "LargestPixelValueInSeries") if k in pair.result]:
        return f"{', '.join(remaining)} must be removed"
    stated = [pair.result.get(f"{end}ImagePixelValue") for end in ("Smallest", "Largest")]
    inside = _valid(pair)[1]
    if not inside.any() or all(map(is_empty, stated)):
        return None
    native = pair.result_pixels[inside]
    if any(value is not None and value != end for value, end in zip(stated, (native.min(), native.max()), strict=True)):
        return "Smallest and Largest Image Pixel Value must be those of the pixels"
    return None


def polarity(pair: Pair) -> str | None:
    """D-34: Photometric Interpretation and Presentation LUT Shape of gray images."""
    if _is_gray(pair.source) and pair.changed(("PhotometricInterpretation", "PresentationLUTShape")):
        return "Photometric Interpretation and Presentation LUT Shape must be the source's"
    return None


def color(pair: Pair) -> str | None:
    """D-35: Photometric Interpretation and Planar Configuration of color images."""
    result = pair.result
    if _is_gray(pair.source):
        return "Planar Configuration must be absent of gray images" if "PlanarConfiguration" in result else None
    native = not result.file_meta.TransferSyntaxUID.is_encapsulated
    if result.PhotometricInterpretation not in ("RGB", *(() if native else ("YBR_RCT",))):
        return "Photometric Interpretation of color must be RGB"
    if native and result.get("PlanarConfiguration") != 0:
        return "Planar Configuration must be 0"
    if any("PaletteColorLookupTable" in element.keyword for element in result):
        return "palettes must be removed"
    if changed := pair.changed(("ICCProfile", "ColorSpace")):
        return f"{', '.join(changed)} must be the source's"
    return None


def overlays(pair: Pair) -> str | None:
    """D-36: overlay planes follow the scale."""
    for group in sorted({element.tag.group for element in pair.result if 0x6000 <= element.tag.group <= 0x60FF}):
        old, new = (_plane(ds, group) for ds in (pair.source, pair.result))
        expected = [n * pair.scale if n else None for n in old[:2]]
        frames = new[3] or 1
        if list(new[:2]) != expected or not all(expected):
            return f"overlay {group:04X} must have the scale of the image"
        if len(new[4] or b"") * 8 < expected[0] * expected[1] * frames:
            return f"overlay {group:04X} has too few bits"
        origin = [pair.scale * (v - 1) + 1 for v in old[2] or ()]
        if pair.convention == "half_pixel" and not same(origin, list(new[2] or ())):
            return f"the origin of overlay {group:04X} must follow the scale"
    return None


def _plane(ds: pydicom.Dataset, group: int) -> list:
    tags = [pydicom.tag.Tag(group, element) for element in (0x10, 0x11, 0x50, 0x15, 0x3000)]
    return [ds[tag].value if tag in ds else None for tag in tags]


RULES = {
    "D-30": stored_values,
    "D-31": downsampling_consistency,
    "D-32": padding,
    "D-33": limits,
    "D-34": polarity,
    "D-35": color,
    "D-36": overlays,
}


__getattr__ = renamed(__name__, colour="color", fidelity="downsampling_consistency")
