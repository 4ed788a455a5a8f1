"""Calibrated half-widths of the models that come with the package (T-14): a table in Markdown, with its protocol.

Of each model, at the level alpha = 0.1: test patients that hold at least 90 % of the pixels of all of their images; the
mean share of such patients over resplits, in which as many patients as were calibrated on are drawn from validation
and test together and the multiplier is found again; mean half-width; Spearman's rank correlation of half-width and
error over every 16th pixel of all images, over the pixels of an image, and of the images' means; and images in which
90 % of the pixels of smooth parts, edges and letters hold. The last columns are the rule that this package does not
use: one multiplier for the pixels of all calibration patients together. LR is made as for the training of each model.

    python benchmarks/uncertainty.py --dataset chest_xray14/512 --manual_dir ARCHIVE
    python benchmarks/uncertainty.py --recipes --models fast-x4 ...    (groups, by cross-fitting on validation patients)
"""

import argparse
import dataclasses
import itertools
import os
import platform

import numpy as np
from scipy import stats

from tfmisr import data, degradations, metrics
from tfmisr.calibration import conformal, groups
from tfmisr.data import pipeline
from tfmisr.edge import card, half_width, shipped, uncertainty
from tfmisr.evaluation import protocol
from tfmisr.inference import upscalers

ALPHA = DELTA = 0.1
RESPLITS = 2000
_FOLDS = 8
_TITLES = (
    "model",
    "multiplier: smooth / edges / letters",
    "test patients that hold",
    "share over 2,000 resplits (5 to 95 %)",
    "least coverage of an image",
    "mean half-width, levels",
    "rank correlation with the error, all pixels together",
    "within an image, mean",
    "of image means",
    "images whose smooth parts hold, % (images)",
    "edges",
    "letters",
    "pooled multiplier",
    "images that hold with it, %",
)
_STEEPNESS = np.array([*np.arange(0, 0.1, 0.005), *np.arange(0.1, 0.5, 0.02), 1.01])
_BINS = np.linspace(-8, 8, 3201)  # of the logarithm of error / scale
_RECIPES = tuple(
    half_width.Groups(radius, edges, letters)
    for radius, edges, letters in itertools.product(
        (1, 2, 3), ((0.02, 0.04), (0.03, 0.06), (0.04, 0.08), (0.06, 0.1)), ((0.12, 0.2), (0.16, 0.26))
    )
)


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """A model with its head and card."""

    name: str
    upscaler: upscalers.Upscaler
    head: uncertainty.Head
    card: dict

    @classmethod
    def load(cls, name: str) -> "Calibrated":
        """Returns a shipped model, or a `.tflite` file."""
        path = shipped.path(name) if shipped.is_name(name) else name
        head = uncertainty.Head(uncertainty.find(path))
        return cls(name, upscalers.load(str(path)), head, card.read(path))

    def images(self, source: data.Source, split: str) -> list[tuple]:
        """Returns patient, error and scale, as fractions of the full scale, and SR in [0, 1], of each image."""
        cache, scale, found = pipeline.cache_of(source, split), self.upscaler.scale, []
        degradation = degradations.of_card(self.card)
        for _, patient, max_val, lr, hr in pipeline.pairs(cache, scale, degradation):
            sr = self.upscaler(lr, scale, max_val).astype(np.float32) / np.float32(max_val)
            error = np.abs(hr.astype(np.float32) / max_val - sr)
            found.append((patient, error, self.head.scale_map(lr, sr), sr))
        return found


@dataclasses.dataclass(frozen=True)
class Map:
    """A head that returns a map it was given."""

    scale: np.ndarray

    def scale_map(self, lr: np.ndarray, sr: np.ndarray, max_val: float = 1.0) -> np.ndarray:
        """Returns the map."""
        return self.scale.copy()


def widths(model: Calibrated, images: list[tuple]) -> list[tuple]:
    """Returns patient, error, half-width and SR of each image."""
    found = []
    for patient, error, scale, sr in images:
        width = half_width.HalfWidth.from_card(Map(scale), model.card, ALPHA)
        found.append((patient, error, width(sr, sr), sr))
    return found


