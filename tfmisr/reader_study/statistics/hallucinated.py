"""A complete export folder of simulated readers, which says in every file and every row that they are no people."""

import csv
import dataclasses
import datetime
import hashlib
import io
import json
import pathlib

import numpy as np

import tfmisr
from tfmisr import cli
from tfmisr.edge.files import write_text
from tfmisr.reader_study.statistics.ratings import SIMULATED, Question
from tfmisr.reader_study.statistics.simulation import Assumptions

_WHERE = ("study_hash", "reader", "session", "position", "case")
_WHEN = (
    *("repeat", "training", "shown_at", "first_input_at", "committed_at", "idle_ms", "active_ms", "too_fast"),
    *("window_center", "window_width", "software_version"),
)
QUESTIONS = (
    Question("quality", "How good is the image?", 5, ("extremely bad", "bad", "fair", "good", "excellent"), 0.5),
    Question("usefulness", "How useful is it for a diagnosis?", 5, ("not", "little", "some", "much", "fully"), 0.5),
)
# Two images whose logits differ by less than this are "none is better".
_SAME = 0.5
_MEDIAN_MS, _TOO_FAST_MS = 9000, 2000


@dataclasses.dataclass(frozen=True)
class Invented:
    """What is made up.

    Attributes:
        arms: Names, as many as the assumptions have effects; the last one is the ground truth.
        readers: Number of readers.
        cases: Number of judged cases.
        training: Number of further cases, judged first and excluded.
        repeats: Share of the images that come twice.
        preferences: Whether every pair of arms is put side by side, too.
        seed: Of everything.
    """

    arms: tuple[str, ...] = ("bicubic", "cnn", "gan", "truth")
    readers: int = 3
    cases: int = 20
    training: int = 2
    repeats: float = 0.15
    preferences: bool = False
    seed: int = 0


def write(invented: Invented, assumptions: Assumptions, folder) -> list[pathlib.Path]:
    """Writes study.json, ratings.csv and, where asked for, preferences.csv; returns their paths."""
    folder = pathlib.Path(folder)
    cli.require_writable(folder)
    study = _study(invented, assumptions)
    rng = np.random.default_rng(invented.seed)
    everything = assumptions.draw(invented.readers, invented.cases + invented.training, rng)
    ratings, preferences = [], []
    for reader in range(invented.readers):
        clock = _Clock(study["hash"], f"simulated-{reader + 1}", rng)
        ratings += _ratings(invented, assumptions, everything[:, reader], clock, rng)
        if invented.preferences:
            preferences += _preferences(invented, everything[:, reader], clock, rng)
    files = {"study.json": json.dumps(study, indent=1) + "\n"}
    files["ratings.csv"] = _csv((*_WHERE, "arm", "question", "score", *_WHEN), ratings)
    if preferences:
        files["preferences.csv"] = _csv((*_WHERE, "arm_left", "arm_right", "question", "choice", *_WHEN), preferences)
    for name, text in files.items():
        write_text(folder / name, text)
    return [folder / name for name in files]


def _study(invented, assumptions):
    last = invented.arms[-1]
    values = {
        "title": f"{SIMULATED}: {len(invented.arms)} arms, {invented.readers} readers, {invented.cases} cases",
        "simulated": True,
        "seed": invented.seed,
        "arms": [{"name": name, "truth": name == last} for name in invented.arms],
        "cases": [{"id": _case(i), "training": i >= invented.cases} for i in range(invented.cases + invented.training)],
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
    """Makes up when a reader saw and answered each image."""

    def __init__(self, study_hash, reader, rng):
        self.known = {"study_hash": study_hash, "reader": reader, "session": 1}
        self.rng, self.position = rng, 0
        # A date at which nobody reads, since nobody did.
        self.now = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)

    def row(self, case, repeat, training):
        active = int(_MEDIAN_MS * self.rng.lognormal(0, 0.4))
        times = [self.now + datetime.timedelta(milliseconds=ms) for ms in (0, active // 2, active)]
        self.now, self.position = times[2] + datetime.timedelta(seconds=1), self.position + 1
        shown = [time.isoformat(timespec="milliseconds") for time in times]
        return {
            **self.known,
            "position": self.position,
            "case": _case(case),
            "repeat": int(repeat),
            "training": int(training),
            **dict(zip(("shown_at", "first_input_at", "committed_at"), shown, strict=True)),
            "idle_ms": 0,
            "active_ms": active,
            "too_fast": int(active < _TOO_FAST_MS),
            "window_center": 0.5,
            "window_width": 1.0,
            "software_version": f"tfmisr {tfmisr.__version__}, {SIMULATED}",
        }


def _case(number):
    return f"case-{number + 1:03d}"


def _ratings(invented, assumptions, seen, clock, rng):
    arms, cases = len(invented.arms), invented.cases
    images = [(arm, case) for case in range(cases) for arm in range(arms)]
    order = [images[i] for i in rng.permutation(len(images))]
    again = [images[i] for i in rng.permutation(len(images))[: round(invented.repeats * len(images))]]
    training = [(arm, cases + i) for i in range(invented.training) for arm in range(arms)]
    plan = [(image, 0, 1) for image in training] + [(image, 0, 0) for image in order] + [(i, 1, 0) for i in again]
    for (arm, case), repeat, is_training in plan:
        row = clock.row(case, repeat, is_training)
        for question in QUESTIONS:
            score = int(assumptions.answer(seen[arm, case], rng))
            yield {**row, "arm": invented.arms[arm], "question": question.name, "score": score}


def _preferences(invented, seen, clock, rng):
    arms = len(invented.arms)
    pairs = [(i, j, case) for case in range(invented.cases) for i in range(arms) for j in range(i)]
    for place in rng.permutation(len(pairs)):
        *pair, case = pairs[place]
        left, right = pair if rng.random() < 0.5 else pair[::-1]
        lead = seen[left, case] - seen[right, case] + rng.logistic()
        choice = "none" if abs(lead) < _SAME else "left" if lead > 0 else "right"
        names = {"arm_left": invented.arms[left], "arm_right": invented.arms[right]}
        yield {**clock.row(case, 0, 0), **names, "question": "preference", "choice": choice}


def _csv(columns, rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
