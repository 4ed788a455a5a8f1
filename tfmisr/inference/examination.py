"""What is checked of each upscaled file: agreement with the input, applicability, half-width; and its report.

The checks of one model are loaded once (`Checks`); an `Examination` collects what they find in the frames of one file.
The statements are those of `tfmisr.edge.consistency_measures`, `tfmisr.edge.applicability` and
`tfmisr.edge.half_width`; a model whose card lacks a field is not checked for it.
"""

import dataclasses
import typing

import numpy as np
import pydicom

from tfmisr.edge import consistency_measures, report_measures
from tfmisr.edge import report as reports
from tfmisr.edge.errors import InputError
from tfmisr.edge.upscaler import Upscaler
from tfmisr.inference import alternative
from tfmisr.inference.half_width_frames import HalfWidthFrames

if typing.TYPE_CHECKING:
    from tfmisr.edge.applicability import Applicability, Verdict
    from tfmisr.edge.half_width import HalfWidth

LEVEL = 0.1  # default of `--uncertainty_level`
IN_SCOPE, UNUSUAL, OUT_OF_SCOPE, NOT_TESTED = OUTCOMES = ("in scope", "unusual", "out of scope", "not tested")
_ROUNDING = 0.02  # levels; that of float32 is below 0.01 for 16 bits


class OutOfScope(InputError):
    """The model is not made for this image, which is written with `--force` only."""


@dataclasses.dataclass(frozen=True)
class Checks:
    """The checks of one model.

    Attributes:
        upscaler: The loaded model.
        applicability: Whether an image is like those of its calibration; `None` where the card has no such field.
        half_width: Half-width of the interval of each pixel; `None` where it is not asked for or not calibrated.
        untested: Why applicability cannot be tested with the options that were chosen; empty where it can.
        required: Refuse images that cannot have a half-width, those in color.
    """

    upscaler: Upscaler
    applicability: "Applicability | None" = None
    half_width: "HalfWidth | None" = None
    untested: str = ""
    required: bool = False

    @classmethod
    def of(cls, upscaler: Upscaler, level: float | None = None, threads: int = 1, required: bool = False) -> "Checks":
        """Loads the checks that a model's card describes.

        Args:
            upscaler: The loaded model.
            level: alpha of the half-width; `None` where none is needed.
            threads: Number of threads of the interpreter.
            required: Raise an error where there is no calibrated half-width.

        Raises:
            InputError: The level is not calibrated, or a half-width is required and there is none.
        """
        card = upscaler.card
        # Both were calibrated on results with the correction, by the network as it is.
        corrected = bool(upscaler.consistency) or not card.get("consistency")
        altered = "" if corrected else "--no-consistency, and it was calibrated on corrected results"
        half_width = None
        if required or (level is not None and card.get("uncertainty")):
            half_width = _half_width(upscaler, level or LEVEL, threads, required, altered)
        return cls(upscaler, None if altered else _applicability(card), half_width, altered, required)


def _applicability(card) -> "Applicability | None":
    if not card.get("applicability"):
        return None
    from tfmisr.edge.applicability import Applicability

    return Applicability.of(card)


def _half_width(upscaler, level, threads, required, altered) -> "HalfWidth | None":
    reason = altered
    if upscaler.name.endswith("+"):
        reason = "it is calibrated for the network without self-ensemble (+)"
    elif not reason and upscaler.half_width is None:
        reason = "its card has no calibrated uncertainty; see python -m tfmisr.calibrate --help"
    found = None if reason else upscaler.half_width(level, threads)
    if found is None and required:
        raise InputError(f"there is no half-width of {upscaler.name}: {reason}")
    return found


