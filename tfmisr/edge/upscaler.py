"""A uniform interface to interpolations, classical methods, Keras networks and LiteRT models."""

import dataclasses
from collections.abc import Callable

import numpy as np

from tfmisr.edge.consistency import Operator
from tfmisr.edge.errors import InputError
from tfmisr.edge.half_width import HalfWidth
from tfmisr.edge.text import counted


@dataclasses.dataclass(frozen=True, repr=False)
class Upscaler:
    """A named method of upscaling images.

    Attributes:
        name: Name in tables.
        function: Maps float32 (height, width, channels) in [0, 1] and a scale to the upscaled image, not clipped. An
            optional third argument converts each part of it before it is stored, a fourth is the dtype of the result;
            with `consistency`, a fifth is the full-scale value of the input's stored levels.
        scale: The supported factor; `None` for any.
        channels: The supported number of channels; `None` for any.
        parameters: Number of weights.
        config: Configuration of the training run; empty if unknown.
        weights_sha256: SHA-256 of the weights in hexadecimal digits; empty for an interpolation.
        consistency: The correction that `function` applies, in words (`tfmisr.edge.consistency.Consistency`); empty
            without.
        operator: The degradation of the images that it was trained on, without noise, where a model card states it.
        half_width: Maps a level alpha to the calibrated half-width (`tfmisr.edge.half_width.HalfWidth`), for a file
            that was calibrated; `None` without.
        card: The model card of a `.tflite` file; empty for others.
    """

    name: str
    function: Callable[..., np.ndarray]
    scale: int | None = None
    channels: int | None = None
    parameters: int = 0
    config: dict = dataclasses.field(default_factory=dict)
    weights_sha256: str = ""
    consistency: str = ""
    operator: Operator | None = None
    half_width: Callable[[float], HalfWidth] | None = None
    card: dict = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Upscaler({self.name!r}, scale={self.scale}, channels={self.channels}, parameters={self.parameters:,})"

    def __call__(
        self, lr: np.ndarray, scale: int, max_val: int | None = None, levels: float | None = None
    ) -> np.ndarray:
        """Returns the upscaled image, (scale * height, scale * width, channels).

        Args:
            lr: float32 array (height, width, channels) in [0, 1].
            scale: Upsampling factor.
            max_val: Full-scale value of an integer result of 8 or 16 bits; `None` for float32, not clipped.
            levels: Full-scale value of the stored levels of `lr`; by default `max_val`.

        Raises:
            InputError: The number of channels or the scale is not supported.
        """
        if self.channels is not None and self.channels != lr.shape[-1]:
            raise InputError(
                f"{self.name} takes images of {counted(self.channels, 'channel')}. Received: {lr.shape[-1]}"
            )
        if self.scale not in (None, scale):
            raise InputError(f"{self.name} upscales by {self.scale}. Received: scale={scale}")
        rounding = (levels or max_val,) if self.consistency else ()
        if max_val is None:
            return self.function(lr, scale, None, np.float32, *rounding) if rounding else self.function(lr, scale)
        return self.function(lr, scale, lambda part: to_levels(part, max_val), _dtype(max_val), *rounding)


def to_levels(image: np.ndarray, max_val: int) -> np.ndarray:
    """Returns an image in [0, 1] clipped and rounded to integers from 0 to `max_val`: uint8 up to 255, else uint16."""
    return np.rint(np.clip(image, 0.0, 1.0) * np.float32(max_val)).astype(_dtype(max_val))


def _dtype(max_val: int) -> type[np.unsignedinteger]:
    return np.uint8 if max_val <= 255 else np.uint16
