"""Leave-one-patient-out evaluation of a network on a folder of slices: CT in Hounsfield units, brain MR.

Each patient in turn is held out: a network is trained on all others, and scored on that patient beside interpolations,
the best linear filter for the same training slices (`optimal_linear`) and the shipped networks, which were trained on
chest radiographs. Flags that are not listed below go to `python -m tfmisr.fit`: they are the recipe, the same for
every patient.

    python benchmarks/leave_one_out.py --data ../shared/data/ct --scale 4 --output runs/ct-x4 --preset slices_x4

A volume (NIfTI, or a folder with one DICOM series) is cut into slices; several of one name are one patient. A patient
of `--apart` trains no network, and the means leave it out. What is finished is not repeated: the same command resumes
with the first patient that has no scores yet. `patients.csv` in the output says who has which number.
"""

import argparse
import importlib
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from tfmisr import cli, degradations, metrics
from tfmisr.edge import images, shipped
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.evaluation import statistics

METHODS = ("bicubic", "lanczos", "optimal_linear")
RIVALS = ("bicubic", "optimal_linear")  # what a network must beat for every patient
NETWORK, INT8 = "network", "network_int8"
FAST = ("--images", 0)  # the export's own comparison is not needed


def patients_of(folders: list[pathlib.Path]) -> list[str]:
    """Returns the names of the patients of a folder's images, as `patient_splits.csv` takes them."""
    from tfmisr.datasets.image_folder import patients, scan

    found = scan.read_headers(scan.files(folders), scan.Tally())
    return sorted({key.partition(":")[2] for key in patients.keys(found, None)})


def cut(name: str, path: pathlib.Path, step: int, folder: pathlib.Path) -> None:
    """Writes every `step`-th slice of a volume as a 16-bit PNG file into the patient's folder.

    Planes with less than 2 % above the volume's mean are left out; an isotropic volume is cut along its three axes.
    """
    from tfmisr.datasets.volume_folder import slices
    from tfmisr.edge.volumes import reading

    source = reading.read([path] if path.is_file() else sorted(path.iterdir()), None)
    stem = path.name.partition(".")[0]
    (folder / name).mkdir(parents=True, exist_ok=True)
    for place, pixels in slices.images(source.volume, source.scale, step):
        images.write_image(folder / name / f"{stem}_{place}.png", pixels, source.scale.max_val)


def folders_of(arguments) -> list[pathlib.Path]:
    """Returns the folders of images: those given, and that of the slices of volumes."""
    folder = arguments.output.absolute() / "volumes"
    if arguments.volumes and not folder.is_dir():
        for name, _, path in (text.partition("=") for text in arguments.volumes):
            cut(name, pathlib.Path(path), arguments.every, folder)
    return [path.absolute() for path in arguments.data] + ([folder] if arguments.volumes else [])


def run(command: str, *flags) -> None:
    """Runs a command of the package in this process, which imports TensorFlow once for all patients."""
    import keras

    keras.utils.clear_session()
    importlib.import_module(f"tfmisr.{command}").main([str(flag) for flag in flags])


def train(fold: pathlib.Path, folders: list[pathlib.Path], split_of: dict[str, str], arguments, recipe) -> None:
    """Trains on the patients of the train split and scores those of the test split, unless that is done."""
    if is_scored(fold, arguments.measures, (NETWORK, INT8)[: 1 + arguments.int8]):
        return
    rows = "".join(f"{patient},{split}\n" for patient, split in split_of.items())
    (fold / "slices").mkdir(parents=True, exist_ok=True)
    write_text(fold / "slices" / "patient_splits.csv", "patient,split\n" + rows)
    data = ("--dataset", fold / "slices", "--manual_dir", *folders, "--data_dir", arguments.output.absolute() / "data")
    made = ["--scale", arguments.scale]
    made += ["--degradation", arguments.degradation] if arguments.degradation else []
    if not (fold / NETWORK / "model.keras").is_file():
        run("fit", *recipe, *data, *made, "--workdir", fold / NETWORK)
    networks = [fold / NETWORK]
    if arguments.int8:
        networks.append(fold / "exported" / f"{INT8}.tflite")
        run(
            "export.__main__",
            networks[0],
            "--formats",
            "int8",
            "--name",
            NETWORK,
            "--output",
            networks[1].parent,
            *FAST,
        )
    models = (*networks, *METHODS, *arguments.beside)
    run("evaluate", *models, *data, *made, "--output", fold / "evaluation", "--measures", *arguments.measures)


