"""TFDS builder of any folder of PNG, JPEG, TIFF and DICOM images, split by patient."""

import csv
import functools
import itertools
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from tfmisr import data
from tfmisr.data.download import require_free_space
from tfmisr.datasets.image_folder import patients, scan
from tfmisr.edge import images, series
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.progress import bar


class Builder(data.DatasetBuilder):
    """A folder of images.

    Args:
        manual_dirs: The folder, or several that form one dataset.
        patient_pattern: Regular expression with one group, the patient identifier in a file name.
        full_scale: `series`; or `file`, as in version 1.0.0, for runs that started with it.
        **kwargs: `data_dir` of `tfds.core.DatasetBuilder`.
    """

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
        """Returns 12 hexadecimal digits that identify the files, the patient pattern and the kind of full scale."""
        return self._fingerprint(*([] if self.full_scale == "file" else ["one full scale for a series"]))

    def earlier_fingerprint(self) -> str:
        """Returns the fingerprint of the same files in version 1.0.0."""
        return self._fingerprint()

    def _fingerprint(self, *more):
        return scan.fingerprint(self._files, self._pattern.pattern if self._pattern else "", *more)

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
        keys = patients.keys(self._images, self._pattern)
        split_of = patients.splits(keys)
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        jobs = {split: [] for split in data.SPLITS}
        for index, (file, key) in enumerate(zip(self._images, keys, strict=True)):
            jobs[split_of[key]].append((f"image_{index:06d}", file, numbers[key]))
        tqdm.tqdm.write(self._report(keys, jobs), file=sys.stderr)
        require_free_space(self.data_dir_root, sum(map(_bytes, self._images)))
        return {split: self._generate_examples(split, jobs[split]) for split in jobs if jobs[split]}

    def _report(self, keys, jobs):
        rules = dict.fromkeys(patients.RULES[key.partition(":")[0]] for key in keys)
        counts = ", ".join(f"{split} {len(jobs[split]):,}" for split in jobs)
        return (
            f"{self.name}: {counted(len(keys), 'image')} of {counted(len(set(keys)), 'patient')} "
            f"(by {', '.join(rules)}): {counts}; left out: {self._tally.broken:,} broken, {self._tally.small:,} small"
        )

    def _generate_examples(self, split, jobs):
        # In the folder of the prepared dataset, on the user's disk only.
        path = pathlib.Path(self.data_path) / "sources.csv"
        with path.open("a", newline="", encoding="utf-8", errors="backslashreplace") as file:
            table = csv.writer(file)
            if not file.tell():
                table.writerow(["id", "file", "frame", "patient", "split"])
            written = 0
            for name, source, patient in bar(jobs, desc=f"preparing {split}", unit=" images", leave=False):
                try:
                    frames = _named_frames(name, source, self._tally, self._scale(source))
                    for frame, (key, image) in enumerate(frames):
                        table.writerow([key, source.name, frame, patient, split])
                        written += 1
                        yield key, self._example(key, image, patient)
                except InputError as error:
                    self._tally.skip_broken(error, source.path)
        self._tally.report()
        if not written:
            raise InputError(f"no image of the {split} split can be read; repair the files named above")

    def _example(self, key, image, patient):
        feature = self.info.features["hr"]
        pixels = image.pixels.astype(feature.np_dtype)
        if pixels.shape[2] < feature.shape[2]:
            pixels = np.repeat(pixels, 3, axis=2)
        return {"hr": pixels, "max_val": image.max_val, "id": key, "patient": patient}


def _bytes(file):
    return file.header.height * file.header.width * file.header.channels * file.header.bits // 8


def _series(file):
    """Returns the key of a file's series: its UID, or the folder it lies in."""
    return file.header.group if file.header.group[0] else (file.path.parent, file.header.group)


def _shown(files):
    return bar(files, desc="scale of a series", unit=" files", leave=False, disable=len(files) < 1000)


def _named_frames(name, source, tally, scale) -> Iterator[tuple[str, images.Image]]:
    """Yields the images of a file with their ids, "name" or "name_0000" where there are several."""
    frames = images.iter_images(source.path, scale)
    head = list(itertools.islice(frames, 2))
    for number, image in enumerate(itertools.chain(head, frames)):
        if min(image.pixels.shape[:2]) < scan.MIN_SIDE:
            tally.skip_small(source.path)
        else:
            yield (name if len(head) == 1 else f"{name}_{number:04d}"), image
