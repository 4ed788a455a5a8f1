"""Linear observers of a known signal at a known place: a template from windows, and its ratings of other windows.

Windows are float arrays `(count, side, side)` in levels. `absent` are backgrounds and `present` backgrounds with the
signal; a rating is the sum of the products of window and template, larger where the signal seems present.

Barrett and Myers, Foundations of Image Science, 2004, section 14.3.
"""

import dataclasses

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.observers import channels as channel_sets

LEAST_WINDOWS_PER_CHANNEL = 10


@dataclasses.dataclass(frozen=True)
class ChannelizedHotelling:
    """Channelized Hotelling observer (CHO): weighs channel responses by the inverse of their covariance.

    Args:
        channels: Name in `tfmisr.observers.channels.CHANNELS`.
        internal_noise: Standard deviation, in levels, of white noise that the observer adds to each pixel.

    Reference:
        Myers and Barrett, Addition of a channel mechanism to the ideal-observer model, JOSA A 1987,
        https://doi.org/10.1364/JOSAA.4.002447
    """

    channels: str = "ddog"
    internal_noise: float = 0.0

    def template(self, absent: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Returns the template `(side, side)` that training windows give.

        Args:
            absent: Windows without the signal.
            present: Windows with it.

        Raises:
            InputError: There are fewer than ten windows of a class for each channel.
        """
        matrix = channel_sets.create(self.channels, absent.shape[1])
        least = LEAST_WINDOWS_PER_CHANNEL * len(matrix)
        if min(len(absent), len(present)) < least:
            raise InputError(
                f"expected at least {least} windows of each class for {len(matrix)} channels ({self.channels}), "
                f"received {min(len(absent), len(present))}; use more images, or channels ddog"
            )
        responses = [windows.reshape(len(windows), -1) @ matrix.T for windows in (absent, present)]
        # White noise of the pixels is noise with covariance `M M^T` of the channels.
        covariance = sum(np.cov(r, rowvar=False) for r in responses) / 2
        covariance += self.internal_noise**2 * matrix @ matrix.T
        weights = np.linalg.solve(covariance, responses[1].mean(0) - responses[0].mean(0))
        return (weights @ matrix).reshape(absent.shape[1:])

    def ratings(self, template: np.ndarray, windows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the ratings of windows, float64 `(count,)`, with the observer's internal noise."""
        return _ratings(template, windows, self.internal_noise, rng)


@dataclasses.dataclass(frozen=True)
class NonPrewhitening:
    """Non-prewhitening matched filter (NPW): the mean signal is the template, whatever the noise; with an eye filter.

    Args:
        eye_filter: Weigh spatial frequencies by a human contrast sensitivity (NPWE).
        pixels_per_degree: For the eye filter: pixels of the image in one degree of the visual field.
        internal_noise: As of `ChannelizedHotelling`.

    Reference:
        Burgess, Statistically defined backgrounds: performance of a modified nonprewhitening observer model, JOSA A
        1994, https://doi.org/10.1364/JOSAA.11.001237; the eye filter is `f^1.3 exp(-0.04 f^2)`, f in cycles per degree,
        of Burgess, Li and Abbey, Visual signal detectability with two noise components, JOSA A 1997,
        https://doi.org/10.1364/JOSAA.14.002420
    """

    eye_filter: bool = False
    pixels_per_degree: float = 32.0
    internal_noise: float = 0.0

    def template(self, absent: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Returns the template `(side, side)`: the mean difference, filtered twice by the eye; of mean 0."""
        signal = present.mean(0, dtype=np.float64) - absent.mean(0, dtype=np.float64)
        if self.eye_filter:
            f = np.fft.fftfreq(len(signal)) * self.pixels_per_degree
            f = np.hypot(f[:, None], f[None, :])
            eye = f**1.3 * np.exp(-0.04 * f**2)
            # The window is filtered and so is the template; by symmetry the template carries both.
            signal = np.fft.ifft2(np.fft.fft2(signal) * eye**2).real
        return signal - signal.mean()

    def ratings(self, template: np.ndarray, windows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the ratings of windows, float64 `(count,)`, with the observer's internal noise."""
        return _ratings(template, windows, self.internal_noise, rng)


def _ratings(template, windows, internal_noise, rng):
    ratings = windows.reshape(len(windows), -1).astype(np.float64) @ template.ravel()
    # The sum of independent noise of all pixels, weighed by the template, has this standard deviation.
    return ratings + internal_noise * np.linalg.norm(template) * rng.standard_normal(len(windows))