def scores_of(images: list[tuple], multiplier: float, by: int | None = 0) -> np.ndarray:
    """Returns the multiplier that each patient needs; with `by` `None`, that all pixels together need.

    Args:
        images: Of `widths`.
        multiplier: The calibrated one, which the half-widths contain.
        by: Place of the patient.
    """
    ratios = {}
    for image in images:
        with np.errstate(divide="ignore"):
            own = ratios.setdefault(None if by is None else image[by], conformal.Ratios())
            own.add(np.log(image[1] / image[2] * np.float32(multiplier)))
    return np.array([each.quantile(1 - ALPHA) for each in ratios.values()])


def resplit(validation: np.ndarray, test: np.ndarray, seed: int = 0) -> np.ndarray:
    """Returns the share of test patients that hold in each of many random splits of the same sizes."""
    rng, pool = np.random.default_rng(seed), np.concatenate([validation, test])
    shares = []
    for _ in range(RESPLITS):
        drawn = rng.permutation(pool)
        shares.append(np.mean(drawn[len(validation) :] <= conformal.multiplier(drawn[: len(validation)], DELTA)))
    return np.array(shares)


def row(name: str, source: data.Source) -> str:
    """Returns one line of the table."""
    model = Calibrated.load(name)
    width = half_width.HalfWidth.from_card(model.head, model.card, ALPHA)
    of_validation, of_test = (widths(model, model.images(source, split)) for split in ("validation", "test"))
    shares = resplit(*(scores_of(images, width.multiplier) for images in (of_validation, of_test)))
    pooled = float(scores_of(of_validation, width.multiplier, None)[0])
    kinds = width.groups or groups.default(model.upscaler.scale)
    spearman = metrics.get("error_correlation")
    held, pooled_held, by_patient, correlations, means, covered, pixels = {}, [], {}, [], [], [], []
    for patient, error, w, sr in of_test:
        inside = error <= w
        for group, mask in groups.masks(kinds, kinds.steepness(sr)).items():
            if mask.sum() >= groups.LEAST_PIXELS:
                held.setdefault(group, []).append(inside[mask].mean() >= 1 - ALPHA)
        by_patient.setdefault(patient, []).append(inside.mean())
        pooled_held.append(np.mean(error <= w * (pooled / width.multiplier)))
        correlations.append(spearman(error, np.zeros_like(error), 1.0, w))
        means.append((w.mean(), error.mean()))
        covered.append(inside.mean())
        pixels.append((w[::4, ::4].ravel(), error[::4, ::4].ravel()))
    hold = sum(np.mean(own) >= 1 - ALPHA for own in by_patient.values())
    edges = [f"{100 * np.mean(held[group]):.0f} ({len(held[group])})" for group in ("smooth", "edges", "letters")]
    cells = (
        name,
        " / ".join(f"{width.multiplier * factor:.2f}" for factor in (1, *width.factors.values())),
        f"{hold} of {len(by_patient)}",
        f"{shares.mean():.3f} ({np.quantile(shares, 0.05):.2f} to {np.quantile(shares, 0.95):.2f})",
        f"{min(covered):.3f}",
        f"{255 * np.mean([mean for mean, _ in means]):.2f}",
        f"{stats.spearmanr(*map(np.concatenate, zip(*pixels, strict=True))).statistic:.2f}",
        f"{np.mean(correlations):.2f}",
        f"{stats.spearmanr(*zip(*means, strict=True)).statistic:.2f}",
        *edges,
        f"{pooled:.2f}",
        f"{100 * np.mean(np.array(pooled_held) >= 1 - ALPHA):.0f}",
    )
    return "| " + " | ".join(cells) + " |"


@dataclasses.dataclass
class Histogram:
    """Of one patient's image: pixels by steepness and by the logarithm of error / scale, and the scale by steepness."""

    counts: np.ndarray
    scales: np.ndarray

    @classmethod
    def of(cls, error: np.ndarray, scale: np.ndarray, steepness: np.ndarray) -> "Histogram":
        """Counts the pixels of a gray image."""
        logarithms = np.clip(np.log(np.maximum(error, 1e-9) / scale), _BINS[0], _BINS[-1])[..., 0].ravel()
        weights = scale[..., 0].ravel()
        counts, *_ = np.histogram2d(steepness.ravel(), logarithms, (_STEEPNESS, _BINS))
        return cls(counts, np.histogram(steepness.ravel(), _STEEPNESS, weights=weights)[0])

    def needed(self, factor: np.ndarray | None = None, mask: np.ndarray | None = None) -> float:
        """Returns the multiplier that covers 90 % of the pixels of some steepness; nan for few pixels."""
        counts = self.counts if mask is None else self.counts * mask[:, None]
        if counts.sum() < groups.LEAST_PIXELS:
            return np.nan
        middle = (_BINS[1:] + _BINS[:-1]) / 2
        logarithms = middle[None] - np.log(np.ones(len(counts)) if factor is None else factor)[:, None]
        order = np.argsort(logarithms, axis=None)
        total = np.cumsum(counts.ravel()[order])
        at = np.searchsorted(total, (1 - ALPHA) * total[-1])
        return float(np.exp(logarithms.ravel()[order][at]))


