"""Scores of a restored volume against the thin original, in three dimensions (V-13).

All measures are defined on the voxels of the original. Their texts in `DEFINITIONS` are part of the protocol.
"""

import dataclasses
import functools
import math

import numpy as np

from tfmisr import metrics

PLANES = ("axial", "coronal", "sagittal")  # slice axis 0, 1, 2 of an array (slices, rows, columns) of axial slices
SLICES = 64  # of each plane; a head of 256 slices costs half a minute otherwise
_EDGES = 20_000
_RANGE = (0.1, 99.9)  # percentiles
_BANDWIDTH = 2.0  # window of an edge's profile on each side, in thick slices

DEFINITIONS = (
    "PSNR over all voxels and over the foreground, peak: 0.1 to 99.9 percentile of the truth; "
    "foreground: truth above its Otsu threshold (256 bins); "
    "SSIM Gaussian 11x11 sigma 1.5 (Wang 2004) and HaarPSI_MED C=5 alpha=4.9 (Karner 2025): mean over "
    f"at most {SLICES} evenly spaced slices with foreground of each plane of the array, clipped to the peak's range; "
    "edge FWHM: median in mm of the full width at half maximum of the derivative along the slice axis, at the truth's "
    "edges across it (derivative along the slices above 10 % of the peak, a local maximum and above those in plane); "
    "detail energy: energy beyond the thick slices' Nyquist frequency along the slice axis (Hann window) over that of "
    "the truth; detail correlation: correlation of the two in this band; "
    "bias: mean difference in the foreground, in the volume's unit; volume error: volume above the threshold over that "
    "of the truth, minus 1"
)


@dataclasses.dataclass(frozen=True)
class Truth:
    """A thin volume and what all methods are measured with.

    Args:
        values: float32 (slices, rows, columns).
        spacing: mm along these axes.
        thick: Distance between the thick slices in mm.
        threshold: Of the volume error, in the volume's unit; `None`: Otsu's.

    Attributes:
        low: What is black, 0.1 percentile.
        peak: Range up to the 99.9 percentile.
        otsu: Otsu's threshold.
        foreground: Voxels above it.
    """

    values: np.ndarray
    spacing: tuple[float, float, float]
    thick: float
    threshold: float | None = None
    low: float = dataclasses.field(init=False)
    peak: float = dataclasses.field(init=False)
    otsu: float = dataclasses.field(init=False)
    foreground: np.ndarray = dataclasses.field(init=False, repr=False)

    @functools.cached_property
    def edge_width(self) -> float:
        """The edge width of the original itself, mm."""
        return edge_width(self, self.values)

    def __post_init__(self):
        low, high = np.percentile(self.values, _RANGE)
        if not high > low:
            raise ValueError("the volume has one value only; there is nothing to measure")
        otsu = otsu_threshold(self.values)
        found = {"low": float(low), "peak": float(high - low), "otsu": otsu, "foreground": self.values > otsu}
        for name, value in found.items():
            object.__setattr__(self, name, value)


def measure(truth: Truth, values: np.ndarray) -> dict[str, float]:
    """Returns the scores of a restored volume by name.

    Args:
        truth: The thin original.
        values: float32 of the same shape and unit.

    Raises:
        ValueError: The shapes differ.
    """
    if values.shape != truth.values.shape:
        raise ValueError(f"expected a volume of shape {truth.values.shape}. Received: {values.shape}")
    error = values.astype(np.float64) - truth.values
    inside = error[truth.foreground]
    scores = {"psnr": _psnr(error, truth.peak), "psnr_foreground": _psnr(inside, truth.peak)}
    for axis, plane in enumerate(PLANES):
        scores |= _plane_scores(truth, values, axis, plane)
    energy, correlation = detail(truth.values, values, truth.spacing[0], truth.thick)
    scores |= {"edge_fwhm": edge_width(truth, values), "edge_fwhm_truth": truth.edge_width}
    scores |= {"detail_energy": energy, "detail_correlation": correlation}
    return scores | {"bias": float(inside.mean()), "volume_error": volume_error(truth, values)}


def otsu_threshold(values: np.ndarray, bins: int = 256) -> float:
    """Returns the threshold between two classes of values with the largest variance between them.

    Reference:
        Otsu, A Threshold Selection Method from Gray-Level Histograms, IEEE Trans. SMC 1979,
        https://doi.org/10.1109/TSMC.1979.4310076
    """
    counts, edges = np.histogram(values, bins)
    centers = (edges[1:] + edges[:-1]) / 2
    weight, mean = np.cumsum(counts)[:-1], np.cumsum(counts * centers)
    between = (mean[-1] * weight / counts.sum() - mean[:-1]) ** 2 / np.maximum(
        weight * (counts.sum() - weight.astype(np.float64)), 1
    )
    # Empty bins between the classes have equal variance: the middle of them.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float(edges[1:-1][best].mean())


def _psnr(error, peak):
    squared = float(np.mean(np.square(error)))
    return 10 * math.log10(peak**2 / squared) if squared else math.inf


def _plane_scores(truth, values, axis, plane):
    places = np.flatnonzero(truth.foreground.any(axis=tuple(k for k in range(3) if k != axis)))
    places = places[np.unique(np.linspace(0, len(places) - 1, min(SLICES, len(places))).round().astype(int))]
    found = []
    for place in places:
        pair = [_shown(np.take(volume, place, axis), truth) for volume in (truth.values, values)]
        found.append([metrics.ssim(*pair, 1.0), metrics.haarpsi(*pair, 1.0, medical=True)])
    ssim, haarpsi = np.mean(found, axis=0)
    return {f"ssim_{plane}": float(ssim), f"haarpsi_med_{plane}": float(haarpsi)}


