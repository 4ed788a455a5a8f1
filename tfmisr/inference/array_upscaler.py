"""The upscaler that `tfmisr.load` returns: called with a NumPy array of any supported type, or an image file."""

import dataclasses
import os
import typing

import numpy as np

from tfmisr.edge import arrays
from tfmisr.edge.consistency_measures import Agreement
from tfmisr.edge.images import Image, read_images
from tfmisr.edge.upscaler import Upscaler
from tfmisr.inference import reporting
from tfmisr.inference.examination import LEVEL, Checks, Examination

if typing.TYPE_CHECKING:
    from tfmisr.edge.applicability import Verdict


@dataclasses.dataclass(frozen=True, repr=False)
class Assessment:
    """An upscaled array and what was checked of it.

    Attributes:
        sr: The result, as a call returns it.
        outcome: `in scope`, `unusual`, `out of scope` or `not tested`; empty for a model without such a check.
        verdict: `tfmisr.edge.applicability.Verdict` with p-value and reasons; `None` without.
        agreement: `tfmisr.edge.consistency_measures.Agreement` with the input, in levels; `None` for floats, and where
            the model card does not say how its training images were reduced.
        half_width: float32 array of the shape of `sr`, in its unit: the interval is `sr` -+ `half_width`; `None`
            without.
        statement: What the half-widths promise, in one sentence; `None` without.
        guarantee: Whether that holds for this image: `applies`, `not applicable`, `not verified` or `none`.
    """

    sr: np.ndarray
    outcome: str
    verdict: "Verdict | None"
    agreement: Agreement | None
    half_width: np.ndarray | None
    statement: str | None
    guarantee: str

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.sr.shape))
        return f"<assessment of {shape} pixels: {self.outcome or 'not tested'}, guarantee {self.guarantee}>"


class ArrayUpscaler:
    """A network or interpolation at one scale: called with an image, returns the upscaled image.

    It wraps `tfmisr.edge.upscaler.Upscaler`, which takes float32 images only and returns the unclipped output.

    Args:
        upscaler: The network or interpolation.
        scale: Upsampling factor; that of the upscaler where it is for one factor only.

    Attributes:
        name: Name in tables.
        scale: Upsampling factor.
        channels: Number of image channels that the network takes, 1 or 3; `None`: either.
        parameters: Number of weights.
        config: Configuration of the run that trained it; empty if unknown.
    """

    def __init__(self, upscaler: Upscaler, scale: int):
        self._upscaler, self.scale = upscaler, scale
        self._checks: dict[float | None, Checks] = {}
        self.name, self.channels = upscaler.name, upscaler.channels
        self.parameters, self.config = upscaler.parameters, upscaler.config

    def __call__(self, image: np.ndarray | str | os.PathLike, max_val: int | None = None) -> np.ndarray | list[Image]:
        """Returns the upscaled image.

        Args:
            image: Array of shape (height, width), (height, width, 1) or (height, width, 3), uint8, uint16, or float in
                [0, 1]; or the path of a PNG, JPEG, TIFF or DICOM file.
            max_val: Pixel value of a uint8 or uint16 array that is full scale (white). Default: 255 for uint8; for
                uint16 the smallest `2**k - 1`, at least 255, that is no less than the array's maximum, as
                `tfmisr.edge.images` does for files. Set it for slices of one scan.

        Returns:
            Array with the same type and axes, `scale` times as high and wide: integers up to `max_val`, or floats in
            [0, 1] (computed in float32). For a path: a list of `tfmisr.edge.images.Image`, one per frame as
            `tfmisr.edge.images.read_images` returns them, with `pixels` and `max_val`. A derived DICOM image is
            written by `python -m tfmisr.upscale`.

        Raises:
            InputError: The type, shape, range or number of channels is not supported.
        """
        if isinstance(image, (str, os.PathLike)):
            return self._upscale_file(image, max_val)
        lr, full_scale = arrays.to_unit(image, max_val)
        sr = self._upscaler(lr, self.scale, full_scale)
        return arrays.match_type(np.clip(sr, 0, 1) if full_scale is None else sr, image)

    def assess(
        self, image: np.ndarray, sr: np.ndarray | None = None, max_val: int | None = None, level: float | None = None
    ) -> "Assessment":
        """Upscales an array and checks the result; calling the upscaler checks nothing.

        Args:
            image: Array as of a call, gray where a half-width is wanted.
            sr: The result of a call with the same arguments; by default it is computed.
            max_val: As of a call.
            level: Share of the pixels that may lie outside of the half-widths, one of those calibrated; default: 0.1,
                or no half-width where the model has none.

        Returns:
            The result and what was found. An image out of scope raises no error: see `Assessment.outcome`.

        Raises:
            InputError: The array or the level is not supported.
        """
        lr, full_scale = arrays.to_unit(image, max_val)
        sr = self(image, max_val) if sr is None else np.asarray(sr)
        if level not in self._checks:
            self._checks[level] = Checks.of(self._upscaler, level or LEVEL, required=level is not None)
        checks = self._checks[level]
        examination = Examination(checks, self.scale, "the array", force=True)
        stored = sr if sr.ndim == 3 else sr[..., None]
        examination.add(lr, stored.astype(np.float32), full_scale or 1.0)
        found = examination.half_widths.array()[0] if examination.half_widths else None
        return Assessment(
            sr=sr,
            outcome=examination.outcome,
            verdict=examination.verdict,
            agreement=examination.agreements[0] if examination.agreements and full_scale else None,
            half_width=found if found is None or sr.ndim == 2 else found[..., None],
            statement=reporting.statement(examination),
            guarantee=reporting.guarantee(examination),
        )

    def _upscale_file(self, path, max_val) -> list[Image]:
        if max_val is not None:
            raise arrays.InputError("max_val is for arrays; that of a file is read from the file")
        frames = read_images(path)
        return [dataclasses.replace(frame, pixels=self(frame.pixels, frame.max_val)) for frame in frames]

    def __repr__(self):
        channels = self.channels or "any"
        return f"<upscaler {self.name}: scale {self.scale}, channels {channels}, {self.parameters:,} parameters>"
