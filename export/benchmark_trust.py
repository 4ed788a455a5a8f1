"""Times what agreement with the input, half-widths and applicability add to upscaling (T-53).

All steps of all files take turns in one process on one image, so that only ratios within a table compare.
"""

import time
from collections.abc import Sequence

import numpy as np

from tfmisr.edge import half_width, runtime
from tfmisr.edge.applicability import Applicability

SIDE, FULL = 128, 255  # of the image: T-53 is about 128 -> 512, 8 bits
STEPS = ("base", "consistency", "uncertainty", "applicability")


class _Steps:
    """The steps of one file; those that its card does not describe are left out."""

    def __init__(self, path, threads):
        self.path, self.threads = path, threads
        self.plain = runtime.Model(path, threads, consistency=False)
        self.corrected = runtime.Model(path, threads)
        card = self.corrected.card
        self.half_width = half_width.HalfWidth.of(path, card, threads=threads)
        self.applicability = Applicability.of(card)
        self.pixels = _image(self.corrected.channels)
        self.times = {step: [] for step in STEPS}

    def run(self):
        """Runs each step once; each is timed alone."""
        sr = self._timed("base", self.plain.upscale, self.pixels, FULL)
        if self.corrected.consistency:
            sr = self._timed("consistency", self.corrected.upscale, self.pixels, FULL)
        if self.half_width:
            self._timed("uncertainty", self.half_width, self.pixels, sr, FULL)
        if self.applicability:
            self._timed("applicability", self.applicability.check, self.pixels, sr, FULL)

    def _timed(self, step, function, *arguments):
        start = time.perf_counter()
        result = function(*arguments)
        self.times[step].append(1e3 * (time.perf_counter() - start))
        return result

    def row(self) -> dict:
        """Returns the milliseconds up to and with each step; `None` where the file has no such step."""
        median = {step: float(np.median(times)) for step, times in self.times.items() if times}
        total = median.get("consistency", median["base"])
        row = {"file": self.plain.path.name, "threads": self.threads, "base_ms": round(median["base"], 3)}
        row["consistency_ms"] = round(total, 3) if "consistency" in median else None
        for step in STEPS[2:]:
            total += median.get(step, 0.0)
            row[f"{step}_ms"] = round(total, 3) if step in median else None
        row["ratio"] = round(total / median["base"], 3)
        return row


def _image(channels: int) -> np.ndarray:
    """Returns a smooth image with edges and a little noise, uint8 (128, 128, channels)."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = 0.5 + 0.3 * np.sin(x / 9) * np.cos(y / 7) + 0.1 * np.sign(np.sin((x + y) / 11))
    noise = np.random.default_rng(0).normal(0, 0.01, (SIDE, SIDE, channels))
    return np.rint(FULL * np.clip(image[..., None] + noise, 0, 1)).astype(np.uint8)


def measure(paths: Sequence, threads: Sequence[int], rounds: int, seconds: float) -> list[dict]:
    """Times upscaling of one image of 128x128 pixels, without and with each check.

    Args:
        paths: `.tflite` files with their cards.
        threads: Numbers of threads to try.
        rounds: Times that each step is measured.
        seconds: Stop after the round that passes this time.

    Returns:
        For each file and number of threads: `base_ms` without, `consistency_ms` with the correction (A),
        `uncertainty_ms` with half-widths too (A + B), `applicability_ms` with all (A + B + C), `None` where the card
        does not describe a step, and `ratio` of all to the base.
    """
    cases = [_Steps(path, count) for path in paths for count in threads]
    for case in cases:
        case.run()
        case.times = {step: [] for step in STEPS}
    started = time.monotonic()
    for _ in range(rounds):
        for case in cases:
            case.run()
        if time.monotonic() - started > seconds:
            break
    return [case.row() for case in cases]


TITLES = ("file", "threads", "base", "+ consistency", "+ uncertainty", "+ applicability", "ratio")


def texts(row: dict) -> tuple[str, ...]:
    """Returns a row of `measure` as the texts of a table."""
    numbers = (row[f"{step}_ms"] for step in STEPS)
    shown = ("none" if number is None else f"{number:.1f} ms" for number in numbers)
    return row["file"], str(row["threads"]), *shown, f"{row['ratio']:.2f}"
