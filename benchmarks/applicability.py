"""Applicability of the models that come with the package (T-32, T-34): two tables in Markdown for each.

The first compares flags with what they are for. Of altered images: those whose half-width holds at least 90 % of the
pixels, the mean coverage, the gain over bicubic interpolation, and the share that is flagged as unusual (p up to 0.05)
and as out of scope (p up to 0.01). The second has other kinds of images, and the AUC of their score against that of the
unaltered images. T-32 asks for 95 % flagged wherever fewer than 80 % of the images hold or the gain is negative, and
for at most four flagged patients of 29.

LR is made as for the training of each model. The half-width is that of the card at alpha = 0.1. For a model with an
uncertainty head that is not calibrated, the multiplier is found here, on validation patients; without a head the
columns are empty.

    python benchmarks/applicability.py --models fast-x4 --dataset chest_xray14/512 --manual_dir ARCHIVE --others DATA
    python benchmarks/applicability.py --split validation ...       (what statistics are chosen on)
"""

import argparse
import collections
import pathlib
import re
import time
from collections.abc import Iterable, Iterator

import numpy as np
from applicability_images import ALTERATIONS, UNALTERED, others, reduced

from tfmisr import data, degradations, metrics
from tfmisr.calibration import conformal, measuring
from tfmisr.data import pipeline
from tfmisr.edge import half_width, resize, runtime, shipped, uncertainty
from tfmisr.edge.applicability import OUT_OF_SCOPE, UNUSUAL, Applicability, Verdict
from tfmisr.edge.errors import InputError
from tfmisr.edge.upscaler import to_levels
from tfmisr.inference import upscalers

ALPHA = DELTA = 0.1


ALWAYS_REQUIRED = ("inverted", "rotated by 90 degrees")
REQUIRED_OTHERS = ("CT", "MR", "ultrasound", "photographs", "reduced by 8", "not reduced")


class Subject:
    """A model with its check and its half-width.

    Args:
        name: Of a model that comes with the package.
        source: The dataset.
    """

    def __init__(self, name: str, source: data.Source) -> None:
        path = shipped.path(name)
        self.name, self.source, self.model = name, source, runtime.Model(path)
        self.scale, self.card = self.model.scale, self.model.card
        if (check := Applicability.of(self.card)) is None:
            raise InputError(f"expected a card with the field applicability; {name} has none")
        self.degradation = degradations.of_card(self.card)
        self.check, self.width = check, self._width(path)

    def _width(self, path: pathlib.Path) -> half_width.HalfWidth | None:
        if half_width.levels(self.card):
            return half_width.HalfWidth.of(path, self.card, ALPHA)
        if (head_path := uncertainty.find(path)) is None:
            return None
        head, cache = uncertainty.Head(head_path), pipeline.cache_of(self.source, "validation")
        plan = measuring.Plan((ALPHA,), None, {})
        found = measuring.measure(upscalers.load(str(path)), head, [cache], range(len(cache)), self.degradation, plan)
        multiplier = conformal.multiplier(np.array([each.needed[ALPHA] for each in found]), DELTA)
        return half_width.HalfWidth(head, ALPHA, float(multiplier), None, {}, {}, self.name)

    def pairs(self, split: str) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """Yields patient, full scale, LR and HR (height, width) of the images of a split, in stored levels."""
        cache = pipeline.cache_of(self.source, split)
        for _, patient, full, lr, hr in pipeline.pairs(cache, self.scale, self.degradation):
            yield patient, full, lr[..., 0] * np.float32(full), hr[..., 0].astype(np.float32)

    def verdict(self, lr: np.ndarray, full: int) -> tuple[Verdict, float, np.ndarray, np.ndarray]:
        """Returns the verdict and score of an input in stored levels, the input as stored, and the result."""
        stored = to_levels(np.ascontiguousarray(lr)[..., np.newaxis] / np.float32(full), full)
        sr = self.model.upscale(stored, full)
        return self.check.check(stored, sr, full), self.check.score(stored, sr, full), stored, sr


