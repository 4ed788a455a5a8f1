"""The self-check: does the network restore slices of the volume that it was not trained on better than the spline?

Held-out slices are thickened along each in-plane axis as the volume is along the slice axis, restored with the same
consistency, and scored against themselves. Consistency alone improves the spline, so the network must also be better
than the spline made consistent. This measures the in-plane axes of this volume: where the slice axis differs
from them, as for anatomy that is smoother in one direction or a wrong slice profile, it says less.
"""

import dataclasses
import math

import numpy as np

from tfmisr.edge.text import counted
from tfmisr.edge.volumes import planes
from tfmisr.edge.volumes.consistency import SliceConsistency
from tfmisr.volumes.patches import OwnSlices, foreground


@dataclasses.dataclass(frozen=True)
class SelfCheck:
    """What the held-out slices say.

    Attributes:
        spline: Foreground PSNR of the interpolation in dB; the peak is the volume's 99.9th percentile above its lowest.
        consistent: That of the interpolation made consistent.
        network: That of the network, made consistent.
        slices: Number of slices.
    """

    spline: float
    consistent: float
    network: float
    slices: int

    @property
    def gain(self) -> float:
        """dB over the interpolation."""
        return self.network - self.spline if math.isfinite(self.spline) else 0.0

    @property
    def passed(self) -> bool:
        """Whether the network is better than the interpolation, also than that made consistent."""
        return self.network > max(self.spline, self.consistent)

    @property
    def statement(self) -> str:
        """The result in one sentence."""
        found = (
            f"self-check on {counted(self.slices, 'held-out slice')}, thickened in plane: cubic spline "
            f"{self.spline:.2f} dB, made consistent {self.consistent:.2f} dB, network {self.network:.2f} dB "
            f"({self.gain:+.2f} dB over the spline)"
        )
        return found if self.passed else f"{found}; the network is no better, so the result is the cubic spline"


def check(slices: OwnSlices, predict: planes.Predict) -> SelfCheck:
    """Returns the self-check of a network.

    Args:
        slices: The volume, with the slices that were held out.
        predict: The network.
    """
    errors, pixels = np.zeros(3), 0
    for thick, degraded, sharp, lines in slices.check_pairs():
        restored = np.stack([predict(image[None, ..., None])[0, ..., 0] for image in degraded])
        corrected = degraded.copy()
        for images in (restored, corrected):
            _make_consistent(images, thick, lines, slices)
        inside = foreground(sharp)
        for index, images in enumerate((degraded, corrected, restored)):
            errors[index] += float(np.square(images - sharp, dtype=np.float64)[inside].sum())
        pixels += int(inside.sum())
    if errors[0] == 0:  # a constant volume: nothing to gain
        return SelfCheck(math.inf, math.inf, math.inf, len(slices.checked))
    psnr = [math.inf if error <= 0 else -10 * math.log10(error / pixels) for error in errors]
    return SelfCheck(*psnr, slices=len(slices.checked))


def _make_consistent(restored, thick, lines, slices):
    projection = SliceConsistency(slices.profile, lines.thick_grid, lines.thin_grid)
    for image, acquired in zip(restored, thick, strict=True):
        columns = image[:, None, :]  # a view: corrected in place
        projection.correct(columns, acquired[:, None, :])
