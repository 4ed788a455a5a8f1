"""SMORE: the cross-planar self-supervised method that others are compared with, as published but for its size.

Zhao, Dewey, Pham, Calabresi, Reich and Prince, SMORE: A Self-Supervised Anti-Aliasing and Super-Resolution Algorithm
for MRI Using Deep Learning, IEEE TMI 2021, https://doi.org/10.1109/TMI.2020.3037187; first in Zhao et al., A Deep
Learning Based Anti-aliasing Self Super-resolution Algorithm for MRI, MICCAI 2018. Its successors are Remedios et al.,
Self-Supervised Super-Resolution for Anisotropic MR Images with and Without Slice Gap, SASHIMI 2023, and ECLARE, 2024.

1. In-plane slices, rotated by multiples of 30 degrees, are blurred by the slice profile along one axis, sampled at the
   distance of the thick slices and interpolated by a cubic spline again: pairs of low and high resolution.
2. EDSR (Lim et al., CVPR Workshops 2017) without upsampling is trained on their patches with the mean absolute error.
3. The volume is interpolated by the cubic spline along the slice axis. The network refines the planes of one
   orientation at the six rotations about the slice axis (which at 0 and 90 degrees are sagittal and coronal).
4. Fourier burst accumulation (Delbracio and Sapiro, IEEE TIP 2015) with p = infinity fuses the six volumes: each
   Fourier coefficient is the one of the largest magnitude.

Departures: the network predicts the difference from the interpolation, and its learning rate starts at 1e-3 and falls
to 0 along a half cosine, because it is trained for minutes; eight blocks of 32 filters instead of the larger EDSR. The
anti-aliasing network that precedes it for two-dimensional acquisitions is left out: the variant for three-dimensional
MR, whose profile is Gaussian. There is no consistency with the acquired slices.
"""

import math
import time
import typing

import keras
import numpy as np

from tfmisr import models
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import SliceProfile, Volume, VolumeGrid, planes, resampling
from tfmisr.edge.volumes.rotation import Rotation
from tfmisr.edge.volumes.slice_profile import thick_grid
from tfmisr.progress import bar

if typing.TYPE_CHECKING:
    from tfmisr.volumes.methods import Effort

NETWORK = "edsr/num_filters=32,num_blocks=8"
PATCH, BATCH = 32, 16
LEARNING_RATE = 1e-3
ROTATIONS = 6  # over 180 degrees
_PHASES = 8  # places of the thick slices among the pixels
_SLICES = 24  # that are rotated for training


def restore(thick: Volume, profile: SliceProfile, grid: VolumeGrid, effort: "Effort") -> np.ndarray:
    """Trains on the thick slices themselves and returns the values on a thinner grid.

    Args:
        thick: The acquired slices, rows and columns at equal spacing.
        profile: Their slice profile.
        grid: Target; differs only along the slice axis.
        effort: Steps or minutes, and the seed.

    Returns:
        float32, the shape of `grid`.

    Raises:
        InputError: The slices are too small for patches.
    """
    scale = planes.UnitScale.of(thick.values)
    unit = (thick.values - np.float32(scale.shift)) / np.float32(scale.max_val)
    patches = Patches(unit, profile, thick.grid.spacing[0], grid.spacing[0], effort.seed)
    network = train(patches, effort)

    def predict(batch):
        return np.asarray(network.predict_on_batch(batch)) + batch

    # Both planes at half of the rotations within 90 degrees are the planes of one orientation over 180 degrees.
    half = ROTATIONS // 2
    return planes.upsample(thick, grid, predict, fusion="fourier", rotations=half, scale=scale).values


class Patches:
    """Pairs of patches of rotated slices.

    Args:
        unit: The thick slices, (slices, rows, columns), 0 to 1.
        profile: Their slice profile.
        thick: mm between them.
        thin: mm between the slices of the result; a pixel stands for it.
        seed: Of slices, phases and places.

    Raises:
        InputError: The slices are smaller than a patch with its margins.
    """

    def __init__(self, unit: np.ndarray, profile: SliceProfile, thick: float, thin: float, seed: int):
        self._rng = np.random.default_rng([seed, 1])
        self._margin = math.ceil(3 * thick / thin)
        self._side = PATCH + 2 * self._margin
        if min(unit.shape[1:]) < self._side:
            raise InputError(
                f"SMORE needs slices of at least {self._side} x {self._side} pixels at this ratio. Received: "
                f"{unit.shape[1]} x {unit.shape[2]}"
            )
        self._matrices = _degradations(self._side, profile, thick, thin)
        used = np.unique(np.linspace(0, len(unit) - 1, min(_SLICES, len(unit))).round().astype(int))
        turns = [Rotation(180.0 * k / ROTATIONS, unit.shape[1:]) for k in range(ROTATIONS)]
        self._slices = np.concatenate([turn.forward(unit[used]) for turn in turns])

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns interpolated patches and what is missing in them: float32 (batch, 32, 32, 1)."""
        high = np.stack([self._window() for _ in range(BATCH)])
        matrix = self._matrices[self._rng.integers(len(self._matrices))]
        inner = slice(self._margin, self._margin + PATCH)
        low = np.einsum("ij,bjk->bik", matrix[inner], high[:, :, inner])[..., None].astype(np.float32)
        return low, high[:, inner, inner, None] - low

    def _window(self):
        plane = self._slices[self._rng.integers(len(self._slices))]
        top, left = (self._rng.integers(side - self._side + 1) for side in plane.shape)
        window = plane[top : top + self._side, left : left + self._side]
        return window.T if self._rng.random() < 0.5 else window


def _degradations(side, profile, thick, thin):
    """Returns matrices (side, side): averaged over the profile, sampled and interpolated, at several phases."""
    matrices = []
    for phase in np.arange(_PHASES) / _PHASES:
        fine = VolumeGrid((side, 1, 1), (thin, 1.0, 1.0), (0.0, 0.0, 0.0), _AXES)
        coarse = thick_grid(fine, thick)
        shift = (phase - 0.5) * min(thick, coarse.origin[2])
        origin = (0.0, 0.0, coarse.origin[2] + shift)
        coarse = VolumeGrid(coarse.shape, coarse.spacing, origin, coarse.directions)
        matrices.append(resampling.matrix(coarse, fine) @ profile.matrix(coarse, fine))
    return matrices


_AXES = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))


def train(patches: Patches, effort: "Effort") -> keras.Model:
    """Returns the network, trained until the steps or the minutes are over."""
    keras.utils.set_random_seed(effort.seed)
    network = models.create(NETWORK, scale=models.PLANE_SCALE, channels=1)
    network.compile(keras.optimizers.Adam(LEARNING_RATE), loss="mae")
    start, step, done = time.monotonic(), 0, 0.0
    with bar(total=effort.steps, desc="SMORE", unit=" steps", leave=False) as progress:
        while done < 1:
            network.optimizer.learning_rate.assign(LEARNING_RATE * (1 + math.cos(math.pi * done)) / 2)
            network.train_on_batch(*patches.batch())
            step += 1
            minutes = (time.monotonic() - start) / 60
            done = max(step / effort.steps if effort.steps else 0, minutes / effort.minutes if effort.minutes else 0)
            progress.update()
    return network
