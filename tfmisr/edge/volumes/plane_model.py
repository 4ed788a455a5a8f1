"""Runs a plane network of a `.tflite` file: refines planes perpendicular to the slices (V-09).

A plane comes interpolated along the slice axis by cubic splines; the network returns what is added to it. Needs NumPy
and LiteRT.
"""

import os
import pathlib
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from tfmisr.edge import card, plane_card, runtime
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import slice_scope
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.planes import Scale, UnitScale
from tfmisr.edge.volumes.slice_profile import SliceProfile
from tfmisr.edge.volumes.volume import Volume


class PlaneModel:
    """A plane network; `predict` of `tfmisr.edge.volumes.planes.upsample`. Not thread-safe: create one per thread.

    Planes are cut into windows that overlap by the receptive field, so memory is bounded and windows do not show.

    Args:
        path: The file, with the card that `python -m tfmisr.export` embeds.
        threads: Number of threads of the interpreter.

    Attributes:
        card: The model card: `profile`, `ratio_range`, `fwhm_range`, `spacing`, ...
        name: Name in texts.

    Raises:
        InputError: The file does not exist, has no card of a plane network, or LiteRT is not installed.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1) -> None:
        self._network = PlaneNetwork(path, threads)
        self.card, self.name = self._network.card, self._network.name

    def __call__(self, planes: np.ndarray) -> np.ndarray:
        """Refines a batch of planes.

        Args:
            planes: float32 (planes, height, width, 1), 0 to 1; height is the slice axis at the new spacing.

        Returns:
            float32 of the same shape, not clipped.
        """
        planes = np.asarray(planes, np.float32)
        if planes.ndim != 4:
            raise InputError(f"expected planes (planes, height, width, 1). Received: an array of shape {planes.shape}")
        refined = np.empty_like(planes)
        for plane, out in zip(planes, refined, strict=True):
            out[...] = self._network(plane)
        return refined

    def scale(self, volume: Volume, scale: Scale) -> UnitScale:
        """Returns the values of a volume that the network sees as 0 and 1.

        Args:
            volume: The acquired slices.
            scale: That of the source. A network that was trained on one volume alone (`intensities` of its card is
                `volume`) has that of `UnitScale.of` instead: the fixed scale of CT has several times less contrast.
        """
        own = self.card.get("intensities") == "volume"
        return UnitScale.of(volume.values) if own else UnitScale.like(scale)

    def mismatches(self, volume: Volume, grid: VolumeGrid, profile: SliceProfile, scale: Scale) -> list[str]:
        """Returns in what a volume is unlike those that the network was trained on; empty where it is like them.

        Args:
            volume: The acquired slices.
            grid: Grid of the new slices.
            profile: Profile of the acquired slices.
            scale: The values that the network sees as 0 and 1.
        """
        spacing = volume.grid.spacing[0]
        found = [plane_card.mismatch(self.card, spacing / grid.spacing[0], profile.kind, profile.fwhm / spacing)]
        deviations = self._deviations(volume, scale)
        if max(deviations.values(), default=0.0) > slice_scope.OUT_OF_SCOPE:
            found.append(slice_scope.sentence(deviations))
        return [text for text in found if text]

    def remarks(self, volume: Volume, grid: VolumeGrid, profile: SliceProfile, scale: Scale) -> list[str]:
        """Returns `mismatches`, and what is merely unusual of the slices, for texts."""
        found = self.mismatches(volume, grid, profile, scale)
        return list(dict.fromkeys(filter(None, [*found, slice_scope.sentence(self._deviations(volume, scale))])))

    def require(self, volume: Volume, grid: VolumeGrid, profile: SliceProfile, scale: Scale) -> None:
        """Refuses a volume unlike those that the network was trained on; see `mismatches`.

        Raises:
            InputError: The ratio, the profile or the slices are outside the ranges of the card.
        """
        if found := self.mismatches(volume, grid, profile, scale):
            raise InputError(f"{self.name} is for other volumes: {'; '.join(found)}; take another, or --force")

    def _deviations(self, volume: Volume, scale: Scale) -> dict[str, float]:
        if not self.card["slices"]:
            return {}
        return slice_scope.deviations(self.card["slices"], volume.values, scale.to_unit)


class PlaneNetwork(runtime.Model):
    """The network of the file for one plane (height, width, 1); arguments as of `tfmisr.edge.runtime.Model`."""

    kind = plane_card.KIND

    def _sizes(self, tile: int | None, max_tile: int | None) -> tuple[int | None, int | None]:
        """Returns windows whose places are multiples of the stride: all of them see the same pixels together."""
        stride, sizes = self.card["stride"], super()._sizes(tile, max_tile)
        if stride == 1:
            return sizes
        side = (sizes[0] or sizes[1] or runtime.TILE) // stride * stride
        return super()._sizes(max(side, 2 * self.card["overlap"] + stride), None)

    def __call__(
        self,
        lr: np.ndarray,
        convert: Callable | None = None,
        dtype: DTypeLike = np.float32,
        max_val: float | None = None,
    ) -> np.ndarray:
        """Refines a plane; one that is no multiple of the network's stride is mirrored up to it and cut again."""
        height, width = lr.shape[:2]
        stride = self.card["stride"]
        padded = np.pad(lr, ((0, -height % stride), (0, -width % stride), (0, 0)), "symmetric")
        return super().__call__(padded, convert, dtype, max_val)[:height, :width]

    def window(self, lr: np.ndarray) -> np.ndarray:
        """Returns one window refined; its outermost `overlap` pixels are valid only at the borders of the plane."""
        image = self.residual(lr)
        if self.card["skip"] == "none":
            return image
        if thresholds := self.card["gating_thresholds"]:
            image *= runtime.low_contrast_gate(lr, *thresholds)
        return image + lr


def load(path: str | os.PathLike, threads: int = 1, tile: int | None = None, consistency: bool = True) -> runtime.Model:
    """Returns the network of a `.tflite` file of either kind, for one image or plane (height, width, channels).

    Args:
        path: The file.
        threads: Number of threads of the interpreter.
        tile: Side of all windows; by default that of the card.
        consistency: Of a model that upscales: correct the result to agree with the input.

    Raises:
        InputError: As of `tfmisr.edge.runtime.Model`.
    """
    path = pathlib.Path(path)
    if path.is_file() and card.kind_of(path) == plane_card.KIND:
        return PlaneNetwork(path, threads, tile)
    return runtime.Model(path, threads, tile, consistency=consistency)
