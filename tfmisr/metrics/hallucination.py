"""Hallucinated patches by scanning Fourier ring correlation (sFRC).

Fourier ring correlation compares the spectra of two images ring by ring: 1 where they agree, 0 where they have nothing
in common. sFRC scans both images with patches of 64 x 64 pixels and marks those whose correlation falls below 0.5
already at a low spatial frequency: there the restored image shows other structures than the reference, not just less
detail. What it marks is a candidate for a reader to look at; a blurred patch can be marked too.

Kc, Zeng, Soni, Badano, sFRC for assessing hallucinations in medical image restoration, 2026,
https://arxiv.org/abs/2603.04673. The published counts (21 patches of SRGAN and 22 of SR-WGAN on five CT slices) are
those of the authors' program, which departs from the paper's formula in three places; `sfrc` does the same, so that
its counts compare with theirs, and `sfrc_hann` follows the formula:

1. The program multiplies each windowed patch by its own transpose.
2. Its last patch of each row and column lacks the image's last pixel and is filled with zeros.
3. Its frequency axis ends at the Nyquist frequency with the last of 32 rings, which lies at 31/32 of it.
"""

import numpy as np

from tfmisr.metrics._metric import Metric
from tfmisr.metrics._region import luma, pair
from tfmisr.metrics.ct_windows import CT_MAX_VAL

SIDE = 64  # of a patch
FRC_THRESHOLD = 0.5
# The authors' threshold for CT is 0.33 line pairs per mm at pixels of 0.48 mm. In cycles per pixel:
HALLUCINATION_THRESHOLD = 0.33 * 0.48
# Patches of air are left out: a tenth of the pixels must be above 200, and the mean above 150, of `HU + 1024`, or of
# images whose maximum is 2686.
_AIR_PIXEL, _AIR_MEAN, _AIR_FULL_SCALE, _AIR_SHARE = 200, 150, 2686, 0.1

