"""Consistency with the input: corrects an upscaled image until its down-sampling gives the input, within rounding.

A network does not promise that its result, reduced as the input was, is the input again. Iterative back-projection
adds what is missing. Three things adapt it to images of stored integers: a dead zone, because the input was rounded
and an exact match would copy its rounding errors; pixels that the file clips ask for nothing beyond the range; and a
filter `P`, about the inverse of interpolation followed by down-sampling, so that few iterations suffice:

    e = shrink(y - A x, t)      shrink(e, t) = sign(e) max(|e| - t, 0)
    e = 0 where y is clipped and A x lies beyond it
    x = clip(x + U P e)

`A` is the degradation without its noise, `U` bicubic interpolation, `y` the input, `t` the dead zone. It excludes a
contradiction to the input, and no more: detail that the input does not determine (the null space of `A`) is untouched.

Reference:
    Irani and Peleg, Improving Resolution by Image Registration, CVGIP 1991; Bahat and Michaeli, Explorable Super
    Resolution, CVPR 2020 (consistency enforcing module); Morozov 1966 (discrepancy principle, for the dead zone)
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping

import numpy as np

from tfmisr.edge import banded, blas, tiling
from tfmisr.edge.errors import InputError

TAPS = 7  # of the symmetric filter P, from its middle on: 13 in all
_INTERPOLATION_RADIUS = 2  # low-resolution pixels
_LONGEST_KERNEL, _MOST_TAPS, _MOST_ITERATIONS = 256, 16, 10
_MOST_VALUES = 4352**2  # of the float32 window that is corrected at once: 76 MB, four windows for 8192 x 8192 pixels
_UNKNOWN_FULL_SCALE = 255  # of an image without stored levels: a wider dead zone corrects less, and amplifies nothing


@dataclasses.dataclass(frozen=True)
class Operator:
    """A degradation without noise: `log(K exp(g x)) / g`, or `K x` if `g` is 0, with a separable kernel `K`.

    Attributes:
        scale: Down-sampling factor.
        vertical: Weights over high-resolution rows; see `tfmisr.edge.banded.reduction`.
        horizontal: Weights over high-resolution columns.
        border: One of `tfmisr.edge.banded.BORDERS`.
        exponent: `g`, for degradations that act on exposure or amplitude of a logarithmic image.
    """

    scale: int
    vertical: tuple[float, ...]
    horizontal: tuple[float, ...]
    border: str = "renormalize"
    exponent: float = 0.0

    def __post_init__(self) -> None:
        if any(len(kernel) % 2 != self.scale % 2 for kernel in (self.vertical, self.horizontal)):
            raise InputError(
                f"expected a kernel as even or odd in length as the scale. Received: lengths {len(self.vertical)} and "
                f"{len(self.horizontal)} for scale {self.scale}; export the model again"
            )

    @classmethod
    def of(cls, described: str | Mapping, scale: int) -> "Operator":
        """Returns the operator that a model card describes: `bicubic`, or the fields of this class without `scale`."""
        if isinstance(described, str):
            if described != "bicubic":
                raise InputError(f"expected the operator bicubic or its kernels. Received: {described}")
            kernel = tuple(banded.bicubic_kernel(scale).tolist())
            return cls(scale, kernel, kernel)
        vertical, horizontal = (tuple(map(float, described[axis])) for axis in ("vertical", "horizontal"))
        return cls(scale, vertical, horizontal, described["border"], float(described["exponent"]))

    @property
    def radius(self) -> int:
        """Low-resolution pixels on each side of one whose high-resolution pixels it depends on."""
        longest = max(len(self.vertical), len(self.horizontal))
        return math.ceil((longest - self.scale) / 2 / self.scale)

    def reduce(self, image: np.ndarray) -> np.ndarray:
        """Returns the down-sampled image, not clipped and not rounded.

        Args:
            image: float32 array (scale * height, scale * width), any range.

        Returns:
            float32 array (height, width).
        """
        height, width = (side // self.scale for side in image.shape)
        vertical = banded.reducer(self.vertical, height, self.scale, self.border)
        horizontal = banded.reducer(self.horizontal, width, self.scale, self.border)
        if not self.exponent:
            return horizontal.along_columns(vertical.along_rows(image))
        exponent = np.float32(self.exponent)
        reduced = horizontal.along_columns(vertical.along_rows(np.exp(exponent * image)))
        return np.log(np.maximum(reduced, np.finfo(np.float32).tiny)) / exponent


@dataclasses.dataclass(frozen=True)
class Consistency:
    """The correction of the images of one model.

    Attributes:
        operator: The degradation that the model was trained on, without noise.
        iterations: Number of corrections.
        dead_zone: Deviation from the input that is left as it is, in stored levels of the input.
        noise: The same for noise: its standard deviation, as a fraction of the range [0, 1]. The larger of the two is
            used.
        taps: The filter `P` along one axis, the middle weight and those to its right.
        name: Name of the operator, for records.
    """

    operator: Operator
    iterations: int
    dead_zone: float
    noise: float
    taps: tuple[float, ...]
    name: str

    @classmethod
    def from_card(cls, fields: Mapping, scale: int) -> "Consistency":
        """Returns the correction that the card's field `consistency` describes; see `is_valid`."""
        described = fields["operator"]
        name = described if isinstance(described, str) else "kernel"
        operator, taps = Operator.of(described, scale), tuple(map(float, fields["taps"]))
        return cls(operator, fields["iterations"], float(fields["dead_zone"]), float(fields["noise"]), taps, name)

    @property
    def radius(self) -> int:
        """Low-resolution pixels on each side of one that its correction depends on: added to the overlap of tiles."""
        return self.iterations * (self.operator.radius + len(self.taps) - 1 + _INTERPOLATION_RADIUS)

    def __str__(self) -> str:
        noise = f" or {self.noise:.4g} of the range" if self.noise else ""
        return f"{self.name}, {self.iterations} iterations, dead zone {self.dead_zone:g} levels{noise}"

    def threshold(self, max_val: float | None) -> float:
        """Returns the dead zone as a fraction of the range [0, 1].

        Args:
            max_val: Full-scale value of the input's stored levels; `None` if unknown, then that of 8 bits.
        """
        return max(self.dead_zone / (max_val or _UNKNOWN_FULL_SCALE), self.noise)

    def grid(self, height: int, width: int, channels: int, overlap: int | None) -> Iterator[tuple]:
        """Yields the windows that are corrected at once, as `tfmisr.edge.tiling.grid`.

        They are larger than those of the network, which needs more memory for each pixel.

        Args:
            height: Height of the image in low-resolution pixels.
            width: Width of the image in low-resolution pixels.
            channels: Channels of the image.
            overlap: Overlap of the network's windows; `None` for a network that sees the full image.
        """
        if overlap is None:
            return tiling.grid(height, width, (height, width), 0)
        overlap += self.radius
        side = max(math.isqrt(_MOST_VALUES // channels) // self.operator.scale, 4 * overlap)
        return tiling.grid(height, width, tiling.fit(height, width, overlap, side), overlap)

    def correct(self, sr: np.ndarray, lr: np.ndarray, max_val: float | None = None) -> np.ndarray:
        """Corrects an image in place and returns it, clipped to [0, 1].

        Within a window of a larger image, the outermost `radius` low-resolution pixels are valid only at the borders
        of the image.

        Args:
            sr: float32 array (scale * height, scale * width, channels).
            lr: float32 array (height, width, channels) in [0, 1].
            max_val: Full-scale value of the stored levels of `lr`; `None`: see `threshold`.
        """
        np.clip(sr, 0.0, 1.0, out=sr)
        with blas.single_threaded():
            for channel in range(sr.shape[-1]):
                plane = np.ascontiguousarray(sr[..., channel])  # as BLAS needs it; of a gray image no copy
                self._correct(plane, np.ascontiguousarray(lr[..., channel]), self.threshold(max_val))
                sr[..., channel] = plane
        return sr

    def _correct(self, plane: np.ndarray, lr: np.ndarray, threshold: float) -> None:
        vertical, horizontal = (banded.corrector(self.taps, side, self.operator.scale) for side in lr.shape)
        black, white = lr <= 0, lr >= 1
        for _ in range(self.iterations):
            error = lr - self.operator.reduce(plane)
            error -= np.clip(error, -threshold, threshold)
            error[(black & (error > 0)) | (white & (error < 0))] = 0
            error = horizontal.along_columns(error)
            for rows, columns, block in vertical.blocks:
                plane[rows] += block @ error[columns]
                np.clip(plane[rows], 0.0, 1.0, out=plane[rows])


def describe(operator: str | dict, scale: int, iterations: int, dead_zone: float, noise: float) -> dict:
    """Returns the card's field `consistency`, with the taps that follow from the operator.

    Args:
        operator: As for `Operator.of`.
        scale: Down-sampling factor.
        iterations: See `Consistency`.
        dead_zone: See `Consistency`.
        noise: See `Consistency`.

    Raises:
        ValueError: The operator has no inverse filter; see `tfmisr.edge.banded.inverse_taps`.
    """
    kernels = Operator.of(operator, scale)
    both = [banded.inverse_taps(kernel, scale, TAPS) for kernel in (kernels.vertical, kernels.horizontal)]
    taps = [round(float(tap), 6) for tap in np.mean(both, axis=0)]
    return {
        "operator": operator,
        "iterations": iterations,
        "dead_zone": dead_zone,
        "noise": noise,
        "taps": taps,
    }


def is_valid(fields: object) -> bool:
    """Whether the card's field `consistency` is one that the runtime can follow; `None` is no correction."""
    if fields is None:
        return True
    if not isinstance(fields, dict):
        return False
    iterations, taps = fields["iterations"], fields["taps"]
    numbers = [fields["dead_zone"], fields["noise"], *taps]
    return (
        type(iterations) is int
        and 1 <= iterations <= _MOST_ITERATIONS
        and 1 <= len(taps) <= _MOST_TAPS
        and all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
        and min(fields["dead_zone"], fields["noise"]) >= 0
        and _is_operator(fields["operator"])
    )


def _is_operator(described: object) -> bool:
    if not isinstance(described, dict):
        return described == "bicubic"
    kernels = described["vertical"], described["horizontal"]
    return (
        described["border"] in banded.BORDERS
        and math.isfinite(described["exponent"])
        and all(2 <= len(kernel) <= _LONGEST_KERNEL for kernel in kernels)
        and all(math.isfinite(weight) for kernel in kernels for weight in kernel)
    )
