"""Coverage of the intervals of agreement over all images, by simulation with known agreement.

Scores on 1 to 5 come from the ordinal mixed model of the reader study: arms are fixed; readers, cases, reader x arm and
case x arm are random. The agreement in the population of readers and cases, ICC(2,1), ICC(3,1) and Krippendorff's
ordinal alpha, is an integral over these (Gauss-Hermite quadrature), computed independently of the analysis. The table
has the fraction of nominal 95 % intervals that contain it: with images of one case as a cluster and the arms as fixed,
and, in brackets, as if all images were independent (alpha: a bootstrap over cases with the readers fixed), as in 0.1.0.

    nice python benchmarks/agreement_coverage.py --studies 2000
"""

import argparse
import math
import time

import numpy as np
from scipy.special import expit

from tfmisr.reader_study.statistics import agreement
from tfmisr.reader_study.statistics.agreement import krippendorff_alpha
from tfmisr.reader_study.statistics.icc import Coefficient, intraclass
from tfmisr.reader_study.statistics.ordinal import TERMS
from tfmisr.reader_study.statistics.simulation import Assumptions

# Readers, cases, and the effects of the arms on the logit scale.
DESIGNS = {
    "3 x 20 x 4, arms apart": (3, 20, (0.0, 1.0, 2.0, 3.0)),
    "3 x 20 x 4, arms alike": (3, 20, (0.0, 0.0, 0.0, 0.0)),
    "3 x 20 x 4, near the top": (3, 20, (1.5, 2.0, 3.0, 4.0)),
    "5 x 40 x 3, arms apart": (5, 40, (0.0, 1.0, 2.5)),
    "5 x 40 x 3, arms alike": (5, 40, (0.0, 0.0, 0.0)),
    "4 x 30 x 2, arms apart": (4, 30, (0.0, 1.5)),
    "2 x 30 x 3, arms apart": (2, 30, (0.0, 1.0, 2.5)),
    "3 x 20 x 1": (3, 20, (0.0,)),
}
# Standard deviations of readers, cases, reader x arm and case x arm, on the logit scale.
SPREADS = {
    "usual": (0.5, 0.8, 0.3, 0.5),
    "no case effects": (0.5, 0.0, 0.3, 0.0),
    "strong case effects": (0.5, 1.6, 0.3, 0.5),
    "readers alike": (0.1, 0.8, 0.1, 0.5),
    "readers differ much": (1.0, 0.8, 0.6, 0.5),
}
COEFFICIENTS = ("ICC(2,1)", "ICC(3,1)", "alpha")


def true_agreement(assumptions: Assumptions) -> dict[str, float]:
    """Returns the agreement in the population of readers and cases: name of each coefficient to its value."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    weights = weights / weights.sum()
    reader, case, by_reader, by_case = (assumptions.deviations[term] for term in TERMS)
    # Axes: arm, reader, reader x arm, case with case x arm.
    latent = np.array(assumptions.effects)[:, None, None, None] + reader * nodes[:, None, None]
    latent = latent + by_reader * nodes[:, None] + math.hypot(case, by_case) * nodes
    above = expit(latent[..., None] - np.array(assumptions.thresholds))
    ends = np.ones((*latent.shape, 1)), np.zeros((*latent.shape, 1))
    chances = -np.diff(np.concatenate([ends[0], above, ends[1]], axis=-1), axis=-1)
    shares = np.einsum("arsuk,r,s,u->k", chances, weights, weights, weights) / len(assumptions.effects)
    scores = np.arange(1.0, len(shares) + 1)
    single, consistent = _correlations(chances @ scores, shares, scores, weights)
    ranks = np.cumsum(shares) - shares / 2
    return dict(
        zip(COEFFICIENTS, (single, consistent, _correlations(chances @ ranks, shares, ranks, weights)[0]), strict=True)
    )


def _correlations(
    means: np.ndarray, shares: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> tuple[float, float]:
    """Returns the share of variance between images, of all variance and of that without the readers' own."""
    arms, mean = len(means), float(shares @ scores)
    total = float(shares @ scores**2) - mean**2
    of_image = np.einsum("arsu,r,s->au", means, weights, weights)
    between = float(np.einsum("au,u->a", of_image**2, weights).mean()) - mean**2
    of_reader = np.einsum("arsu,u->ars", means, weights)
    in_arm = np.einsum("ars,s->ar", of_reader, weights)
    same = np.einsum("ars,r,s->", of_reader**2, weights, weights)
    other = weights @ (in_arm.sum(axis=0) ** 2 - (in_arm**2).sum(axis=0))
    of_readers = float(same + other) / arms**2 - mean**2
    return between / total, between / (total - of_readers)


