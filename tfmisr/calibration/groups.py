"""Factors of edges and letters: how much more of the scale of the error they need than smooth parts.

They belong to the scale, not to the calibration: like the uncertainty head they come from training patients. So the
calibrated multiplier, which is found over the combined map, keeps its guarantee exactly.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfmisr.calibration import conformal
from tfmisr.edge.half_width import GROUPS, Groups

SMOOTH = "smooth"
LEAST_PATIENTS = 20  # with pixels of a group; a factor of fewer is not told from 1
LEAST_PIXELS = 100  # of a group in the images of a patient
LEAST_DIFFERENCE = 0.1  # a factor within 10 % of 1 is 1


def default(scale: int) -> Groups:
    """Returns the groups of a scale; see `docs/uncertainty.md` on how they were chosen.

    Args:
        scale: Upsampling factor.
    """
    return Groups(radius=max(scale // 2, 1), edges=(0.04, 0.08), letters=(0.3, 0.4))


def masks(groups: Groups, steepness: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the pixels of each group, without those of the transitions between them.

    Args:
        groups: The groups.
        steepness: Of `Groups.steepness`.
    """
    return {
        SMOOTH: steepness <= groups.edges[0],
        "edges": (steepness >= groups.edges[1]) & (steepness <= groups.letters[0]),
        "letters": steepness >= groups.letters[1],
    }


def factors(needed: Mapping[str, Sequence[float]], delta: float) -> dict[str, float]:
    """Returns the factor of each group beside smooth parts.

    Args:
        needed: Group to the scores of the patients that have pixels of it, nan where there are too few; all of the
            same patients in the same order.
        delta: Share of patients that may need more.
    """
    levels = {name: _level(scores, delta) for name, scores in needed.items()}
    found = {}
    for name in GROUPS:
        ratio = levels[name] / levels[SMOOTH]
        found[name] = round(ratio, 4) if math.isfinite(ratio) and abs(ratio - 1) > LEAST_DIFFERENCE else 1.0
    return found


def _level(scores, delta) -> float:
    known = np.asarray(scores, float)
    known = known[np.isfinite(known)]
    return conformal.multiplier(known, delta) if len(known) >= LEAST_PATIENTS else math.nan
