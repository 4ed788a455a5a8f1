"""Runs a plane network of a `.tflite` file: refines planes perpendicular to the slices (V-09).

A plane comes interpolated along the slice axis by cubic splines; the network returns what is added to it. Needs NumPy
and LiteRT.
"""

import os
import pathlib

import numpy as np

from tfmisr.edge import card, plane_card, runtime
from tfmisr.edge.errors import InputError


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

    def require(self, ratio: float, profile: str, fwhm: float) -> None:
        """Refuses a volume unlike those that the network was trained on; see `tfmisr.edge.plane_card.mismatch`.

        Raises:
            InputError: The ratio or the profile is outside the ranges of the card.
        """
        if found := plane_card.mismatch(self.card, ratio, profile, fwhm):
            raise InputError(f"{self.name} was trained for {found}; train another, or use --force")


class PlaneNetwork(runtime.Model):
    """The network of the file for one plane (height, width, 1); arguments as of `tfmisr.edge.runtime.Model`."""

    kind = plane_card.KIND

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