def intervals(scores: np.ndarray, missing: float, rng: np.random.Generator) -> list[list]:
    """Returns the coefficients of a study (arms, readers, cases), with clusters and as if images were independent."""
    arms, readers, cases = scores.shape
    images = scores.transpose(0, 2, 1).reshape(arms * cases, readers).astype(np.float64)
    images[rng.random(images.shape) < missing] = np.nan
    case, arm = np.tile(np.arange(cases), arms), np.repeat(np.arange(arms), cases)
    clustered, independent = intraclass(images, cases=case, arms=arm), intraclass(images)
    alphas = krippendorff_alpha(images, 5, case, arms=arm), _bootstrap_alpha(images, case, rng)
    names = COEFFICIENTS[:2]
    return [[*(clustered[n] for n in names), alphas[0]], [*(independent[n] for n in names), alphas[1]]]


def _bootstrap_alpha(
    images: np.ndarray, case: np.ndarray, rng: np.random.Generator, resamples: int = 300
) -> Coefficient:
    """Returns alpha with the percentile interval of a bootstrap over cases, the readers fixed."""
    counts = agreement._counts(images, 5)
    several = counts.sum(axis=1) >= 2
    counts, case = counts[several], case[several]
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(5)
    pairs /= counts.sum(axis=1)[:, None, None] - 1
    names, index = np.unique(case, return_inverse=True)
    by_case = np.zeros((len(names), 5, 5))
    np.add.at(by_case, index, pairs)
    draw = np.random.default_rng(int(rng.integers(2**31))).multinomial
    drawn = draw(len(names), np.full(len(names), 1 / len(names)), resamples).astype(np.float64)
    values = agreement._alpha(np.tensordot(drawn, by_case, axes=1), "ordinal")
    low, high = np.nanquantile(values, (0.025, 0.975))
    value = float(agreement._alpha(by_case.sum(axis=0, keepdims=True), "ordinal")[0])
    return Coefficient(value, min(low, value), max(high, value), len(counts))


def coverage(assumptions: Assumptions, readers: int, cases: int, studies: int, missing: float, seed: int) -> np.ndarray:
    """Returns the coverage (2, coefficients): with clusters, and as if images were independent."""
    truth = [true_agreement(assumptions)[name] for name in COEFFICIENTS]
    rng = np.random.default_rng(seed)
    held, defined = np.zeros((2, len(truth))), np.zeros((2, len(truth)))
    for _ in range(studies):
        scores = assumptions.answer(assumptions.draw(readers, cases, rng), rng)
        for way, found in enumerate(intervals(scores, missing, rng)):
            for i, coefficient in enumerate(found):
                if coefficient.low is not None:
                    defined[way, i] += 1
                    held[way, i] += coefficient.low <= truth[i] <= coefficient.high
    return held / defined


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--missing", type=float, default=0.0, help="fraction of answers that are missing at random")
    arguments = parser.parse_args()
    start = time.perf_counter()
    print(f"| readers x cases x arms | random effects | true ICC(2,1) | {' | '.join(COEFFICIENTS)} |")
    print("|---|---|---|---|---|---|")
    for design, (readers, cases, effects) in DESIGNS.items():
        for name, spread in SPREADS.items():
            assumptions = Assumptions(effects, deviations=dict(zip(TERMS, spread, strict=True)))
            now, before = coverage(assumptions, readers, cases, arguments.studies, arguments.missing, arguments.seed)
            cells = [design, name, f"{true_agreement(assumptions)['ICC(2,1)']:.2f}"]
            cells += [f"{a:.1%} ({b:.1%})" for a, b in zip(now, before, strict=True)]
            print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\n{arguments.studies} studies each, {time.perf_counter() - start:.0f} s; in brackets: images independent")


if __name__ == "__main__":
    main()
