"""The features of all images of an evaluation, for the measures that compare whole sets: FID and KID."""

import math

import numpy as np

from tfmisr.edge.text import counted
from tfmisr.metrics import features as networks
from tfmisr.metrics import sets
from tfmisr.metrics.region import shave


class Collection:
    """Collects features of the true and of the restored images; does nothing where no measure asks for them.

    Args:
        measures: `fid`, `kid`, both or none.
        features: `tfmisr.metrics.features.Features`; `None`: those of the standard network.
        weights_dir: Folder of its published weights; see `tfmisr.metrics.weights`.

    Attributes:
        description: What the images are looked at through, for the protocol.
    """

    def __init__(self, measures, features=None, weights_dir=None):
        self.measures, self.found = measures, {}
        self.features = networks.standard(weights_dir) if measures and features is None else features
        self.description = self.features.description if measures else ""

    def add(self, hr: np.ndarray, restored: list[tuple[str, np.ndarray]], max_val: int, crop_border: int) -> None:
        """Adds a true image and what each model made of it, less their borders."""
        for name, image in [(None, hr), *restored] if self.measures else ():
            self.found.setdefault(name, []).append(self.features(shave(image, crop_border), max_val))

    def distances(self, model: str) -> dict[str, float]:
        """Returns the measures of a model; nan of a single image."""
        if not self.measures or len(self.found[None]) < 2:
            return dict.fromkeys(self.measures, math.nan)
        pair, values = (np.stack(self.found[None]), np.stack(self.found[model])), {}
        if "fid" in self.measures:
            values["fid"] = sets.frechet_distance(*pair)
        if "kid" in self.measures:
            values["kid"], values["kid_deviation"] = sets.kernel_distance(*pair)
        return values

    def notes(self) -> tuple[str, ...]:
        """Returns what a reader of the distances must know."""
        count, wanted = len(self.found.get(None, ())), sets.FEW * (self.features.count if self.measures else 0)
        if "fid" not in self.measures or count >= wanted:
            return ()
        return (
            f"FID of {counted(count, 'image')} by {self.features.count:,} features is biased upwards (as a rule it "
            f"wants {wanted:,} images); compare it on the same images alone, or take kid",
        )
