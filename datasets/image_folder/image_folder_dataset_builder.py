"""TFDS builder of any folder of PNG, JPEG, TIFF and DICOM images, split by patient."""

import csv
import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Iterable

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from tfmisr import data
from tfmisr.data import parts
from tfmisr.data.download import require_free_space
from tfmisr.datasets.image_folder import patients, scan, split_list
from tfmisr.datasets.image_folder.part import make_part
from tfmisr.edge import images, series
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.progress import bar

PART = 128  # source files


class Builder(data.DatasetBuilder):
    """A folder of images.

    Args:
        manual_dirs: The folder, or several that form one dataset.
        patient_pattern: Regular expression with one group, the patient identifier in a file name.
        full_scale: `series`; or `file`, as in version 1.0.0, for runs that started with it.
        **kwargs: `data_dir` of `tfds.core.DatasetBuilder`.
    """

    in_parts = True
    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "One full scale for a series.", "1.0.0": "First release."}

    def __init__(
        self,
        *,
        manual_dirs: Iterable[str | os.PathLike] = (),
        patient_pattern: str | None = None,
        full_scale: str = "series",
        **kwargs,
    ):
        if not manual_dirs:
            raise InputError("image_folder reads a folder of images: give it as --dataset FOLDER")
        self._pattern = patients.compiled(patient_pattern)
        self._tally = scan.Tally()
        self.full_scale = full_scale
        if full_scale == "file":
            self.VERSION = tfds.core.Version("1.0.0")
        super().__init__(manual_dirs=manual_dirs, **kwargs)

    def fingerprint(self) -> str:
        """Returns 12 hexadecimal digits that identify the files, their patients' splits and the kind of full scale."""
        return self._fingerprint(*([] if self.full_scale == "file" else ["one full scale for a series"]))

    def earlier_fingerprint(self) -> str:
        """Returns the fingerprint of the same files in version 1.0.0."""
        return self._fingerprint()

    def _fingerprint(self, *more):
        pattern = self._pattern.pattern if self._pattern else ""
        return scan.fingerprint(self._files, pattern, *more, *split_list.texts(self.manual_dirs))

    @functools.cached_property
    def _files(self):
        return scan.files(self.manual_dirs)

    @functools.cached_property
    def _images(self):
        found = scan.read_headers(self._files, self._tally)
        if not found:
            raise InputError(
                "expected PNG, JPEG, TIFF or DICOM images with sides of at least "
                f"{scan.MIN_SIDE} pixels, found none in {', '.join(map(str, self.manual_dirs))}"
            )
        return found

    @functools.cached_property
    def _scales(self):
        found = series.SeriesScales(images.survey, _shown)
        for file in self._images:
            if file.header.group:
                found.add(_series(file), file.path)
        return found

    def _scale(self, file):
        by_file = file.header.group is None or self.full_scale == "file"
        return None if by_file else self._scales[_series(file)]

    def _info(self):
        # A prepared dataset has its features stored; the headers of all files need not be read again.
        if (self.data_path / "features.json").exists():
            features = tfds.features.FeaturesDict.from_config(str(self.data_path))
        else:
            channels, bits = scan.stored_type(self._images)
            features = data.features(channels, np.uint8 if bits == 8 else np.uint16)
        return self.dataset_info_from_configs(features=features)

    def _split_generators(self, dl_manager):
        listed = split_list.read(self.manual_dirs)
        keys = patients.keys(self._images, self._pattern, listed is not None)
        split_of = patients.splits(keys) if listed is None else split_list.splits(keys, listed)
        if listed is None and (note := patients.unused_split_folders(self._images, keys)):
            tqdm.tqdm.write(note, file=sys.stderr)
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        jobs = {split: [] for split in data.SPLITS}
        for index, (file, key) in enumerate(zip(self._images, keys, strict=True)):
            jobs[split_of[key]].append((f"image_{index:06d}", file, numbers[key]))
        tqdm.tqdm.write(self._report(keys, jobs), file=sys.stderr)
        staged = self._staged(self._parts(jobs))
        missing = staged.missing()
        size = sum(map(_bytes, self._images))
        done = 1 - sum(map(len, missing)) / len(self._images)
        require_free_space(self.data_dir_root, int((2 - done) * size))  # parts, then the dataset made of them
        parts.report(self.name, staged, missing)
        for index in staged.complete(self.part_runner or parts.here):
            self._count(index)
        self._tally.report()
        return {split: self._generate_examples(staged, split) for split in jobs if jobs[split]}

    def _parts(self, jobs) -> list[parts.Part]:
        feature, result = self.info.features["hr"], []
        for split in jobs:
            for start in range(0, len(jobs[split]), PART):
                images = [self._plain(*job) for job in jobs[split][start : start + PART]]
                kind = {"channels": feature.shape[2], "dtype": np.dtype(feature.np_dtype).name, "split": split}
                identity = [self.fingerprint(), kind, [image[1:] for image in images]]
                result.append(parts.Part(make_part.__module__ + ":make_part", {**kind, "images": images}, identity))
        return result

    def _plain(self, name, file, patient) -> list:
        scale = self._scale(file)
        return [str(file.path.absolute()), file.name, name, patient, scale and dataclasses.astuple(scale)]

    def _count(self, index):
        for entry in index:
            if "broken" in entry:
                path, reason = entry["broken"]
                self._tally.skip_broken(InputError(reason), pathlib.Path(path))
            elif "small" in entry:
                self._tally.skip_small(pathlib.Path(entry["small"]))

    def _report(self, keys, jobs):
        rules = dict.fromkeys(patients.RULES[key.partition(":")[0]] for key in keys)
        counts = ", ".join(f"{split} {len(jobs[split]):,}" for split in jobs)
        return (
            f"{self.name}: {counted(len(keys), 'image')} of {counted(len(set(keys)), 'patient')} "
            f"(by {', '.join(rules)}): {counts}; left out: {self._tally.broken:,} broken, {self._tally.small:,} small"
        )

    def _generate_examples(self, staged, split):
        if not staged.count(split):
            raise InputError(f"no image of the {split} split can be read; repair the files named above")
        # In the folder of the prepared dataset, on the user's disk only.
        path = pathlib.Path(self.data_path) / "sources.csv"
        with path.open("a", newline="", encoding="utf-8", errors="backslashreplace") as file:
            table = csv.writer(file)
            if not file.tell():
                table.writerow(["id", "file", "frame", "patient", "split"])
            for entry, png in staged.examples(split):
                key, patient = entry["key"], entry["patient"]
                table.writerow([key, entry["file"], entry["frame"], patient, split])
                yield key, {"hr": png, "max_val": entry["max_val"], "id": key, "patient": patient}


def _bytes(file):
    return file.header.height * file.header.width * file.header.channels * file.header.bits // 8


def _series(file):
    """Returns the key of a file's series: its UID, or the folder it lies in."""
    return file.header.group if file.header.group[0] else (file.path.parent, file.header.group)


def _shown(files):
    return bar(files, desc="scale of a series", unit=" files", leave=False, disable=len(files) < 1000)