def altered(subject: Subject, name: str, split: str) -> Iterator[dict]:
    """Yields what is measured of each image after an alteration."""
    psnr = metrics.get("psnr")
    for index, (patient, full, lr, hr) in enumerate(subject.pairs(split)):
        lr, hr = ALTERATIONS[name](lr, hr, full, np.random.default_rng([32, index]))
        verdict, score, stored, sr = subject.verdict(lr, full)
        truth = to_levels(np.ascontiguousarray(hr)[..., np.newaxis] / np.float32(full), full)
        base = to_levels(resize.upscale(stored / np.float32(full), subject.scale), full)
        quality = [psnr(*(metrics.shave(i, subject.scale) for i in (truth, each)), full) for each in (sr, base)]
        measured = {"patient": patient, "verdict": verdict, "score": score, "gain": quality[0] - quality[1]}
        yield measured | coverage(subject, stored, sr, truth)


def coverage(subject: Subject, lr: np.ndarray, sr: np.ndarray, hr: np.ndarray) -> dict:
    """Returns the share of the pixels that lie within the half-width; nan without one."""
    if subject.width is None:
        return {"coverage": np.nan}
    full = np.float32(255 if hr.dtype == np.uint8 else 65535)
    lr, sr, hr = (image.astype(np.float32) / full for image in (lr, sr, hr))
    return {"coverage": float((np.abs(hr - sr) <= subject.width(lr, sr)).mean())}


def flagged(p_values: Iterable[float | None]) -> tuple[float, float]:
    """Returns the shares with p up to 0.05 and up to 0.01, in percent."""
    values = np.array([1.0 if p is None else p for p in p_values])
    return 100 * float((values <= UNUSUAL).mean()), 100 * float((values <= OUT_OF_SCOPE).mean())


def first_table(subject: Subject, split: str, names: list[str]) -> tuple[list[str], dict]:
    """Returns the lines of the table of alterations, and the scores of the unaltered images."""
    lines, scores = [f"| {subject.name}, {split} | images that hold 90 % | mean coverage | gain over bicubic, dB |"], {}
    lines[0] += " flagged at 5 % (1 %) | most named | T-32 |"
    lines.append("|---|---:|---:|---:|---:|---|---|")
    for name in names:
        rows = list(altered(subject, name, split))
        scores[name] = [row["score"] for row in rows]
        lines.append(line(name, rows))
    return lines, scores


def most_named(verdicts: Iterable[Verdict]) -> str:
    """Returns the two deviations that are named most often, without their numbers."""
    words = collections.Counter(re.sub(r" [\d.]+ times.*", "", text) for v in verdicts for text in v.deviations)
    return ", ".join(f"{text} ({count})" for text, count in words.most_common(2))


def line(name: str, rows: list[dict]) -> str:
    """Returns one line of the first table."""
    covered, gain = (np.array([row[key] for row in rows]) for key in ("coverage", "gain"))
    holds = float(np.mean(covered >= 1 - ALPHA)) if np.isfinite(covered).all() else np.nan
    at_5, at_1 = flagged(row["verdict"].p_value for row in rows)
    words = collections.Counter(
        text.split(" times")[0].rstrip("0123456789.") for r in rows for text in r["verdict"].deviations
    )
    named = ", ".join(f"{text.strip()} {count}" for text, count in words.most_common(2))
    cells = [name, *([f"{100 * holds:.0f} %", f"{covered.mean():.3f}"] if np.isfinite(holds) else ["", ""])]
    cells += [f"{gain.mean():+.2f}", f"{at_5:.0f} ({at_1:.0f}) %", named, _required(name, rows, holds, gain, at_5)]
    return "| " + " | ".join(cells) + " |"