class Examination:
    """What the checks find in one file; its frames are added in their order.

    Args:
        checks: Of the model.
        scale: Upsampling factor.
        source: Name of the file in messages.
        header: Header of a DICOM file.
        report: Measure what a report needs.
        force: Continue where the image is out of scope.
        suggest: Look for another model where an image is not in scope.
        units: Name of the unit of the result's values, and for each frame how many of these a stored level is.

    Attributes:
        agreements: With the input, of each frame, where the model's degradation is known.
        verdicts: Of each frame, where the model's card has the field `applicability`.
        frame: What a report says of the frame that is least like those of the calibration, or agrees least.
        index: Number of that frame, from 0.
        half_widths: Of all frames, in stored levels.
        alternative: With `suggest`, the name of a model of the package that has the only frame in scope.
        derived: The derived DICOM image, its producer and the start of its series, once it is written.
    """

    def __init__(
        self,
        checks: Checks,
        scale: int,
        source: str,
        header: pydicom.Dataset | None = None,
        report: bool = False,
        force: bool = False,
        units: tuple[str, tuple[float, ...]] = ("gray levels", ()),
        suggest: bool = False,
    ) -> None:
        self.checks, self.scale, self.source, self.header = checks, scale, source, header
        self.unit, self._slopes = units
        self._report, self._force, self._suggest, self._measured = report, force, suggest, 0
        self.agreements: list[consistency_measures.Agreement] = []
        self.verdicts: list[Verdict] = []
        self.frame: reports.Frame | None = None
        self.index = 0
        self.half_widths = HalfWidthFrames()
        self.alternative = ""
        self.derived: tuple | None = None

    def add(self, lr: np.ndarray, sr: np.ndarray, levels: float) -> None:
        """Checks one frame.

        Args:
            lr: float32 array (height, width, channels) in [0, 1].
            sr: The result as it is stored, (scale * height, scale * width, channels) from 0 to `levels`.
            levels: Stored value of full scale.

        Raises:
            OutOfScope: The model is not made for the image.
            InputError: A half-width cannot be had of a color image.
        """
        stored = _stored(lr, levels)
        if operator := self.checks.upscaler.operator:
            agreement = consistency_measures.agreement(sr, stored, operator, levels, null_space=self._report)
            self.agreements.append(agreement)
        self._test(stored, sr, levels)
        half_width = self._half_width(stored, sr, levels)
        if self._report:
            self._measure(sr, half_width, levels)

    def _test(self, stored, sr, levels):
        if (applicability := self.checks.applicability) is None:
            return
        verdict = applicability.check(stored, sr, levels, self.header)
        self.verdicts.append(verdict)
        self.alternative = ""  # it has tested one frame, so it says nothing of several
        if self._suggest and len(self.verdicts) == 1 and verdict.deviations:
            self.alternative = alternative.name(self.checks.upscaler, stored, levels, self.header)
        if verdict.outcome == OUT_OF_SCOPE and not self._force:
            frame = f", frame {len(self.verdicts)}," if len(self.verdicts) > 1 else ""
            other = f"--model {self.alternative}" if self.alternative else "another model"
            raise OutOfScope(
                f"{self.source}{frame} is out of scope for {self.checks.upscaler.name} ({describe(verdict)}): "
                f"choose {other}, or add --force to upscale it without guarantee"
            )

    def _half_width(self, stored, sr, levels) -> np.ndarray | None:
        if self.checks.half_width is None:
            return None
        if stored.shape[-1] != 1:
            if not self.checks.required:
                return None
            raise InputError("a half-width is for gray images, this one is in color; leave --uncertainty out")
        half_width = self.checks.half_width(stored, sr, levels)
        half_width *= np.float32(levels)
        slope = self.slope(len(self.half_widths))
        self.half_widths.append(half_width, levels * slope, slope)
        return half_width

    def _measure(self, sr, half_width, levels):
        number, self._measured = self._measured, self._measured + 1
        rank = (
            _rank(self.verdicts[-1]) if self.verdicts else (0, 0.0),
            self.agreements[-1].within_half if self.agreements else 0.0,
        )
        if self.frame is not None and rank >= self._lowest:
            return
        self._lowest, self.index, slope = rank, number, self.slope(number)
        measured = None
        if half_width is not None:
            measured = report_measures.HalfWidths.of(half_width, slope * (levels + 1) / 256, slope)
        # Text can be read in a map of its edges too.
        is_hidden = self.header is not None and str(self.header.get("BurnedInAnnotation") or "").upper() == "YES"
        self.frame = reports.Frame(
            agreement=self.agreements[-1] if self.agreements else None,
            half_widths=measured,
            energy_beyond_nyquist=report_measures.energy_beyond_nyquist(sr, self.scale),
            image=None if is_hidden else report_measures.preview(sr),
            half_width_image=None if is_hidden or half_width is None else report_measures.preview(half_width),
            size=sr.shape[:2],
        )

    def slope(self, frame: int) -> float:
        """Returns how many units of the result's values a stored level of a frame is."""
        return self._slopes[frame] if frame < len(self._slopes) else 1.0

    @property
    def verdict(self) -> "Verdict | None":
        """The verdict on the frame that is least like those of the calibration; `None` without."""
        return min(self.verdicts, key=_rank, default=None)

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`; empty for a model without such a check."""
        if self.checks.untested and self.checks.upscaler.card.get("applicability"):
            return NOT_TESTED
        return self.verdict.outcome if self.verdict else ""

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to check."""
        checks = self.checks
        return bool(self._report or checks.upscaler.operator or checks.applicability or checks.half_width)

    @property
    def count(self) -> int:
        """Number of frames of a report."""
        return self._measured

    @property
    def is_forced(self) -> bool:
        """Whether the file is out of scope, and was written all the same."""
        return self.outcome == OUT_OF_SCOPE

    def close(self) -> None:
        """Releases the half-widths."""
        self.half_widths.close()


def _stored(lr: np.ndarray, levels: float) -> np.ndarray:
    """Returns an input in stored values: the integers of the file, where full scale maps to one."""
    stored = lr * np.float32(levels)
    rounded = np.rint(stored)
    return rounded if np.abs(stored - rounded).max() < _ROUNDING else stored


def _rank(verdict: "Verdict") -> tuple[int, float]:
    order = (OUT_OF_SCOPE, UNUSUAL, NOT_TESTED, IN_SCOPE)
    return order.index(verdict.outcome), 1.0 if verdict.p_value is None else verdict.p_value


def describe(verdict: "Verdict") -> str:
    """Returns the reasons of a verdict in words."""
    reasons = [*verdict.header_mismatches, *verdict.deviations]
    tested = [] if verdict.p_value is None else [f"p {verdict.p_value:.2g}"]
    return "; ".join([*tested, *reasons])
