"""Checks the pixels of a derived series (V-11k to V-11o).

Each rule returns a sentence on what is wrong, or `None`.
"""

import dataclasses
import math

import numpy as np

from tfmisr.edge.derived.check_pixels import padding_limits
from tfmisr.edge.derived.check_series import Image, SeriesPair
from tfmisr.edge.derived.checking import is_empty

_PIXEL_ATTRIBUTES = (
    "SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation"
).split()
_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")
_WINDOW = 2, 8, 8  # slices, rows, columns on each side of the brightest voxel


def stored_values(pair: SeriesPair) -> str | None:
    """V-11k: bits, sign, polarity and loss are the source's; one rescale for the series, the source's if it has one."""
    first = pair.source[0]
    for image in pair.result:
        if changed := [k for k in _PIXEL_ATTRIBUTES if image.ds.get(k) != first.ds.get(k)]:
            return f"{', '.join(changed)} must be the source's"
    lossy = [
        [image.ds.get("LossyImageCompression") == "01" for image in images] for images in (pair.source, pair.result)
    ]
    if any(lossy[0]) and not all(lossy[1]):
        return "Lossy Image Compression must be 01 where that of an acquired slice is"
    new, old = {image.rescale for image in pair.result}, {image.rescale for image in pair.source}
    if len(new) > 1:
        return "Rescale Slope and Intercept must be equal in all new slices"
    if not new <= old:
        return "Rescale Slope and Intercept must be those of the source"
    return None


def _limits(image: Image) -> tuple[int, int] | None:
    return padding_limits(image.ds)


def _padded(image: Image) -> np.ndarray:
    limits = _limits(image)
    if limits is None:
        return np.zeros(image.pixels.shape, bool)
    return (image.pixels >= limits[0]) & (image.pixels <= limits[1])


def padding(pair: SeriesPair) -> str | None:
    """V-11l: padding is exactly where the nearest acquired slice has it."""
    first = pair.source[0].ds
    if any(image.ds.get(k) != first.get(k) for image in pair.result for k in _PADDING):
        return "Pixel Padding Value and Range Limit must be the source's"
    if _limits(pair.source[0]) is None or pair.tilted:
        return None
    places = pair.places(pair.source)
    for place, image in zip(pair.places(pair.result), pair.result, strict=True):
        apart = np.abs(places - place)
        near = [pair.source[int(i)] for i in np.flatnonzero(apart < apart.min() + 1e-3)]  # two, halfway between them
        if not any(np.array_equal(_padded(image), _padded(source)) for source in near):
            return "padding must be exactly where the nearest acquired slice has it"
    return None


def limits(pair: SeriesPair) -> str | None:
    """V-11m: Smallest and Largest Image Pixel Value, where stated, are those of the pixels without padding."""
    for image in () if pair.enhanced else pair.result:
        inside = image.pixels[~_padded(image)]
        for keyword, function in {"SmallestImagePixelValue": np.min, "LargestImagePixelValue": np.max}.items():
            stated = image.ds.get(keyword)
            if not is_empty(stated) and (not inside.size or stated != function(inside)):
                return f"{keyword} must be that of the pixels"
    return None


def _values(image: Image) -> np.ndarray:
    slope, intercept = image.rescale
    return image.pixels * np.float32(slope) + np.float32(intercept)


def weights(pair: SeriesPair) -> np.ndarray:
    """Returns the weights (acquired slices, new slices) of the slice profile, integrated over each new slice."""
    kind, width = pair.profile or ("rectangular", pair.source_spacing)
    places = pair.places(pair.result)
    distances = places - pair.places(pair.source)[:, None]
    ends = [distances + side * pair.spacing / 2 for side in (-1, 1)]
    if kind == "rectangular":
        low, high = (np.clip(end / width, -0.5, 0.5) for end in ends)
    else:
        low, high = (np.vectorize(math.erf)(end / width * 2 * math.sqrt(math.log(2))) for end in ends)
    parts = high - low
    return parts / np.maximum(parts.sum(axis=1, keepdims=True), 1e-12)


@dataclasses.dataclass(frozen=True)
class _Averages:
    """The acquired slices, what new ones average to, and where.

    Attributes:
        old: Acquired values (slices, rows, columns).
        new: Averages of the new slices over the profile, the same shape.
        linear: Averages of linear interpolation between the acquired slices, the same shape: what a series that is not
            corrected may differ by, as interpolation does not take averaging back, least of all over gaps.
        valid: Mask, false where there is padding.
    """

    old: np.ndarray
    new: np.ndarray
    linear: np.ndarray
    valid: np.ndarray


