"""Writes the field `applicability` into the cards of the models that come with the package (T-33).

The statistics are those of the training split; the scores are cross-fitted on it and taken from the validation split.
Weights and their hash do not change; SHA256SUMS does. The result depends on the files of the models alone, whose other
fields are kept.

    python benchmarks/fit_applicability.py --dataset chest_xray14/512 --manual_dir ARCHIVE
"""

import argparse
import hashlib
import json
import pathlib
from collections.abc import Iterator

import numpy as np

from tfmisr import data, degradations
from tfmisr.calibration import applicability
from tfmisr.data import pipeline
from tfmisr.edge import card, runtime, shipped
from tfmisr.edge.files import atomic_write

# Rows and columns of the images at 512 x 512 pixels, from OriginalImage and OriginalImagePixelSpacing of the archive's
# table for the training and validation images: 0.573 to 0.836 mm.
_SPACING = 0.57, 0.84
DECLARED = {
    "Modality": ["CR", "DX"],
    "BodyPartExamined": ["CHEST", "THORAX", "LUNG"],
    "ViewPosition": ["PA", "AP"],
    "PresentationIntentType": ["FOR PRESENTATION"],
    "PhotometricInterpretation": ["MONOCHROME2", "MONOCHROME1"],
    "BitsStored": [8],
    "LossyImageCompression": ["00"],
}


def declared(scale: int) -> dict:
    """Returns the declared use of a model of chest radiographs, in terms of its input."""
    low, high = (round(scale * end, 2) for end in _SPACING)
    return DECLARED | {"PixelSpacing": {"minimum": low, "maximum": high}}


def samples(model: runtime.Model, source: data.Source, split: str) -> Iterator[applicability.Sample]:
    """Yields the images of a split with their upscaled results, as they are stored."""
    cache, degradation = pipeline.cache_of(source, split), degradations.make(scale=model.scale)
    for _, patient, max_val, lr, hr in pipeline.pairs(cache, model.scale, degradation):
        stored = np.rint(lr * max_val).astype(hr.dtype)
        yield applicability.Sample(patient, stored, model.upscale(stored, max_val), hr, max_val)


def rewrite(path: pathlib.Path, source: data.Source) -> dict:
    """Fits the field of one file, writes it into its card, and returns it."""
    model = runtime.Model(path)
    field = applicability.fit(
        samples(model, source, "train"), samples(model, source, "validation"), declared(model.scale)
    )
    content = path.read_bytes()
    new = card.replace(content, model.card | {"applicability": field})
    if card.check(new, path)["weights_sha256"] != model.card["weights_sha256"]:
        raise ValueError(f"the weights of {path} changed")
    with atomic_write(path) as temporary:
        temporary.write_bytes(new)
    return field


def main() -> None:
    """Rewrites the cards and the checksums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=shipped.names())
    parser.add_argument("--dataset", default="chest_xray14/512")
    parser.add_argument("--manual_dir", nargs="+", default=())
    parser.add_argument("--data_dir")
    arguments = parser.parse_args()
    source = data.load(arguments.dataset, arguments.data_dir, arguments.manual_dir)
    for name in arguments.models:
        field = rewrite(shipped.FOLDER / f"{name}.tflite", source)
        print(f"{name}: {len(json.dumps(field)):,} bytes", flush=True)
        refresh_sums()


def refresh_sums() -> None:
    """Writes the checksums of all files again."""
    files = sorted(shipped.FOLDER.glob("*.tflite"))
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (shipped.FOLDER / "SHA256SUMS").write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    main()
