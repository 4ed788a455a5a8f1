"""Calibrates the models that come with the package, and writes them and their checksums in their place (T-12).

    python benchmarks/calibrate_shipped.py --dataset chest_xray14/512 --manual_dir ARCHIVE

Each card first receives the salted hashes of the training patients. The factors of edges and letters come from training
patients, the multipliers from validation patients; the test list is not read. Weights stay as they are.
"""

import argparse
import pathlib
import tempfile

from fit_applicability import refresh_sums

from tfmisr import calibrate, data
from tfmisr.calibration import patients
from tfmisr.edge import card, shipped, uncertainty
from tfmisr.edge.files import atomic_write


def with_training_patients(content: bytes, source: data.Source) -> bytes:
    """Returns a model file whose card lists the training patients, unless it does already."""
    fields = card.check(content, "the model")
    field = fields["uncertainty"] or {}
    if "training_patients" in field:
        return content
    return card.replace(content, {**fields, "uncertainty": {**field, "training_patients": patients.record(source)}})


def replace(name: str, source: data.Source, flags: list[str]) -> str:
    """Calibrates one model in its place; returns the summary."""
    path = shipped.FOLDER / f"{name}.tflite"
    with tempfile.TemporaryDirectory() as folder:
        listed = pathlib.Path(folder, path.name)
        listed.write_bytes(with_training_patients(path.read_bytes(), source))
        uncertainty.beside(listed).write_bytes(uncertainty.beside(path).read_bytes())
        output = pathlib.Path(folder, "calibrated.tflite")
        arguments = calibrate._parser().parse_args(
            [str(listed), "--split", "validation", "--group_split", "train", "--output", str(output), *flags]
        )
        summary = calibrate.run(arguments).table()
        with atomic_write(path) as temporary:
            temporary.write_bytes(output.read_bytes())
    return summary


def main() -> None:
    """Calibrates the models that have a head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=shipped.names_with_head())
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--manual_dir", nargs="+", default=[])
    parser.add_argument("--data_dir")
    given = parser.parse_args()
    flags = ["--dataset", given.dataset, *(["--data_dir", given.data_dir] if given.data_dir else [])]
    flags += ["--manual_dir", *given.manual_dir] if given.manual_dir else []
    source = data.load(given.dataset, given.data_dir, given.manual_dir)
    for name in given.models:
        if uncertainty.find(shipped.FOLDER / f"{name}.tflite"):
            print(f"## {name}\n\n{replace(name, source, flags)}\n", flush=True)
            refresh_sums()


if __name__ == "__main__":
    main()
