"""TFDS builder of any folder of CT and MR volumes, NIfTI and DICOM series: their slices as images, split by patient."""

import csv
import functools
import os
import pathlib
import sys
from collections.abc import Iterable

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from tfmisr import data
from tfmisr.data.download import require_free_space
from tfmisr.datasets.image_folder import patients, split_list
from tfmisr.datasets.image_folder import scan as image_scan
from tfmisr.datasets.volume_folder import scan, slices
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.edge.volumes import reading
from tfmisr.progress import bar


class Builder(data.DatasetBuilder):
    """A folder of volumes.

    Args:
        manual_dirs: The folder, or several that form one dataset.
        patient_pattern: Regular expression with one group, the patient identifier in a file name.
        **kwargs: `data_dir` of `tfds.core.DatasetBuilder`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    full_scale = "series"

    def __init__(
        self,
        *,
        manual_dirs: Iterable[str | os.PathLike] = (),
        patient_pattern: str | None = None,
        **kwargs,
    ):
        if not manual_dirs:
            raise InputError("volume_folder reads a folder of volumes: give it as --manual_dir FOLDER")
        self._pattern = patients.compiled(patient_pattern)
        super().__init__(manual_dirs=manual_dirs, **kwargs)

    def fingerprint(self) -> str:
        """Returns 12 hexadecimal digits that identify the files and their patients' splits."""
        files = []
        for volume in self._volumes:
            for path in volume.paths:
                info = path.stat()
                name = pathlib.PurePosixPath(volume.name).with_name(path.name).as_posix()
                files.append(image_scan.File(path, name, info.st_size, info.st_mtime_ns))
        pattern = self._pattern.pattern if self._pattern else ""
        return image_scan.fingerprint(files, pattern, *split_list.texts(self.manual_dirs))

    @functools.cached_property
    def _volumes(self):
        return scan.volumes(self.manual_dirs)

    def _info(self):
        return self.dataset_info_from_configs(features=data.features(1, np.uint16))

    def _split_generators(self, dl_manager):
        listed = split_list.read(self.manual_dirs)
        keys = patients.keys(self._volumes, self._pattern, listed is not None)
        split_of = patients.splits(keys) if listed is None else split_list.splits(keys, listed)
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        jobs = {split: [] for split in data.SPLITS}
        for index, (volume, key) in enumerate(zip(self._volumes, keys, strict=True)):
            jobs[split_of[key]].append((f"volume_{index:04d}", volume, numbers[key]))
        tqdm.tqdm.write(self._report(keys, jobs), file=sys.stderr)
        files = (path.stat().st_size for volume in self._volumes for path in volume.paths)
        require_free_space(self.data_dir_root, 3 * sum(files))  # isotropic volumes in three planes
        return {split: self._generate_examples(split, jobs[split]) for split in jobs if jobs[split]}

    def _report(self, keys, jobs):
        rules = ", ".join(dict.fromkeys(patients.RULES[key.partition(":")[0]] for key in keys))
        counts = ", ".join(f"{split} {len(jobs[split]):,}" for split in jobs)
        volumes, people = counted(len(keys), "volume"), counted(len(set(keys)), "patient")
        return f"{self.name}: {volumes} of {people} (by {rules}): {counts}"

    def _generate_examples(self, split, jobs):
        count = 0
        for name, volume, patient in bar(jobs, desc=f"preparing {split}", unit=" volumes", leave=False):
            try:
                source = reading.read(list(volume.paths), volume.series)
            except InputError as error:
                tqdm.tqdm.write(f"skipped {volume.path}: {error}", file=sys.stderr)
                continue
            self._remember(name, volume, patient, split)
            for place, pixels in slices.images(source.volume, source.scale):
                count += 1
                key = f"{name}_{place}"
                yield key, {"hr": pixels, "max_val": source.scale.max_val, "id": key, "patient": patient}
        if not count:
            raise InputError(f"no slice of the {split} split can be used; see the volumes named above")

    def _remember(self, name, volume, patient, split):
        # In the folder of the prepared dataset, on the user's disk only.
        path = pathlib.Path(self.data_path) / "sources.csv"
        with path.open("a", newline="", encoding="utf-8", errors="backslashreplace") as file:
            table = csv.writer(file)
            if not file.tell():
                table.writerow(["id", "file", "patient", "split"])
            table.writerow([name, volume.name, patient, split])
