"""Simulated readers: scores from stated assumptions, for the size of a study and for trying an analysis."""

import dataclasses
import math
import statistics

import numpy as np
from scipy.special import expit

from tfmisr.reader_study.statistics.intervals import over_readers_and_cases
from tfmisr.reader_study.statistics.ordinal import TERMS


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """What simulated scores are drawn from: the ordinal mixed model of `tfmisr.reader_study.statistics.ordinal`.

    The default spread is that of studies of image quality on five categories: one standard deviation among readers
    and among cases is half and three quarters of a category, and both differ in how they take to an arm.

    Attributes:
        effects: Log odds ratio of a higher score of each arm.
        thresholds: Between the categories, increasing, on the logit scale.
        deviations: Standard deviation of each random term of `TERMS`, on the logit scale.
    """

    effects: tuple[float, ...] = (0.0, 1.0)
    thresholds: tuple[float, ...] = (-2.0, -0.5, 1.0, 2.5)
    deviations: dict[str, float] = dataclasses.field(
        default_factory=lambda: dict(zip(TERMS, (0.5, 0.8, 0.3, 0.5), strict=True))
    )

    def draw(self, readers: int, cases: int, rng: np.random.Generator) -> np.ndarray:
        """Returns what readers see in images, without the noise of one look: (arms, readers, cases), logits."""
        arms = len(self.effects)
        shapes = (1, readers, 1), (1, 1, cases), (arms, readers, 1), (arms, 1, cases)
        seen = np.array(self.effects).reshape(-1, 1, 1)
        for term, shape in zip(TERMS, shapes, strict=True):
            seen = seen + self.deviations.get(term, 0.0) * rng.normal(size=shape)
        return seen

    def answer(self, seen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the scores, from 1, of one look at each image."""
        looked = seen + rng.logistic(size=np.shape(seen))
        return 1 + (looked[..., None] > np.array(self.thresholds)).sum(axis=-1)

    def mean_scores(self) -> np.ndarray:
        """Returns the mean score of each arm over all readers and cases there could be."""
        spread = math.sqrt(sum(value**2 for value in self.deviations.values()))
        # Equally likely normal values instead of random ones: the error falls far below that of the draws.
        grid = spread * np.array([statistics.NormalDist().inv_cdf((i + 0.5) / 2000) for i in range(2000)])
        seen = np.array(self.effects)[:, None, None] + grid[:, None] - np.array(self.thresholds)
        return 1 + expit(seen).sum(axis=-1).mean(axis=-1)


@dataclasses.dataclass(frozen=True)
class Size:
    """What studies of one size give.

    Attributes:
        readers: Number of readers.
        cases: Number of cases.
        readings: Images that have to be judged, in all.
        half_width: Median half width of the 95 % interval of the difference between the two arms.
        half_width_most: The half width that four of five studies stay below.
        power: Share of studies whose interval leaves out 0.
        below: Share of studies whose interval lies above `-margin`, None without a margin.
    """

    readers: int
    cases: int
    readings: int
    half_width: float
    half_width_most: float
    power: float
    below: float | None


def size_of_study(
    assumptions: Assumptions, readers: int, cases: int, studies: int = 300, margin: float | None = None, seed: int = 0
) -> Size:
    """Simulates studies of one size.

    The interval and the test are those of the difference of mean scores over readers and cases
    (`over_readers_and_cases`), which agree closely with the ordinal model's and take a thousandth of its time.

    Args:
        assumptions: With two arms; the second is compared with the first.
        readers: Number of readers, at least 2.
        cases: Number of cases, at least 2.
        studies: Number of simulated studies.
        margin: Of non-inferiority, in points of the scale.
        seed: Of the draws.
    """
    rng = np.random.default_rng([seed, readers, cases])
    halves, found, below = [], 0, 0
    for _ in range(studies):
        scores = assumptions.answer(assumptions.draw(readers, cases, rng), rng)
        interval = over_readers_and_cases(scores[1] - scores[0])
        if interval.low is None:
            continue
        halves.append((interval.high - interval.low) / 2)
        found += not interval.low <= 0 <= interval.high
        below += margin is not None and interval.low > -margin
    halves = halves or [math.inf]
    return Size(
        readers,
        cases,
        2 * readers * cases,
        float(np.median(halves)),
        float(np.quantile(halves, 0.8)),
        found / studies,
        None if margin is None else below / studies,
    )