def recipe(kinds: half_width.Groups, histograms: list[Histogram], with_factors: bool = True) -> dict:
    """Returns how the patients of each fold fare with factors and multiplier of the other folds."""
    middle = ((_STEEPNESS[1:] + _STEEPNESS[:-1]) / 2).astype(np.float32)
    masks = groups.masks(kinds, middle)
    alone = {name: np.array([h.needed(None, mask) for h in histograms]) for name, mask in masks.items()}
    results = {name: [] for name in (*masks, "all", "width")}
    folds = np.arange(len(histograms)) % _FOLDS
    chosen = []
    for fold in range(_FOLDS):
        own, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        found = groups.factors({name: values[others] for name, values in alone.items()}, DELTA)
        found = found if with_factors else dict.fromkeys(found, 1.0)
        chosen.append(list(found.values()))
        factor = kinds.factor(middle[None], found)[0]
        multiplier = conformal.multiplier(np.array([histograms[i].needed(factor) for i in others]), DELTA)
        for i in own:
            results["all"].append(histograms[i].needed(factor) <= multiplier)
            results["width"].append(
                255 * multiplier * (histograms[i].scales * factor).sum() / histograms[i].counts.sum()
            )
            for name, mask in masks.items():
                if np.isfinite(alone[name][i]):
                    results[name].append(histograms[i].needed(factor, mask) <= multiplier)
    return {name: float(np.mean(values)) for name, values in results.items()} | {"factors": np.mean(chosen, axis=0)}


def recipes(name: str, source: data.Source) -> None:
    """Prints the groups that were tried, on validation patients alone."""
    model = Calibrated.load(name)
    images = [image[1:] for image in model.images(source, "validation")]
    for radius in sorted({kinds.radius for kinds in _RECIPES}):
        tried = [kinds for kinds in _RECIPES if kinds.radius == radius]
        histograms = [Histogram.of(error, scale, tried[0].steepness(sr)) for error, scale, sr in images]
        for kinds, with_factors in itertools.chain([(tried[0], False)], ((each, True) for each in tried)):
            found = recipe(kinds, histograms, with_factors)
            factors = " / ".join(f"{factor:.2f}" for factor in found.pop("factors"))
            cells = ", ".join(f"{key} {value:.3f}" for key, value in found.items())
            print(
                f"{name}: {kinds if with_factors else f'none, radius {radius}'}: {cells}; factors {factors}", flush=True
            )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=shipped.names_with_head())
    parser.add_argument("--dataset", default="chest_phantom")
    parser.add_argument("--manual_dir", nargs="+", default=())
    parser.add_argument("--data_dir")
    parser.add_argument("--recipes", action="store_true", help="try other groups, on the validation split alone")
    arguments = parser.parse_args()
    source = data.load(arguments.dataset, arguments.data_dir, arguments.manual_dir)
    if arguments.recipes:
        for name in arguments.models:
            recipes(name, source)
        return
    print("| " + " | ".join(_TITLES) + " |\n|" + "---:|" * len(_TITLES))
    for name in arguments.models:
        print(row(name, source), flush=True)
    digest, cache = protocol.ImagesHash(), pipeline.cache_of(source, "test")
    for index, identifier in enumerate(cache.ids):
        digest.add(identifier, cache[index], int(cache.max_vals[index]))
    print(
        f"\n{source.name}: {len(cache)} test images of {len(np.unique(cache.patients))} patients (hash "
        f"{digest.hexdigest()}), bicubic reduction in full precision, rounded; all pixels, no border cut off; "
        f"{platform.machine()}, {os.cpu_count()} cores, NumPy {np.__version__}."
    )


if __name__ == "__main__":
    main()