def _required(name: str, rows: list[dict], holds: float, gain: np.ndarray, at_5: float) -> str:
    if name == UNALTERED:
        patients = {row["patient"] for row in rows}
        alarms = {row["patient"] for row in rows if row["verdict"].p_value <= UNUSUAL}
        return f"{len(alarms)} of {len(patients)} patients"
    if name not in ALWAYS_REQUIRED and not (holds < 0.8 or gain.mean() < 0):
        return ""
    return "met" if at_5 >= 95 else "MISSED"


def other_images(subject: Subject, folder: pathlib.Path | None, split: str) -> Iterator[tuple[str, list]]:
    """Yields a kind and its images: (full scale, LR in stored levels)."""
    for name, factor in (("reduced by 8", 8), ("reduced by 2", 2), ("not reduced", 1)):
        if factor != subject.scale:
            pairs = subject.pairs(split)
            yield name, [(full, reduced(hr, tuple(side // factor for side in hr.shape))) for _, full, _, hr in pairs]
    yield from others(folder, subject.scale)


def second_table(subject: Subject, split: str, folder: pathlib.Path | None, unaltered: list[float]) -> list[str]:
    """Returns the lines of the table of other kinds of images."""
    lines = [
        f"| {subject.name} | images | AUC | flagged at 5 % (1 %) | most named | T-32 |",
        "|---|---:|---:|---:|---|---|",
    ]
    for kind, found in other_images(subject, folder, split):
        rows = [subject.verdict(lr, full)[:2] for full, lr in found if min(lr.shape) >= 32]
        if not rows:
            continue
        at_5, at_1 = flagged(verdict.p_value for verdict, _ in rows)
        words = collections.Counter(
            text.split(" times")[0].rstrip("0123456789.") for v, _ in rows for text in v.deviations
        )
        named = ", ".join(f"{text.strip()} {count}" for text, count in words.most_common(2))
        auc = np.mean([(score > np.array(unaltered)).mean() for _, score in rows])
        required = ("met" if at_5 >= 95 else "MISSED") if kind.startswith(REQUIRED_OTHERS) else ""
        lines.append(f"| {kind} | {len(rows)} | {auc:.3f} | {at_5:.0f} ({at_1:.0f}) % | {named} | {required} |")
    return lines


def timing(subject: Subject, split: str) -> str:
    """Returns the time of the check beside that of the network, in turns in one process."""
    _, full, lr, _ = next(subject.pairs(split))
    stored = to_levels(lr[..., np.newaxis] / np.float32(full), full)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        sr = subject.model.upscale(stored, full)
        middle = time.perf_counter()
        subject.check.check(stored, sr, full)
        times.append((middle - start, time.perf_counter() - middle))
    network, check = 1e3 * np.array(times).T
    shown = [f"{np.median(each):.1f} ms (least {each.min():.1f})" for each in (check, network)]
    ratio = np.median(check / network)
    return f"{subject.name}, {stored.shape[:2]}: check {shown[0]}, network {shown[1]}, median ratio {ratio:.3f}"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=shipped.names_with_head())
    parser.add_argument("--dataset", default="chest_xray14/512")
    parser.add_argument("--split", default="test")
    parser.add_argument("--manual_dir", nargs="+", default=())
    parser.add_argument("--data_dir")
    parser.add_argument("--others", type=pathlib.Path, help="folder with ct/*.dcm, mr/*.dcm and us/*.png")
    parser.add_argument("--rows", nargs="+", default=list(ALTERATIONS), choices=list(ALTERATIONS), metavar="ROW")
    arguments = parser.parse_args()
    source = data.load(arguments.dataset, arguments.data_dir, arguments.manual_dir)
    for name in arguments.models:
        subject = Subject(name, source)
        first, scores = first_table(subject, arguments.split, arguments.rows)
        print("\n".join(first), flush=True)
        if UNALTERED in scores:
            print("\n" + "\n".join(second_table(subject, arguments.split, arguments.others, scores[UNALTERED])))
        print("\n" + timing(subject, arguments.split) + "\n", flush=True)


if __name__ == "__main__":
    main()
