"""What int8 costs the networks of the zoo that are meant for devices, with and without quantization-aware training.

Each network is trained in float32 and converted with post-training calibration on 24 crops. From its weights it is then
trained twice, equally long and otherwise alike (`FURTHER`): in float32, and with `quantization_aware`, which is
converted too. All are scored on the full images of one split by one protocol. So what further training gains is not
mistaken for what int8 costs: the last column compares the int8 file with the float32 network that was trained equally
long. The command may be interrupted and repeated: finished parts are skipped, interrupted runs resume.

    python benchmarks/quantization.py --steps 1000 --aware_steps 1000 --output runs/quantization
"""

import argparse
import dataclasses
import json
import pathlib

import zoo

from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text

MODELS = ("abpn", "sesr", "edsr", "rlfn", "resnet6", "resnet18", "rcan")
PARTS = ("float", "float/int8", "longer", "aware/int8")
# Of both trainings that follow the first: squared errors and hard examples, so that clipped letters are learned again.
FURTHER = {"loss": "mse", "learning_rate": 2e-4, "hard_patches": 0.25}


def kinds(arguments: argparse.Namespace, folder: pathlib.Path) -> dict[str, dict]:
    """Returns the three runs of a network: fields of `Config` that are their own."""
    further = {**FURTHER, "steps": arguments.aware_steps, "initial_weights": str(folder / "float")}
    return {
        "float": {"steps": arguments.steps},
        "longer": further,
        "aware": further | {"quantization_aware": True},
    }


def trained(arguments: argparse.Namespace, name: str, folder: pathlib.Path) -> None:
    """Trains and exports a network, as far as that is not done."""
    from tfmisr import config, data, degradations, models
    from tfmisr.training import loop

    images = {"dataset": "chest_xray14/512", "data_dir": arguments.data_dir, "manual_dir": _archive(arguments)}
    fields = {"model": name, "scale": arguments.scale, "batch_size": 16, "patch_size": 24}
    for kind, own in kinds(arguments, folder).items():
        path = folder / kind
        run = config.Config(**images, **fields, **own, workdir=str(path))
        source = data.load(run.dataset, run.data_dir, run.manual_dir)
        loop.train(run, source)
        if kind != "longer" and not (path / "int8.tflite").is_file():
            zoo._converted(models.load(path), "int8", run, source, degradations.make(run.scale))


def _archive(arguments):
    return tuple(map(str, arguments.data))


def row(arguments: argparse.Namespace, name: str) -> dict:
    """Returns PSNR of the full image and of its center, in dB, of the networks and files of a zoo model, by `PARTS`."""
    folder = (arguments.output / f"x{arguments.scale}" / name.replace("/", "-")).absolute()
    path = folder / f"{arguments.split}.json"
    trained(arguments, name, folder)
    if not path.is_file():
        write_text(path, json.dumps(scores(arguments, folder), indent=2) + "\n")
    found = json.loads(path.read_text())
    if found["steps"] != [arguments.steps, arguments.aware_steps]:
        raise InputError(f"{path} is from {found['steps']} steps; choose another --output")
    return found


def scores(arguments: argparse.Namespace, folder: pathlib.Path) -> dict:
    """Returns the content of a network's result: its steps, the protocol, and the scores of its parts."""
    from tfmisr import data, degradations
    from tfmisr.evaluation import results, scoring
    from tfmisr.inference import upscalers

    methods = {"bicubic": upscalers.load("bicubic")}
    for part in PARTS:
        kind, _, int8 = part.partition("/")
        path = folder / kind / "int8.tflite" if int8 else folder / kind
        # What int8 costs: a network in float32 has no correction by consistency to compare with.
        method = upscalers.load(str(path), consistency=False)
        methods[part] = dataclasses.replace(method, name=part)
    source = data.load("chest_xray14/512", arguments.data_dir, _archive(arguments))
    scale = arguments.scale
    degradation = degradations.make(scale)
    scored = scoring.evaluate(list(methods.values()), source, arguments.split, scale, degradation, measures=("psnr",))
    metrics = results.write(scored, folder / "evaluation")
    summary = dict(zip(methods, metrics["models"].values(), strict=True))
    parts = {part: {key: row[key] for key in ("psnr", "psnr_center")} for part, row in summary.items()}
    steps = [arguments.steps, arguments.aware_steps]
    return {"steps": steps, "protocol": metrics["protocol"]["hash"], "parts": parts}


def table(rows: dict[str, dict], measure: str = "psnr") -> str:
    """Returns the table in Markdown: PSNR of the float32 networks, and what the int8 files lose against them."""
    lines = [
        "| network | float32 [dB] | its int8 loses | float32, trained further [dB] | quantization-aware, int8 [dB] | "
        "loses against float32, trained equally long |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, each in rows.items():
        first, after, longer, int8 = (each["parts"][part][measure] for part in PARTS)
        lines.append(
            f"| {name} | {first:.2f} | {first - after:.3f} | {longer:.2f} | {int8:.2f} | {longer - int8:.3f} |"
        )
    return "\n".join(lines) + "\n"


def report(arguments: argparse.Namespace, rows: dict[str, dict]) -> str:
    """Returns both tables with their caption."""
    protocols = sorted({row["protocol"] for row in rows.values()})
    text = f"x{arguments.scale}, {arguments.split} split, protocol {', '.join(protocols)}; {arguments.steps:,} steps, "
    text += f"then {arguments.aware_steps:,} of 16 patches of 24x24 LR pixels.\n"
    return f"{text}\nFull image:\n\n{table(rows)}\nCenter:\n\n{table(rows, 'psnr_center')}"


def main(argv: list[str] | None = None) -> int:
    """Trains what is missing, and writes and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [zoo.SHARED / "ChestX-ray14", zoo.SHARED / "ChestX-ray14-512"]
    parser.add_argument("--data", nargs="+", default=default, type=pathlib.Path, help="folders of the archive")
    parser.add_argument("--data_dir", help="where prepared datasets are kept")
    parser.add_argument("--scale", type=int, default=4, choices=(2, 3, 4, 8))
    parser.add_argument("--steps", type=int, default=1000, help="of 16 patches of 24x24 pixels, in float32")
    parser.add_argument("--aware_steps", type=int, default=1000, help="further ones, with and without rounding")
    parser.add_argument("--models", nargs="+", default=MODELS, help="of the zoo, in the sizes of zoo.py")
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/quantization"))
    arguments = parser.parse_args(argv)
    cli.require_writable(arguments.output)
    rows = {}
    for name in map(zoo._sized, arguments.models):
        rows[name] = row(arguments, name)
        text = report(arguments, rows)
        write_text(arguments.output / f"quantization_x{arguments.scale}.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    cli.run(main)