def _shown(image, truth):
    return np.clip((image.astype(np.float64) - truth.low) / truth.peak, 0, 1)


def detail(truth: np.ndarray, values: np.ndarray, spacing: float, thick: float) -> tuple[float, float]:
    """Returns energy over that of the truth, and correlation with it, beyond the thick slices' Nyquist frequency.

    Args:
        truth: (slices, rows, columns).
        values: The same shape.
        spacing: mm between the slices.
        thick: mm between the thick slices; frequencies above `1 / (2 thick)` count.

    Returns:
        nan where the truth has no such energy; the correlation of a volume without any is 0.
    """
    window = np.hanning(len(truth) + 2)[1:-1].astype(np.float32)
    band = np.fft.rfftfreq(len(truth), spacing) > 1 / (2 * thick)
    own = other = cross = 0.0
    for rows in range(truth.shape[1]):  # one coronal plane at a time: the spectra of a volume are twice its size
        first, second = (np.fft.rfft(part[:, rows] * window[:, None], axis=0)[band] for part in (truth, values))
        own += float(np.sum(np.abs(first) ** 2))
        other += float(np.sum(np.abs(second) ** 2))
        cross += float(np.sum((first * second.conj()).real))
    if not own:
        return math.nan, math.nan
    return other / own, cross / math.sqrt(own * other) if other else 0.0


def edge_width(truth: Truth, values: np.ndarray) -> float:
    """Returns the median full width at half maximum of edges across the slice axis, in mm.

    An edge whose derivative does not fall to half within two thick slices counts with that width.

    Returns:
        nan where the truth has no such edge.
    """
    places, signs = edges_of(truth)
    if not len(places[0]):
        return math.nan
    side = math.ceil(_BANDWIDTH * truth.thick / truth.spacing[0])
    offsets = np.arange(-side, side + 1)
    depth = np.clip(places[0][:, None] + offsets, 0, len(values) - 2)
    columns = places[1][:, None], places[2][:, None]
    slopes = signs[:, None] * (values[(depth + 1, *columns)] - values[(depth, *columns)]).astype(np.float64)
    return float(np.median(_widths(slopes, truth.thick / truth.spacing[0]))) * truth.spacing[0]


def edges_of(truth: Truth) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Returns the edges across the slice axis: indices (slice before it, row, column), and its sign."""
    slope = np.diff(truth.values, axis=0) / truth.spacing[0]
    steep = np.abs(slope)
    in_plane = np.zeros_like(steep)
    for axis in (1, 2):
        gradient = np.abs(np.gradient(truth.values, truth.spacing[axis], axis=axis))
        np.maximum(in_plane, np.maximum(gradient[1:], gradient[:-1]), out=in_plane)
    found = (steep > 0.1 * truth.peak / truth.spacing[0]) & (steep > in_plane)
    found[1:] &= steep[1:] >= steep[:-1]
    found[:-1] &= steep[:-1] > steep[1:]
    margin = min(math.ceil(truth.thick / truth.spacing[0]), len(steep) // 4)
    found[:margin] = found[len(found) - margin :] = False
    places = np.flatnonzero(found)
    places = places[np.unique(np.linspace(0, len(places) - 1, min(_EDGES, len(places))).round().astype(int))]
    indices = np.unravel_index(places, found.shape)
    return indices, np.sign(slope[indices])


def _widths(slopes, ratio):
    """Returns the widths of the peaks of (edges, samples), in samples; the peak is sought within half a thick slice."""
    middle, near = slopes.shape[1] // 2, max(1, round(ratio / 2))
    start = middle - near
    peak = start + np.argmax(slopes[:, start : middle + near + 1], axis=1)
    half = slopes[np.arange(len(slopes)), peak] / 2
    sides = [_fall(slopes, peak, half, step) for step in (-1, 1)]
    widths = np.where(half > 0, sides[0] + sides[1], np.inf)  # no edge is left: as wide as the window
    return np.minimum(widths, slopes.shape[1] - 1)


def _fall(slopes, peak, half, step):
    """Returns the distance from the peak to where the slope falls to half of it, linear between samples."""
    rows, distance = np.arange(len(slopes)), np.full(len(slopes), np.inf)
    for shift in range(1, slopes.shape[1]):
        at = peak + step * shift
        inside = (at >= 0) & (at < slopes.shape[1]) & np.isinf(distance)
        now = slopes[rows, np.clip(at, 0, slopes.shape[1] - 1)]
        before = slopes[rows, np.clip(at - step, 0, slopes.shape[1] - 1)]
        crossing = inside & (now <= half)
        drop = np.where(before > now, before - now, 1)
        distance[crossing] = (shift - 1 + np.clip((before - half) / drop, 0, 1))[crossing]
    return distance


def volume_error(truth: Truth, values: np.ndarray) -> float:
    """Returns the relative error of the volume above the threshold; nan where the truth has none there."""
    threshold = truth.otsu if truth.threshold is None else truth.threshold
    own = int(np.count_nonzero(truth.values > threshold))
    return int(np.count_nonzero(values > threshold)) / own - 1 if own else math.nan
