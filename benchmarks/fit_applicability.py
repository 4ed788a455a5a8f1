"""Writes the field `applicability` into the cards of the models that come with the package (T-33).

LR is made as for the training of each model. The statistics are those of the training split; the scores are
cross-fitted on it and taken from the validation split. Weights and their hash do not change; SHA256SUMS does. The
result depends on the files of the models alone, whose other fields are kept.

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
from tfmisr.degradations import crop_to_multiple
from tfmisr.edge import card, shipped
from tfmisr.edge.files import atomic_write
from tfmisr.edge.upscaler import Upscaler
from tfmisr.inference import upscalers
from tfmisr.training import uncertainty_data

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


# Of models that were trained on images of many acquisitions.
_ROBUST = {"BitsStored": [8, 10, 12, 14, 15, 16], "LossyImageCompression": ["00", "01"]}


def declared(scale: int, robust: bool = False) -> dict:
    """Returns the declared use of a model of chest radiographs, in terms of its input."""
    low, high = (round(scale * end, 2) for end in _SPACING)
    return DECLARED | {"PixelSpacing": {"minimum": low, "maximum": high}} | (_ROBUST if robust else {})


def samples(upscaler: Upscaler, source: data.Source, split: str) -> Iterator[applicability.Sample]:
    """Yields the images of a split with their upscaled results, as they are stored.

    The results are kept beside the decoded images, where the training of the uncertainty head finds them too.
    """
    degradation = degradations.of_card(upscaler.card)
    results = uncertainty_data.Results(source, split, upscaler, upscaler.scale, degradation)
    cache = results.cache
    for index, (patient, max_val) in enumerate(zip(cache.patients.tolist(), cache.max_vals.tolist(), strict=True)):
        hr, lr = crop_to_multiple(cache[index], upscaler.scale), results.lr[index]
        # Where the degradation does not round, LR is kept in [0, 1].
        lr = lr * np.float32(max_val) if lr.dtype == np.float32 else lr
        yield applicability.Sample(patient, lr, results.sr[index], hr, max_val)


def rewrite(path: pathlib.Path, source: data.Source) -> dict:
    """Fits the field of one file, writes it into its card, and returns it."""
    upscaler, content = upscalers.load(str(path)), path.read_bytes()
    training, held_out = (samples(upscaler, source, split) for split in ("train", "validation"))
    field = applicability.fit(
        training, held_out, declared(upscaler.scale, bool(upscaler.card["training"].get("degradation")))
    )
    fields = card.check(content, path)
    new = card.replace(content, fields | {"applicability": field})
    if card.check(new, path)["weights_sha256"] != fields["weights_sha256"]:
        raise ValueError(f"the weights of {path} changed")
    with atomic_write(path) as temporary:
        temporary.write_bytes(new)
    return field


def main() -> None:
    """Rewrites the cards and the checksums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=shipped.names_with_head())
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
