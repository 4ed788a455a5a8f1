"""Puts `ct-x4` in its place in the package, with the scores of leave-one-patient-out evaluation in its card.

    python benchmarks/leave_one_out.py --output runs/ct-x4 --data ../shared/data/ct --scale 4 --preset slices_x4
    python benchmarks/describe_ct.py exported/ct-x4_float16.tflite runs/ct-x4

The shipped network is trained on the slices of all nine patients, so it has no score of its own: the card has the means
of the nine networks that were each trained on eight. Its applicability is the declared use alone: statistics of pixels
need 99 patients.
"""

import argparse
import json
import pathlib

import numpy as np
from fit_applicability import refresh_sums

from tfmisr.edge import card, shipped
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write

NAME = "ct-x4"
DECLARED = {
    "Modality": ["CT"],
    "BodyPartExamined": ["CHEST", "THORAX", "LUNG"],
    "PhotometricInterpretation": ["MONOCHROME2"],
}
_KEPT = ("scale", "degradation", "crop_border", "center_fraction", "values", "measures")


def scores(folder: pathlib.Path) -> tuple[dict, dict]:
    """Returns protocol and scores for the card: means over the patients, every patient with the same weight."""
    if json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["apart"]:
        raise InputError(f"{folder}: expected an evaluation without --apart")
    paths = sorted(folder.glob("patient-*/evaluation/metrics.json"))
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    protocol = {key: contents[0]["protocol"][key] for key in _KEPT if key in contents[0]["protocol"]}
    images = sum(content["models"]["bicubic"]["n"] for content in contents)
    protocol = {"dataset": "image_folder", "split": "leave one patient out", "images": images} | protocol
    found = {}
    for name, shown in (("bicubic", "bicubic"), ("optimal_linear", "optimal_linear"), ("network", NAME)):
        rows = [content["models"][name] for content in contents]
        means = {key: float(np.mean([row[key] for row in rows])) for key in ("psnr", "ssim")}
        found[shown] = {"n": images, "patients": len(rows), **means}
    return protocol, found


def main() -> None:
    """Writes the model and the checksums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path, help="output of leave_one_out.py")
    arguments = parser.parse_args()
    content = arguments.model.read_bytes()
    fields = card.check(content, arguments.model)
    protocol, found = scores(arguments.folder)
    field = {"declared": DECLARED, "statistics": None, "scores": None}
    new = card.replace(content, fields | {"protocol": protocol, "scores": found, "applicability": field})
    card.check(new, arguments.model)
    with atomic_write(shipped.FOLDER / f"{NAME}.tflite") as temporary:
        temporary.write_bytes(new)
    refresh_sums()
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
