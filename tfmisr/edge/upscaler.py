"""A uniform interface to interpolations, classical methods, Keras networks and LiteRT models."""

import dataclasses
from collections.abc import Callable

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted


@dataclasses.dataclass(frozen=True, repr=False)
class Upscaler:
    """One way to enlarge an image.

    Attributes:
        name: What tables call it.
        function: From float32 (height, width, channels) in [0, 1] and a scale to the enlarged image, not clipped;
            a third argument converts each part of it before it is stored, a fourth is the type of the result.
        scale: The factor it was made for; `None` for any.
        channels: The channels it was made for; `None` for any.
        parameters: Number of its weights.
        config: Fields of the run that made it; empty where unknown.
        weights_sha256: Digest of its weights in hexadecimal digits; empty for an interpolation.
    """

    name: str
    function: Callable[..., np.ndarray]
    scale: int | None = None
    channels: int | None = None
    parameters: int = 0
    config: dict = dataclasses.field(default_factory=dict)
    weights_sha256: str = ""

    def __repr__(self) -> str:
        return f"Upscaler({self.name!r}, scale={self.scale}, channels={self.channels}, parameters={self.parameters:,})"

    def __call__(self, lr: np.ndarray, scale: int, max_val: int | None = None) -> np.ndarray:
        """Returns `lr` enlarged.

        Args:
            lr: float32 array (height, width, channels) in [0, 1].
            scale: Factor.
            max_val: Full-scale value of the result, then of 8 or 16 bits; `None`: float32, not clipped.

        Raises:
            InputError: The image's channels or the scale are not what this was made for.
        """
        if self.channels not in (None, lr.shape[-1]):
            raise InputError(
                f"{self.name} takes images of {counted(self.channels, 'channel')}. Received: {lr.shape[-1]}"
            )
        if self.scale not in (None, scale):
            raise InputError(f"{self.name} enlarges {self.scale} times. Received: scale={scale}")
        if max_val is None:
            return self.function(lr, scale)
        return self.function(lr, scale, lambda part: to_levels(part, max_val), _dtype(max_val))


def to_levels(image: np.ndarray, max_val: int) -> np.ndarray:
    """Returns an image in [0, 1] clipped and rounded to whole numbers up to `max_val`, 8 or 16 bits wide."""
    return np.rint(np.clip(image, 0.0, 1.0) * np.float32(max_val)).astype(_dtype(max_val))


def _dtype(max_val: int) -> type[np.unsignedinteger]:
    return np.uint8 if max_val <= 255 else np.uint16
