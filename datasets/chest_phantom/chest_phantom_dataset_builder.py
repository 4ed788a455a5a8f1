"""TFDS builder of procedural chest radiographs, 16-bit gray: data that needs no download."""

import numpy as np
import tensorflow_datasets as tfds

from tfmisr import data
from tfmisr.datasets.chest_phantom import phantom
from tfmisr.progress import bar

IMAGES = {"train": 96, "validation": 16, "test": 16}
SIZE = 512

# The seed of an image is its patient's number; this is the distance between the first numbers of two splits.
APART = 10_000


class Builder(data.DatasetBuilder):
    """Computed chest radiographs, each of another patient."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}

    def _info(self):
        return self.dataset_info_from_configs(features=data.features(1, np.uint16))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in IMAGES}

    def _generate_examples(self, split):
        first = list(IMAGES).index(split) * APART
        for number in bar(range(IMAGES[split]), desc=f"preparing {split}", unit=" images", leave=False):
            name = f"{split}_{number:04d}"
            pixels = phantom.radiograph(first + number, SIZE)[..., None]
            yield name, {"hr": pixels, "max_val": phantom.MAX_VAL, "id": name, "patient": first + number}