def folds(arguments, recipe: list[str]) -> dict[str, pathlib.Path]:
    """Trains and scores what is missing and returns the folder of each held-out patient, those apart last."""
    folders = folders_of(arguments)
    everybody = patients_of(folders)
    if unknown := set(arguments.apart) - set(everybody):
        raise InputError(f"--apart: expected patients of the folder, {len(unknown)} of these are not there")
    headline = [patient for patient in everybody if patient not in arguments.apart]
    if len(headline) < 2:
        raise InputError(f"expected at least two patients, found {len(headline)}")
    order = [*headline, *arguments.apart]
    numbers = {patient: arguments.output.absolute() / f"patient-{i:02d}" for i, patient in enumerate(order, 1)}
    listed = "".join(f"{folder.name},{patient}\n" for patient, folder in numbers.items())
    write_text(arguments.output / "patients.csv", "number,patient\n" + listed)
    chosen = [p for p in order if not arguments.only or int(numbers[p].name[-2:]) in arguments.only]
    for held_out in chosen:
        # Patients apart that are not held out are in no split of interest; validation is not looked at.
        split_of = {p: "test" if p == held_out else "train" if p in headline else "validation" for p in order}
        train(numbers[held_out], folders, split_of, arguments, recipe)
    return {patient: numbers[patient] for patient in chosen}


def content_of(fold: pathlib.Path) -> dict:
    """Returns the content of a patient's `metrics.json`."""
    return json.loads((fold / "evaluation" / "metrics.json").read_text(encoding="utf-8"))


def is_scored(fold: pathlib.Path, measures: Sequence[str], models: Sequence[str]) -> bool:
    """Returns whether a patient has scores of all measures, for all models."""
    if not (fold / "evaluation" / "metrics.json").is_file():
        return False
    found = content_of(fold)["models"]
    return all(measure in found.get(model, {}) for model in models for measure in measures)


def beaten(rows: list[dict], model: str, rivals=RIVALS) -> int:
    """Returns for how many patients a model's mean PSNR is above that of all rivals."""
    return sum(all(row[model]["psnr"] > row[rival]["psnr"] for rival in rivals) for row in rows)


def _title(measure: str) -> str:
    metric = metrics.get(measure.removesuffix("_center"))
    center = " center" if measure.endswith("_center") else ""
    return metric.column + center + (f" [{metric.unit}]" if metric.unit else "")


def _cell(measure: str, value: float | None) -> str:
    return "-" if value is None else f"{value:{metrics.get(measure.removesuffix('_center')).format}}"


def table(contents: dict[str, dict], apart: int, measures: list[str]) -> str:
    """Returns one row per patient and model, then the means over patients with 95 % bootstrap intervals.

    Args:
        contents: Name of a patient's folder to the content of its `metrics.json`, the patients apart last.
        apart: Number of patients that the means leave out.
        measures: What to show beside the gain in PSNR.
    """
    titles = " | ".join(map(_title, measures))
    lines = [f"| patient | slices | model | over bicubic [dB] | {titles} | protocol |"]
    lines += [f"| --- | ---: | --- | ---: |{' ---: |' * len(measures)} --- |"]
    for patient, content in contents.items():
        for name, row in content["models"].items():
            gain = row["psnr"] - content["models"]["bicubic"]["psnr"]
            cells = " | ".join(_cell(measure, row.get(measure)) for measure in measures)
            number, shown = patient.removeprefix("patient-"), content["protocol"]["hash"]
            lines.append(f"| {number} | {row['n']} | {name} | {gain:+.2f} | {cells} | `{shown}` |")
    rows = [content["models"] for content in list(contents.values())[: len(contents) - apart]]
    return "\n".join([*lines, "", *summary(rows, measures)]) + "\n"


