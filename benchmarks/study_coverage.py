"""Whether the reader study's intervals and tests hold, by simulating studies whose truth is known (R-23).

For each number of readers and cases, and for readers and cases that take to the arms alike or not: the share of nominal
95 % intervals of a difference in mean score that hold the true one (wanted: 92 to 98 %), with the bootstrap beside it;
and the share of primary tests with p < 0.05 where arms do not differ (wanted: 3 to 7 %), with the ordinal model's own
standard errors beside it.

    python benchmarks/study_coverage.py --studies 500
"""

import argparse
import math
import time

import numpy as np

from tfmisr.reader_study.statistics import intervals, primary
from tfmisr.reader_study.statistics.ordinal import TERMS
from tfmisr.reader_study.statistics.simulation import Assumptions

SIZES = ((3, 40), (4, 20), (5, 30), (8, 40))
# Spread of readers, of cases, and of both within arms, on the logit scale.
SPREADS = {"alike": (0.5, 0.8, 0.0, 0.0), "differ": (0.5, 0.8, 0.3, 0.5), "differ much": (0.5, 0.8, 0.6, 0.5)}
# Models and truth in words: no difference, one category, close to the top of the scale.
EFFECTS = {"equal": (0.0, 0.0), "one step": (0.0, 1.5), "near the top": (1.5, 4.0)}


def coverage(assumptions: Assumptions, readers: int, cases: int, studies: int, seed: int) -> tuple[float, float]:
    """Returns how often the interval, and the bootstrap's, hold the true difference in mean score."""
    rng, low = np.random.default_rng(seed), assumptions.mean_scores()
    truth, held = low[1] - low[0], np.zeros(2)
    for study in range(studies):
        scores = assumptions.answer(assumptions.draw(readers, cases, rng), rng).astype(np.float64)
        found = intervals.over_readers_and_cases(scores[1] - scores[0])
        ends = (found.low, found.high), intervals.bootstrap(scores[1] - scores[0], resamples=500, seed=study)
        held += [a <= truth <= b for a, b in ends]
    return tuple(held / studies)


def false_alarms(spread, readers: int, cases: int, studies: int, seed: int) -> tuple[float, float, int]:
    """Returns how often three equal arms differ: by the primary test, by the model's own error; and the fallbacks."""
    assumptions = Assumptions((0.0,) * 3, deviations=dict(zip(TERMS, spread, strict=True)))
    rng, found, own, fallbacks, tests = np.random.default_rng(seed), 0, 0, 0, 0
    for _ in range(studies):
        scores = assumptions.answer(assumptions.draw(readers, cases, rng), rng).astype(np.float64)
        result = primary.test_pairs(scores)
        for pair in result.pairs:
            tests += 1
            found += pair.p_value is not None and pair.p_value < 0.05
            fallbacks += pair.test == primary.LINEAR
            if result.fit:
                value, error = result.fit.contrast(pair.first, pair.second)
                own += math.erfc(abs(value / error) / math.sqrt(2)) < 0.05
    return found / tests, own / tests, fallbacks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    print("| readers x cases | readers and cases | arms | interval holds | bootstrap holds |\n|---|---|---|---|---|")
    for size in SIZES:
        for name, spread in SPREADS.items():
            for arms, effects in EFFECTS.items():
                assumptions = Assumptions(effects, deviations=dict(zip(TERMS, spread, strict=True)))
                held = coverage(assumptions, *size, arguments.studies, arguments.seed)
                cells = [f"{size[0]} x {size[1]}", name, arms, *(f"{share:.1%}" for share in held)]
                print(f"| {' | '.join(cells)} |", flush=True)
    print("\n| readers x cases | readers and cases | primary test | model's own error | fallbacks |")
    print("|---|---|---|---|---|")
    for size in SIZES:
        for name, spread in SPREADS.items():
            found, own, fallbacks = false_alarms(spread, *size, arguments.studies, arguments.seed)
            cells = [f"{size[0]} x {size[1]}", name, f"{found:.1%}", f"{own:.1%}", str(fallbacks)]
            print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\n{arguments.studies} studies each, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
