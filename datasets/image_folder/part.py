"""Prepares some files of a folder of images, as `tfmisr.data.parts` does it, here or on a worker."""

import itertools
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from tfmisr import data
from tfmisr.datasets.image_folder import scan
from tfmisr.edge import images
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import IntensityScale


def make_part(sources: dict, threads: int = 1) -> Iterator[tuple[bytes | None, dict]]:
    """Yields the PNG of each image of a part with its entry, or `None` and why it is left out; see `parts.Part`.

    Args:
        sources: `channels` and `dtype` of the dataset, `split`; `images`, of each file the path, the name, the id, the
            number of the patient, and the values of its series's `IntensityScale` or `None`.
        threads: Not used: one after the other.

    Raises:
        InputError: A file is missing.
    """
    feature = data.features(sources["channels"], np.dtype(sources["dtype"]))["hr"]
    for path, file, name, patient, scale in sources["images"]:
        if not os.path.isfile(path):
            raise InputError(f"found no {path}: the folder of images must be one that all machines share")
        try:
            frame = 0
            for key, image in _named_frames(name, pathlib.Path(path), scale and IntensityScale(*scale)):
                if min(image.pixels.shape[:2]) < scan.MIN_SIDE:
                    yield None, {"small": path}
                else:
                    entry = {"key": key, "file": file, "frame": frame, "patient": patient, "max_val": image.max_val}
                    yield _png(image.pixels, feature), {"split": sources["split"], **entry}
                    frame += 1
        except InputError as error:
            yield None, {"broken": [path, str(error)]}


def _png(pixels, feature) -> bytes:
    pixels = pixels.astype(feature.np_dtype)
    if pixels.shape[2] < feature.shape[2]:
        pixels = np.repeat(pixels, 3, axis=2)
    return feature.encode_example(pixels)


def _named_frames(name, path, scale) -> Iterator[tuple[str, images.Image]]:
    """Yields the images of a file with their ids, "name" or "name_0000" where there are several."""
    frames = images.iter_images(path, scale)
    head = list(itertools.islice(frames, 2))
    for number, image in enumerate(itertools.chain(head, frames)):
        yield (name if len(head) == 1 else f"{name}_{number:04d}"), image
