"""Simulated scores from an ordinal mixed model, for sample size estimation and for testing an analysis."""

import dataclasses
import math
import statistics

import numpy as np
from scipy.special import expit

from tfmisr.edge.deprecation import renamed
from tfmisr.reader_study.statistics.intervals import over_readers_and_cases
from tfmisr.reader_study.statistics.ordinal import TERMS


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """Parameters of the ordinal mixed model of `tfmisr.reader_study.statistics.ordinal`.

    The default standard deviations are typical of image quality studies with five categories: half a category between
    readers and three quarters of a category between cases, and smaller interactions of both with the arm.

    Attributes:
        effects: Log odds ratio of a higher score for each arm.
        thresholds: Thresholds between the categories, increasing, on the logit scale.
        deviations: Standard deviation of each random term of `TERMS`, on the logit scale.
    """

    effects: tuple[float, ...] = (0.0, 1.0)
    thresholds: tuple[float, ...] = (-2.0, -0.5, 1.0, 2.5)
    deviations: dict[str, float] = dataclasses.field(
        default_factory=lambda: dict(zip(TERMS, (0.5, 0.8, 0.3, 0.5), strict=True))
    )

    def draw(self, readers: int, cases: int, rng: np.random.Generator) -> np.ndarray:
        """Draws the latent values of all images, without the residual error of a reading.

        Args:
            readers: Number of readers.
            cases: Number of cases.
            rng: Random generator.

        Returns:
            Array (arms, readers, cases) on the logit scale.
        """
        arms = len(self.effects)
        shapes = (1, readers, 1), (1, 1, cases), (arms, readers, 1), (arms, 1, cases)
        latent = np.array(self.effects).reshape(-1, 1, 1)
        for term, shape in zip(TERMS, shapes, strict=True):
            latent = latent + self.deviations.get(term, 0.0) * rng.normal(size=shape)
        return latent

    def answer(self, latent: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws the scores, from 1, of one reading of each image.

        Args:
            latent: Latent values of any shape, on the logit scale.
            rng: Random generator of the logistic residuals.
        """
        perceived = latent + rng.logistic(size=np.shape(latent))
        return 1 + (perceived[..., None] > np.array(self.thresholds)).sum(axis=-1)

    def mean_scores(self) -> np.ndarray:
        """Returns the expected score of each arm (arms,) over the populations of readers and cases."""
        deviation = math.sqrt(sum(value**2 for value in self.deviations.values()))
        # Quantiles of the normal distribution instead of random values: the error is far below that of the simulation.
        grid = deviation * np.array([statistics.NormalDist().inv_cdf((i + 0.5) / 2000) for i in range(2000)])
        latent = np.array(self.effects)[:, None, None] + grid[:, None] - np.array(self.thresholds)
        return 1 + expit(latent).sum(axis=-1).mean(axis=-1)


@dataclasses.dataclass(frozen=True)
class SampleSize:
    """Precision and power of studies with one number of readers and cases.

    Attributes:
        readers: Number of readers.
        cases: Number of cases.
        readings: Number of images to rate, over all readers.
        half_width: Median half width of the 95 % interval of the difference between the two arms.
        half_width_most: 80th percentile of that half width.
        power: Share of studies whose interval excludes 0.
        below: Share of studies whose interval lies above `-margin`, `None` without a margin.
    """

    readers: int
    cases: int
    readings: int
    half_width: float
    half_width_most: float
    power: float
    below: float | None


def simulate_sample_size(
    assumptions: Assumptions, readers: int, cases: int, studies: int = 300, margin: float | None = None, seed: int = 0
) -> SampleSize:
    """Simulates studies with one number of readers and cases.

    Interval and test are those of the difference of mean scores over readers and cases (`over_readers_and_cases`),
    which agree closely with the ordinal model's and take a thousandth of its time.

    Args:
        assumptions: Model of two arms; the second is compared with the first.
        readers: Number of readers, at least 2.
        cases: Number of cases, at least 2.
        studies: Number of simulated studies.
        margin: Non-inferiority margin, in points of the scale.
        seed: Seed of the simulation.
    """
    rng = np.random.default_rng([seed, readers, cases])
    half_widths, significant, below = [], 0, 0
    for _ in range(studies):
        scores = assumptions.answer(assumptions.draw(readers, cases, rng), rng)
        interval = over_readers_and_cases(scores[1] - scores[0])
        if interval.low is None:
            continue
        half_widths.append((interval.high - interval.low) / 2)
        significant += not interval.low <= 0 <= interval.high
        below += margin is not None and interval.low > -margin
    half_widths = half_widths or [math.inf]
    return SampleSize(
        readers,
        cases,
        2 * readers * cases,
        float(np.median(half_widths)),
        float(np.quantile(half_widths, 0.8)),
        significant / studies,
        None if margin is None else below / studies,
    )


__getattr__ = renamed(__name__, Size="SampleSize", size_of_study="simulate_sample_size")
