"""Coverage of the reader study's intervals and type I error of its tests, by simulation with known effects (R-23).

For each number of readers and cases, with and without reader-by-arm and case-by-arm interaction: the coverage of
nominal 95 % intervals of a difference in mean score (expected: 92 to 98 %), and that of the bootstrap; and the fraction
of primary tests with p < 0.05 for equal arms (expected: 3 to 7 %), and that with the standard errors of the ordinal
model.

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
# Standard deviations of readers, cases, reader x arm and case x arm, on the logit scale.
SPREADS = {"alike": (0.5, 0.8, 0.0, 0.0), "differ": (0.5, 0.8, 0.3, 0.5), "differ much": (0.5, 0.8, 0.6, 0.5)}
# Effects of two arms on the logit scale: no difference, one category, close to the top of the scale.
EFFECTS = {"equal": (0.0, 0.0), "one step": (0.0, 1.5), "near the top": (1.5, 4.0)}


def coverage(assumptions: Assumptions, readers: int, cases: int, studies: int, seed: int) -> tuple[float, float]:
    """Returns the coverage of the interval, and of the bootstrap interval, for the true difference in mean score."""
    rng, means = np.random.default_rng(seed), assumptions.mean_scores()
    truth, covered = means[1] - means[0], np.zeros(2)
    for study in range(studies):
        scores = assumptions.answer(assumptions.draw(readers, cases, rng), rng).astype(np.float64)
        interval = intervals.over_readers_and_cases(scores[1] - scores[0])
        bounds = (interval.low, interval.high), intervals.bootstrap(scores[1] - scores[0], resamples=500, seed=study)
        covered += [a <= truth <= b for a, b in bounds]
    return tuple(covered / studies)


def type_1_error(spread, readers: int, cases: int, studies: int, seed: int) -> tuple[float, float, int]:
    """Returns the type I error for three equal arms of the primary test and of the Wald test, and the fallbacks."""
    assumptions = Assumptions((0.0,) * 3, deviations=dict(zip(TERMS, spread, strict=True)))
    rng, rejected, rejected_by_wald, fallbacks, tests = np.random.default_rng(seed), 0, 0, 0, 0
    for _ in range(studies):
        scores = assumptions.answer(assumptions.draw(readers, cases, rng), rng).astype(np.float64)
        result = primary.test_pairs(scores)
        for pair in result.pairs:
            tests += 1
            rejected += pair.p_value is not None and pair.p_value < 0.05
            fallbacks += pair.test == primary.LINEAR
            if result.fit:
                value, error = result.fit.contrast(pair.first, pair.second)
                rejected_by_wald += math.erfc(abs(value / error) / math.sqrt(2)) < 0.05
    return rejected / tests, rejected_by_wald / tests, fallbacks


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
                covered = coverage(assumptions, *size, arguments.studies, arguments.seed)
                cells = [f"{size[0]} x {size[1]}", name, arms, *(f"{fraction:.1%}" for fraction in covered)]
                print(f"| {' | '.join(cells)} |", flush=True)
    print("\n| readers x cases | readers and cases | primary test | model's own error | fallbacks |")
    print("|---|---|---|---|---|")
    for size in SIZES:
        for name, spread in SPREADS.items():
            rejected, rejected_by_wald, fallbacks = type_1_error(spread, *size, arguments.studies, arguments.seed)
            cells = [f"{size[0]} x {size[1]}", name, f"{rejected:.1%}", f"{rejected_by_wald:.1%}", str(fallbacks)]
            print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\n{arguments.studies} studies each, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
