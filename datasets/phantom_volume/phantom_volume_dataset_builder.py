"""TFDS builder of slices of analytic head and chest volumes: data that needs no download."""

import numpy as np
import tensorflow_datasets as tfds

from tfmisr import data
from tfmisr.datasets.phantom_volume import phantom
from tfmisr.datasets.volume_folder import slices
from tfmisr.edge.dicom import CT_MAX_VAL, LOWEST_HU
from tfmisr.edge.levels import IntensityScale
from tfmisr.progress import bar

VOLUMES = {"train": 8, "validation": 2, "test": 2}
SPACING = 1.5  # mm
STEP = 3  # every third plane: neighbors are alike
SCALES = {"CT": IntensityScale(LOWEST_HU, CT_MAX_VAL), "MR": IntensityScale(0, 1023)}

# The seed of a volume is its patient's number; this is the distance between the first numbers of two splits.
APART = 10_000


class Builder(data.DatasetBuilder):
    """Slices of computed volumes, each of another patient: heads and chests, CT and MR."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}

    def _info(self):
        return self.dataset_info_from_configs(features=data.features(1, np.uint16))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in VOLUMES}

    def _generate_examples(self, split):
        first = list(VOLUMES).index(split) * APART
        for number in bar(range(VOLUMES[split]), desc=f"preparing {split}", unit=" volumes", leave=False):
            kind, modality = phantom.KINDS[number % 2], phantom.MODALITIES[number // 2 % 2]
            volume = phantom.phantom(phantom.grid(SPACING), first + number, kind, modality)
            for place, pixels in slices.images(volume, SCALES[modality], STEP):
                name = f"{split}_{number:02d}_{place}"
                yield name, {"hr": pixels, "max_val": SCALES[modality].max_val, "id": name, "patient": first + number}