def _averages(pair: SeriesPair) -> _Averages | None:
    """Returns the averages over the profile, `None` where they mean nothing: after a tilt, or of fewer new slices."""
    if pair.tilted or pair.spacing > pair.source_spacing * 1.001:
        return None
    old, matrix = np.stack([_values(image) for image in pair.source]), weights(pair)
    new = np.zeros_like(old)
    for image, column in zip(pair.result, matrix.T, strict=True):  # one new slice in memory
        for index in np.flatnonzero(column > 1e-7):
            new[index] += np.float32(column[index]) * _values(image)
    valid = ~np.stack([_padded(image) for image in pair.source])
    places = pair.places(pair.source)
    between = np.array([np.interp(pair.places(pair.result), places, unit) for unit in np.eye(len(places))]).T
    linear = np.tensordot((matrix @ between).astype(np.float32), old, axes=1)
    return _Averages(old, new, linear, valid) if valid.any() else None


def _is_corrected(pair: SeriesPair) -> bool:
    return "Corrected to agree with the source" in pair.statement


def averages(pair: SeriesPair) -> str | None:
    """V-11n: averaged over the slice profile, the new slices agree with the acquired ones (V-07).

    Where the derivation states a correction to agree with the source, the mean within half a stored unit, and 99 % of
    the voxels within one, half of it for rounding. Otherwise the mean within 1 % of the source's range, and 99 % of the
    voxels within a fifth of it; or within what linear interpolation differs by, and a fifth more.
    """
    found = _averages(pair)
    if found is None:
        return None
    step = max(abs(image.rescale[0]) for image in pair.source)
    mean, p99 = _differences(found.new - found.old, found.valid)
    allowed = 0.5 * step, step
    if not _is_corrected(pair):
        low, high = np.percentile(found.old[found.valid], (1, 99))
        usual = _differences(found.linear - found.old, found.valid)
        allowed = max(0.5 * step, 0.01 * (high - low), 1.2 * usual[0]), max(step, 0.2 * (high - low), 1.2 * usual[1])
    if mean > allowed[0]:
        return f"averaged over the slice profile, the mean differs by {mean / step:.3g} stored units"
    if p99 > allowed[1]:
        return f"averaged over the slice profile, 1 % of the voxels differ by {p99 / step:.3g} stored units or more"
    return None


def _differences(errors: np.ndarray, valid: np.ndarray) -> tuple[float, float]:
    """Returns the magnitude of the mean, and the 99th percentile of the magnitudes."""
    inside = errors[valid]
    return abs(float(inside.mean(dtype=np.float64))), float(np.percentile(np.abs(inside), 99))


def marker(pair: SeriesPair) -> str | None:
    """V-11o: the centroid of the brightest spot moves by at most 0.1 voxel of the source.

    It is that of the averages over the slice profile, on the grid of the source. Of a series that is not corrected it
    may move by a fifth more than with linear interpolation.
    """
    found = _averages(pair)
    if found is None or np.ptp(found.old[found.valid]) == 0:
        return None
    background = float(np.percentile(found.old[found.valid], 1))
    peak = np.unravel_index(int(np.argmax(np.where(found.valid, found.old, -np.inf))), found.old.shape)
    box = tuple(slice(max(p - n, 0), p + n + 1) for p, n in zip(peak, _WINDOW, strict=True))
    before, after, usual = (
        _centroid(np.where(found.valid[box], values[box], background), background)
        for values in (found.old, found.new, found.linear)
    )
    moved = np.abs(after - before).max()
    allowed = 0.1 if _is_corrected(pair) else max(0.1, 1.2 * np.abs(usual - before).max())
    return f"the centroid of the brightest spot moved by {moved:.2g} voxels" if moved > allowed else None


def _centroid(values: np.ndarray, background: float) -> np.ndarray:
    """Returns the centroid, in indices, of what exceeds half of the maximum over the background, or infinity."""
    excess = np.clip(values - (background + (values.max() - background) / 2), 0, None)
    total = excess.sum(dtype=np.float64)
    if total <= 0:
        return np.full(3, np.inf)
    return np.array([(np.indices(values.shape)[axis] * excess).sum(dtype=np.float64) / total for axis in range(3)])


RULES = {
    "V-11k": stored_values,
    "V-11l": padding,
    "V-11m": limits,
    "V-11n": averages,
    "V-11o": marker,
}