def summary(rows: list[dict], measures: list[str]) -> list[str]:
    """Returns the lines of the means over patients, every patient with the same weight."""
    titles = " | ".join(map(_title, measures))
    lines = [f"| model | over bicubic [dB] (95 % interval) | {titles} | above bicubic and optimal_linear |"]
    lines += [f"| --- | ---: |{' ---: |' * len(measures)} ---: |"]
    numbers = np.arange(len(rows))
    for name in rows[0]:
        gains = np.array([row[name]["psnr"] - row["bicubic"]["psnr"] for row in rows])
        gain, low, high = statistics.bootstrap_mean(gains, numbers)
        interval = f" ({low:+.2f} to {high:+.2f})" if np.isfinite(low) and name != "bicubic" else ""
        values = [[row[name].get(measure) for row in rows] for measure in measures]
        cells = [_cell(m, None if None in v else float(np.mean(v))) for m, v in zip(measures, values, strict=True)]
        count = "-" if name in METHODS else f"{beaten(rows, name)} of {len(rows)} patients"
        lines.append(f"| {name} | {gain:+.2f}{interval} | {' | '.join(cells)} | {count} |")
    return lines


def _same_recipe(output: pathlib.Path, recipe: dict) -> None:
    """Writes the recipe into the output folder, or refuses a folder of results of another one."""
    output.mkdir(parents=True, exist_ok=True)
    path, text = output / "recipe.json", json.dumps(recipe, indent=2) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise InputError(f"{path}: these are results of another recipe; give another --output, or delete {output}")
    write_text(path, text)


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape, allow_abbrev=False)
    parser.add_argument("--data", nargs="*", default=[], type=pathlib.Path, help="folders of slices")
    parser.add_argument("--volumes", nargs="*", default=[], metavar="PATIENT=FILE", help="volumes to cut into slices")
    parser.add_argument("--every", type=int, default=10, metavar="N", help="take every N-th slice of a volume")
    parser.add_argument("--apart", nargs="*", default=[], metavar="PATIENT", help="held out only, not in the means")
    parser.add_argument("--only", nargs="*", default=[], type=int, metavar="N", help="hold out these patients only")
    parser.add_argument("--preset", help="recipe, as for python -m tfmisr.fit")
    parser.add_argument("--scale", type=int, default=4, choices=(2, 3, 4, 8))
    parser.add_argument("--degradation", help="as for python -m tfmisr.fit (default: the preset's, bicubic)")
    parser.add_argument("--beside", nargs="*", metavar="MODEL", help="default: the shipped fast and best of the scale")
    parser.add_argument("--measures", nargs="+", default=["psnr", "ssim"], help="as for python -m tfmisr.evaluate")
    parser.add_argument("--int8", action="store_true", help="score each network's int8 file as well")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the folds that are missing and prints the table."""
    arguments, recipe = _parser().parse_known_args(argv)
    recipe = [*(["--preset", arguments.preset] if arguments.preset else []), *recipe]
    if arguments.degradation:
        degradations.make(arguments.degradation, scale=arguments.scale)
    known = [f"{kind}-x{arguments.scale}" for kind in ("fast", "best")]
    if arguments.beside is None:
        arguments.beside = [name for name in known if shipped.is_name(name)]
    made = {key: getattr(arguments, key) for key in ("volumes", "every", "apart", "scale", "degradation")}
    _same_recipe(arguments.output, {"data": [str(path) for path in arguments.data], **made, "fit": recipe})
    found = folds(arguments, recipe)
    contents = {folder.name: content_of(folder) for folder in found.values()}
    centers = [f"{measure}_center" for measure in arguments.measures if metrics.get(measure).center]
    text = table(contents, len(set(found) & set(arguments.apart)), [*arguments.measures, *centers])
    write_text(arguments.output / "table.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    cli.run(main)
