"""Writes a complete export of simulated readers, marked as simulated in every file and every row."""

import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator

import numpy as np

import tfmisr
from tfmisr import cli
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.files import write_text
from tfmisr.reader_study.csv_export import PREFERENCE_COLUMNS, RATING_COLUMNS, csv_text
from tfmisr.reader_study.statistics.ratings import SIMULATED, Question
from tfmisr.reader_study.statistics.simulation import Assumptions

QUESTIONS = (
    Question("quality", "How good is the image?", 5, ("extremely bad", "bad", "fair", "good", "excellent"), 0.5),
    Question("usefulness", "How useful is it for a diagnosis?", 5, ("not", "little", "some", "much", "fully"), 0.5),
)
# Two images whose latent values differ by less than this many logits get the answer "none".
_INDIFFERENCE = 0.5
_MEDIAN_MS, _TOO_FAST_MS = 9000, 2000


@dataclasses.dataclass(frozen=True)
class SimulatedStudy:
    """Size of a simulated study.

    Attributes:
        arms: Names of the arms, as many as the assumptions have effects; the last one is the reference.
        readers: Number of readers.
        cases: Number of analyzed cases.
        training: Number of further cases for the training block, which is not analyzed.
        repeats: Share of the images that are rated twice.
        preferences: Whether every pair of arms is also compared side by side.
        seed: Seed of all random draws.
    """

    arms: tuple[str, ...] = ("bicubic", "cnn", "gan", "reference")
    readers: int = 3
    cases: int = 20
    training: int = 2
    repeats: float = 0.15
    preferences: bool = False
    seed: int = 0


def write(simulated: SimulatedStudy, assumptions: Assumptions, folder: str | os.PathLike) -> list[pathlib.Path]:
    """Writes study.json, ratings.csv and, with `preferences`, preferences.csv.

    Args:
        simulated: Size of the study.
        assumptions: Model of the scores.
        folder: Output folder; existing files with these names are replaced.

    Returns:
        The paths of the files.
    """
    folder = pathlib.Path(folder)
    cli.require_writable(folder)
    study = _study(simulated, assumptions)
    rng = np.random.default_rng(simulated.seed)
    latent = assumptions.draw(simulated.readers, simulated.cases + simulated.training, rng)
    ratings, preferences = [], []
    for reader in range(simulated.readers):
        clock = _Clock(study["hash"], f"simulated-{reader + 1}", rng)
        ratings += _ratings(simulated, assumptions, latent[:, reader], clock, rng)
        if simulated.preferences:
            preferences += _preferences(simulated, latent[:, reader], clock, rng)
    files = {"study.json": json.dumps(study, indent=1) + "\n"}
    files["ratings.csv"] = csv_text(RATING_COLUMNS, ratings)
    if preferences:
        files["preferences.csv"] = csv_text(PREFERENCE_COLUMNS, preferences)
    for name, text in files.items():
        write_text(folder / name, text)
    return [folder / name for name in files]


def _study(simulated: SimulatedStudy, assumptions: Assumptions) -> dict:
    last, count = simulated.arms[-1], simulated.cases + simulated.training
    values = {
        "title": f"{SIMULATED}: {len(simulated.arms)} arms, {simulated.readers} readers, {simulated.cases} cases",
        "simulated": True,
        "seed": simulated.seed,
        "arms": [{"name": name, "truth": name == last} for name in simulated.arms],
        "cases": [{"id": _case(i), "training": i >= simulated.cases} for i in range(count)],
        "questions": [{"key": q.name, "text": q.text, "anchors": list(q.anchors)} for q in QUESTIONS],
        "analysis": {
            "reference": last,
            "primary": QUESTIONS[0].name,
            "margins": {q.name: q.margin for q in QUESTIONS},
        },
        "assumptions": dataclasses.asdict(assumptions),
    }
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return {"hash": f"simulated-{digest[:54]}", **values}


class _Clock:
    """Simulates when a reader saw and answered each image."""

    def __init__(self, study_hash: str, reader: str, rng: np.random.Generator):
        self.constants = {"study_hash": study_hash, "reader": reader, "session": 1}
        self.rng, self.position = rng, 0
        # A date that no real study of this program can have.
        self.now = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)

    def row(self, case: int, repeat: int, training: int) -> dict:
        """Returns the columns of the next trial that ratings.csv and preferences.csv share."""
        active = int(_MEDIAN_MS * self.rng.lognormal(0, 0.4))
        times = [self.now + datetime.timedelta(milliseconds=ms) for ms in (0, active // 2, active)]
        self.now, self.position = times[2] + datetime.timedelta(seconds=1), self.position + 1
        iso_times = [time.isoformat(timespec="milliseconds") for time in times]
        return {
            **self.constants,
            "position": self.position,
            "case": _case(case),
            "repeat": int(repeat),
            "training": int(training),
            **dict(zip(("shown_at", "first_input_at", "committed_at"), iso_times, strict=True)),
            "idle_ms": 0,
            "active_ms": active,
            "too_fast": int(active < _TOO_FAST_MS),
            "window_center": 0.5,
            "window_width": 1.0,
            "software_version": f"tfmisr {tfmisr.__version__}, {SIMULATED}",
        }


def _case(number: int) -> str:
    return f"case-{number + 1:03d}"


def _ratings(
    simulated: SimulatedStudy, assumptions: Assumptions, latent: np.ndarray, clock: _Clock, rng: np.random.Generator
) -> Iterator[dict]:
    arms, cases = len(simulated.arms), simulated.cases
    images = [(arm, case) for case in range(cases) for arm in range(arms)]
    order = [images[i] for i in rng.permutation(len(images))]
    again = [images[i] for i in rng.permutation(len(images))[: round(simulated.repeats * len(images))]]
    training = [(arm, cases + i) for i in range(simulated.training) for arm in range(arms)]
    plan = [(image, 0, 1) for image in training] + [(image, 0, 0) for image in order] + [(i, 1, 0) for i in again]
    for (arm, case), repeat, is_training in plan:
        row = clock.row(case, repeat, is_training)
        for question in QUESTIONS:
            score = int(assumptions.answer(latent[arm, case], rng))
            yield {**row, "arm": simulated.arms[arm], "question": question.name, "score": score}


def _preferences(
    simulated: SimulatedStudy, latent: np.ndarray, clock: _Clock, rng: np.random.Generator
) -> Iterator[dict]:
    arms = len(simulated.arms)
    pairs = [(i, j, case) for case in range(simulated.cases) for i in range(arms) for j in range(i)]
    for index in rng.permutation(len(pairs)):
        *pair, case = pairs[index]
        left, right = pair if rng.random() < 0.5 else pair[::-1]
        lead = latent[left, case] - latent[right, case] + rng.logistic()
        choice = "none" if abs(lead) < _INDIFFERENCE else "left" if lead > 0 else "right"
        names = {"arm_left": simulated.arms[left], "arm_right": simulated.arms[right]}
        yield {**clock.row(case, 0, 0), **names, "question": "preference", "choice": choice}


__getattr__ = renamed(__name__, Invented="SimulatedStudy")
