"""`Degradation`: a sequence of steps from a high-resolution image to the low-resolution one."""

import dataclasses

import numpy as np

from tfmisr.edge import arrays
from tfmisr.edge.errors import InputError


@dataclasses.dataclass(frozen=True, repr=False)
class Degradation:
    """Applies steps in order, then clips to [0, 1] and optionally rounds to the gray levels of the source.

    Args:
        steps: `Bicubic`, `GaussianBlur`, ...: one of them down-samples by the scale.
        quantize: Round the result to multiples of `1 / max_val`, as in a stored image.
    """

    steps: tuple
    quantize: bool = True

    def __repr__(self):
        return f"<degradation {self.describe()}>"

    def split(self) -> tuple["Degradation", "Degradation"]:
        """Returns the deterministic steps, to be computed once, and the rest, to be drawn again for each patch.

        Only a degradation without random steps is rounded in its first part.
        """
        first = next((i for i, step in enumerate(self.steps) if step.random), len(self.steps))
        first = 0 if self.reduces_at_random else first
        deterministic = dataclasses.replace(self, steps=self.steps[:first], quantize=self.quantize and self.fixed)
        return deterministic, dataclasses.replace(self, steps=self.steps[first:])

    @property
    def fixed(self) -> bool:
        """Whether the degradation is deterministic."""
        return not any(step.random for step in self.steps)

    @property
    def reduces_at_random(self) -> bool:
        """Whether a random step comes before down-sampling, so that each patch starts from high-resolution pixels."""
        first = next((i for i, step in enumerate(self.steps) if step.random), len(self.steps))
        return any(hasattr(step, "scale") for step in self.steps[first:])

    @property
    def along_rows(self) -> bool:
        """Whether the degradation acts along one axis of an image only, from row to row."""
        return any(getattr(step, "along_rows", False) for step in self.steps)

    @property
    def margin(self) -> int:
        """High-resolution pixels around a patch that its low-resolution pixels depend on; for `reduces_at_random`."""
        return sum(getattr(step, "margin", 0) for step in self.steps)

    def __call__(
        self, hr: np.ndarray, max_val: int | None = None, rng: np.random.Generator | int | None = None
    ) -> np.ndarray:
        """Degrades one image.

        Args:
            hr: Array (height, width), (height, width, 1) or (height, width, 3): floats in [0, 1], uint8 or uint16.
            max_val: Full-scale pixel value, which 1.0 stands for and whose gray levels are rounded to. `None`: that of
                `tfmisr.edge.arrays.to_unit` for uint8 and uint16; floats are then not rounded.
            rng: Random generator or seed of the random steps; `None`: unseeded.

        Returns:
            Array (height // scale, width // scale) with the channels of `hr`: float32 in [0, 1], or the integers' type.

        Raises:
            InputError: Another type, shape or range, or a step that is defined for another `max_val`, as
                `Pillow8Bicubic` is for 255.
        """
        given = np.asarray(hr)
        if given.dtype.kind != "f":
            unit, max_val = arrays.to_unit(given, max_val)
            return arrays.match_type(np.rint(self(unit, max_val, rng) * np.float32(max_val)), given)
        if given.ndim == 2:
            return self(given[..., None], max_val, rng)[..., 0]
        if max_val is None:
            given, _ = arrays.to_unit(given)
        return self._degraded(given, max_val, rng if self.fixed else np.random.default_rng(rng))

    def _degraded(self, hr, max_val, rng):
        self._require_max_val(max_val)
        image = np.asarray(hr, np.float32)
        for step in self.steps:
            # Here `split` may divide the steps; its first part ends with a clip.
            image = step(np.clip(image, 0.0, 1.0) if step.random else image, rng)
        image = np.clip(image, 0.0, 1.0)
        if self.quantize and max_val is not None:
            image = np.floor(image * np.float32(max_val) + np.float32(0.5)) / np.float32(max_val)
        return image

    def _require_max_val(self, max_val):
        for step in self.steps:
            if max_val is not None and getattr(step, "max_val", max_val) != max_val:
                raise InputError(
                    f"{step!r} is defined for 8-bit images (full scale {step.max_val}). Received: an image with full "
                    f"scale {max_val}; use bicubic, where more bits leave nothing to round between the two passes"
                )

    def describe(self) -> str:
        """Returns the steps as text for a protocol, such as `GaussianBlur(sigma=1.0) Bicubic(scale=4) rounded`."""
        return " ".join([*map(repr, self.steps), *(["rounded"] if self.quantize else [])])
