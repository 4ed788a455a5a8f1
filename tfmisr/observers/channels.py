"""Channels of a channelized Hotelling observer: band-pass filters that reduce a window to a few numbers.

A channel set is a float64 matrix `(channels, side * side)`; the responses of windows `(count, side, side)` are
`windows.reshape(count, -1) @ matrix.T`. Channels are centered on the pixel `(side // 2, side // 2)`, where signals are.
"""

import functools
from collections.abc import Callable

import numpy as np
from scipy import special

from tfmisr.edge.errors import check_name

_SIDE = 64  # of the window for which the frequencies below are published


def _frequencies(side):
    """Returns the spatial frequencies of an FFT in cycles per pixel, `(side, side)`."""
    f = np.fft.fftfreq(side)
    return np.hypot(f[:, None], f[None, :])


def _grid(side):
    y, x = np.mgrid[:side, :side] - side // 2
    return y.astype(np.float64), x.astype(np.float64)


def _from_spectra(spectra):
    """Returns channels with these real spectra, centered in the window and of norm 1."""
    images = np.fft.fftshift(np.fft.ifft2(spectra).real, axes=(1, 2))
    return _normalized(images)


def _normalized(images):
    flat = images.reshape(len(images), -1)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def dense_difference_of_gaussians(side: int, count: int = 10) -> np.ndarray:
    """Returns dense difference-of-Gaussian channels, rotationally symmetric, one octave every two channels.

    `C_j(f) = exp(-(f / (Q s_j))^2 / 2) - exp(-(f / s_j)^2 / 2)` with `s_j = 0.005 * 1.4^j` cycles per pixel and
    `Q = 1.67`.

    Args:
        side: Side of the window in pixels.
        count: Number of channels.

    Reference:
        Abbey and Barrett, Human- and model-observer performance in ramp-spectrum noise: effects of regularization and
        object variability, JOSA A 2001, https://doi.org/10.1364/JOSAA.18.000473
    """
    f = _frequencies(side)
    widths = 0.005 * 1.4 ** np.arange(1, count + 1)[:, None, None]
    return _from_spectra(np.exp(-0.5 * (f / (1.67 * widths)) ** 2) - np.exp(-0.5 * (f / widths) ** 2))


def gabor(side: int, orientations: int = 8, phases: int = 2) -> np.ndarray:
    """Returns Gabor channels: four octaves from 1/64 to 1/4 cycles per pixel, 8 orientations, 2 phases: 64 in all.

    Args:
        side: Side of the window in pixels.
        orientations: Number of orientations, evenly over 180 degrees.
        phases: Number of phases, 0 and 90 degrees.

    Reference:
        Wunderlich and Noo, Image covariance and lesion detectability in direct fan-beam x-ray computed tomography,
        Physics in Medicine and Biology 2008, https://doi.org/10.1088/0031-9155/53/10/002
    """
    y, x = _grid(side)
    channels = []
    for center in (3 / 128, 3 / 64, 3 / 32, 3 / 16):  # middles of the octaves 1/64-1/32 ... 1/8-1/4
        width = 4 * np.log(2) / (np.pi * center * 2 / 3)  # full width at half maximum for one octave
        envelope = np.exp(-4 * np.log(2) * (x**2 + y**2) / width**2)
        for angle in np.pi * np.arange(orientations) / orientations:
            along = x * np.cos(angle) + y * np.sin(angle)
            channels += [
                envelope * np.cos(2 * np.pi * center * along - phase) for phase in np.pi / 2 * np.arange(phases)
            ]
    return _normalized(np.stack(channels))


def laguerre_gauss(side: int, count: int = 6, width: float = 12.0) -> np.ndarray:
    """Returns Laguerre-Gauss channels, `exp(-pi r^2 / a^2) L_j(2 pi r^2 / a^2)`, for smooth symmetric signals.

    Args:
        side: Side of the window in pixels.
        count: Number of channels.
        width: Width `a` in pixels.

    Reference:
        Gallas and Barrett, Validating the use of channels to estimate the ideal linear observer, JOSA A 2003,
        https://doi.org/10.1364/JOSAA.20.001725
    """
    y, x = _grid(side)
    g = 2 * np.pi * (x**2 + y**2) / width**2
    return _normalized(np.stack([np.exp(-g / 2) * special.eval_laguerre(j, g) for j in range(count)]))


CHANNELS: dict[str, Callable[[int], np.ndarray]] = {
    "ddog": dense_difference_of_gaussians,
    "gabor": gabor,
    "laguerre_gauss": laguerre_gauss,
}


@functools.cache
def create(name: str, side: int) -> np.ndarray:
    """Returns a channel set by name for windows of `side` pixels.

    Raises:
        InputError: There is no such channel set.
    """
    check_name("channels", name, list(CHANNELS))
    return CHANNELS[name](side)
