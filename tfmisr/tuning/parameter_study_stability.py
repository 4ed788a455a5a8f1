"""Whether the conclusions of a parameter study hold for runs of another length: the same grid, trained shorter.

A study whose runs are too short ranks what starts fastest. The same grid with, say, half of the steps shows how far its
conclusions depend on the length: which differences both studies find, and how alike they rank the settings.
"""

import dataclasses

import numpy as np
from scipy import stats

from tfmisr.edge.errors import InputError
from tfmisr.tuning import parameter_study_statistics as statistics
from tfmisr.tuning.parameter_study_statistics import LEVEL, Contrast
from tfmisr.tuning.parameter_study_table import ParameterStudy


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference of two levels of a parameter, in the shorter and in the longer study.

    Attributes:
        factor: The parameter.
        levels: Its two levels.
        shorter: Difference of their means in the study of fewer steps.
        longer: In that of more steps.
        significant: Whether each of the two is significant, with p-values adjusted within its study (Holm).
    """

    factor: str
    levels: tuple
    shorter: Contrast
    longer: Contrast
    significant: tuple[bool, bool]

    @property
    def same(self) -> bool:
        """Whether both studies lead to the same conclusion: neither is significant, or both are, with one sign."""
        signs = self.shorter.estimate * self.longer.estimate > 0
        return self.significant == (False, False) or (self.significant == (True, True) and signs)


@dataclasses.dataclass(frozen=True)
class Stability:
    """The comparison of two studies of the same grid.

    Attributes:
        steps: Steps of the shorter and of the longer runs.
        differences: One for each pair of levels.
        rank_correlation: Spearman's, of the mean scores of the settings; `nan` where all of a study are equal.
        changes: Mean, smallest and largest change of the score of a setting from the shorter to the longer runs.
        spread: Best minus worst mean score of a setting of the longer runs.
    """

    steps: tuple[int, int]
    differences: list[Difference]
    rank_correlation: float
    changes: tuple[float, float, float]
    spread: float


def compare(shorter: ParameterStudy, longer: ParameterStudy) -> Stability:
    """Returns how the conclusions of two studies of the same grid agree.

    Args:
        shorter: The study of fewer steps.
        longer: The study of more steps.

    Raises:
        InputError: They are not of the same settings, runs differ in length within one of them, or `shorter` is not
            shorter.
    """
    steps = _steps(shorter, longer)
    if shorter.factors != longer.factors or set(shorter.settings) != set(longer.settings):
        raise InputError(f"expected two studies of the same settings. Received: {_grid(shorter)} and {_grid(longer)}")
    scores = shorter.means(), longer.means()
    means = [np.array([mean[setting] for setting in longer.settings]) for mean in scores]
    change = means[1] - means[0]
    varies = all(np.ptp(values) > 0 for values in means)
    correlation = float(stats.spearmanr(*means).statistic) if varies else float("nan")
    changes = float(change.mean()), float(change.min()), float(change.max())
    return Stability(steps, _differences(shorter, longer), correlation, changes, float(np.ptp(means[1])))


def _steps(shorter, longer) -> tuple[int, int]:
    ends = [study.steps or (0, 0) for study in (shorter, longer)]
    if any(first != last for first, last in ends) or not 0 < ends[0][0] < ends[1][0]:
        raise InputError(
            "expected a study of runs of one length, and the same with fewer steps as the shorter one. Received: "
            f"runs of {ends[1][0]} to {ends[1][1]} steps, and of {ends[0][0]} to {ends[0][1]} as the shorter ones"
        )
    return ends[0][0], ends[1][0]


def _grid(study) -> str:
    levels = ", ".join(f"{name} {len(values)}" for name, values in study.factors.items())
    return f"{len(study.settings)} settings ({levels or 'no parameter'} levels)"


def _differences(shorter, longer) -> list[Difference]:
    found = [statistics.comparisons(study) for study in (shorter, longer)]
    if [row[:3] for row in found[0]] != [row[:3] for row in found[1]]:
        raise InputError("expected the same settings to be repeated with other seeds in both studies")
    adjusted = [statistics.holm([contrast.p for *_, contrast in rows]) for rows in found]
    return [
        Difference(factor, (a, b), short, long, (p_short < LEVEL, p_long < LEVEL))
        for (factor, a, b, short), (*_, long), p_short, p_long in zip(*found, *adjusted, strict=True)
    ]