_HANN = np.hanning(SIDE)
_RADIUS = np.hypot(*np.meshgrid(*2 * [np.arange(SIDE) - SIDE // 2]))
_RINGS = SIDE // 2
_ROUNDING = 1e-20  # power of a ring, of the total, that is rounding of float64
# A pixel between two radii belongs half to each ring. Matrix (rings, pixels).
_RING_SUMS = sum(np.arange(_RINGS)[:, None] == part(_RADIUS).ravel() for part in (np.floor, np.ceil)) / 2


def marked_patches(
    y_true: np.ndarray, y_pred: np.ndarray, max_val: float, as_published: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which patches of 64 x 64 pixels hold a hallucination, and which were tested.

    Args:
        y_true: The reference, `(height, width)` or `(height, width, channels)`; RGB is measured by its luma.
        y_pred: The restored image, of the same shape.
        max_val: Value of a full-scale pixel. With 4095 images are CT slices of `HU + 1024`, else air is what is dark
            for the reference's own maximum.
        as_published: As the authors' program rather than as the paper's formula; see above.

    Returns:
        Two bool arrays `(rows, columns)` of patches, from the top left. A patch is tested unless its reference is air.
    """
    images = [luma(image) for image in pair(y_true, y_pred, max_val)]
    true, pred = (_patches(image, as_published) for image in images)
    tested = _not_air(true, 1.0 if max_val == CT_MAX_VAL else images[0].max() / _AIR_FULL_SCALE)
    marked = np.zeros_like(tested)
    frequencies = np.linspace(0, 0.5, _RINGS) if as_published else np.arange(_RINGS) / SIDE
    for index in np.argwhere(tested):
        patches = true[tuple(index)], pred[tuple(index)]
        marked[tuple(index)] = _first_below(*patches, frequencies, as_published) < HALLUCINATION_THRESHOLD
    return marked, tested


def _patches(image, as_published):
    """Returns the patches, `(rows, columns, 64, 64)`, those beyond the image filled with zeros."""
    rows, columns = (-(-side // SIDE) for side in image.shape)
    height, width = image.shape if not as_published else (side - 1 for side in image.shape)
    filled = np.zeros((rows * SIDE, columns * SIDE))
    filled[:height, :width] = image[:height, :width]
    return filled.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2)


def _not_air(patches, scale):
    bright = (patches > _AIR_PIXEL * scale).sum((2, 3)) > int(_AIR_SHARE * SIDE**2)
    return bright & (patches.mean((2, 3)) > _AIR_MEAN * scale)


def _first_below(true, pred, frequencies, as_published):
    """Returns the frequency, in cycles per pixel, at which the correlation first crosses the threshold, or infinity."""
    if np.array_equal(true, pred):
        return np.inf
    if not (np.ptp(true) and np.ptp(pred)):
        return 0.0  # a structure that the other image lacks altogether
    curve = fourier_ring_correlation(*(_windowed(patch, as_published) for patch in (true, pred))) - FRC_THRESHOLD
    if curve[0] < 0:
        return 0.0
    below = np.flatnonzero(curve <= 0)
    if not len(below):
        return np.inf
    i = below[0]
    step = frequencies[1]
    return frequencies[i] - step * curve[i] / (curve[i] - curve[i - 1]) if curve[i] else frequencies[i]


def _windowed(patch, as_published):
    patch = (patch - patch.min()) / np.ptp(patch)
    if not as_published:
        return patch * _HANN[:, None] * _HANN
    rows = patch * _HANN[:, None]
    return rows * rows.T


def fourier_ring_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the Fourier ring correlation of two patches `(64, 64)` on 32 rings, `i` cycles per patch, in [0, 1].

    Reference:
        Saxton and Baumeister, The correlation averaging of a regularly arranged bacterial cell envelope protein,
        Journal of Microscopy 1982, https://doi.org/10.1111/j.1365-2818.1982.tb00405.x
    """
    a, b = (np.fft.fftshift(np.fft.fft2(patch)).ravel() for patch in (a, b))
    powers = np.stack([_RING_SUMS @ np.abs(spectrum) ** 2 for spectrum in (a, b)])
    present = powers > _ROUNDING * powers.sum(axis=1, keepdims=True)
    both = present.all(axis=0)
    curve = np.where(present.any(axis=0), 0.0, 1.0)  # a ring that both images lack is alike, one of a single image not
    curve[both] = np.abs(_RING_SUMS @ (a * b.conj()).real)[both] / np.sqrt(powers.prod(axis=0)[both])
    return curve


def _count(y_true, y_pred, max_val, as_published):
    if min(pair(y_true, y_pred, max_val)[0].shape[:2]) < SIDE:
        return float("nan")
    marked, tested = marked_patches(y_true, y_pred, max_val, as_published)
    return float(marked.sum()) if tested.any() else float("nan")


def sfrc(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Number of hallucinated patches, counted as the authors' program does; see the module.

    nan where a side is shorter than 64 pixels or the reference is air.
    """
    return _count(y_true, y_pred, max_val, True)


SFRC = Metric(
    "sfrc",
    sfrc,
    "sFRC 64x64, FRC 0.5 below 0.1584 cycles/pixel, as the authors' program (Kc 2026)",
    "hallucinated patches (sFRC)",
    ".1f",
    "lower",
    ideal=0.0,
    undefined="a side is below 64 pixels, or the reference is all dark",
    interval=True,
    order=150,
)


def sfrc_hann(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Number of hallucinated patches by the paper's formula, with a plain Hann window; see the module.

    nan where a side is shorter than 64 pixels or the reference is air.
    """
    return _count(y_true, y_pred, max_val, False)


SFRC_HANN = Metric(
    "sfrc_hann",
    sfrc_hann,
    "sFRC 64x64, FRC 0.5 below 0.1584 cycles/pixel, Hann window (Kc 2026)",
    "hallucinated patches (sFRC, Hann)",
    ".1f",
    "lower",
    ideal=0.0,
    undefined="a side is below 64 pixels, or the reference is all dark",
    interval=True,
    order=151,
)
