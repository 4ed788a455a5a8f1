"""What int8 costs the networks of the zoo that are meant for devices, with and without quantization-aware training.

Each network is trained in float32, exported with post-training calibration, fine-tuned with `--quantization_aware` from
these weights, and exported again; all four are scored on full images of one split by one protocol. The command may be
interrupted and repeated: finished parts are skipped, interrupted runs resume.

    python benchmarks/quantization.py --steps 1000 --aware_steps 500 --output runs/quantization
"""

import argparse
import json
import pathlib
import platform
import subprocess
import sys

import zoo

from tfmisr import cli
from tfmisr.edge.files import write_text

MODELS = ("abpn", "sesr", "edsr", "rlfn", "resnet6", "resnet18", "rcan")
PARTS = ("float", "float/int8", "aware", "aware/int8")


def command(module: str, *arguments: object) -> None:
    """Runs a command of tfmisr; its failure ends the benchmark."""
    subprocess.run([sys.executable, "-m", f"tfmisr.{module}", *map(str, arguments)], check=True)


def trained(arguments: argparse.Namespace, name: str, folder: pathlib.Path) -> list[str]:
    """Trains and exports a network twice; returns the four models, as `evaluate` takes them."""
    images = ["--dataset", "chest_xray14/512", "--manual_dir", *arguments.data]
    images += ["--data_dir", arguments.data_dir] if arguments.data_dir else []
    run = [*images, "--model", name, "--scale", arguments.scale, "--batch_size", 16, "--patch_size", 24]
    aware = ["--quantization_aware", "--initial_weights", folder / "float", "--learning_rate", 2e-4]
    kinds = {"float": ["--steps", arguments.steps], "aware": ["--steps", arguments.aware_steps, *aware]}
    found = []
    for kind, flags in kinds.items():
        path = folder / kind
        if not (path / "model.keras").is_file():
            command("fit", *run, *flags, "--workdir", path)
        if not (path / "exported" / "m_int8.tflite").is_file():
            export = ["--formats", "int8", "--name", "m", "--images", 0, "--output", path / "exported"]
            command("export", path, *export, *images)
        found += [str(path), str(path / "exported" / "m_int8.tflite")]
    return found


def row(arguments: argparse.Namespace, name: str) -> dict[str, float]:
    """Returns the PSNR in dB of the four models of a network, by `PARTS`, and that of bicubic."""
    folder = arguments.output / f"x{arguments.scale}" / name.replace("/", "-")
    metrics = folder / "evaluation" / "metrics.json"
    if not metrics.is_file():
        models = trained(arguments, name, folder)
        images = ["--dataset", "chest_xray14/512", "--manual_dir", *arguments.data]
        images += ["--data_dir", arguments.data_dir] if arguments.data_dir else []
        command("evaluate", *models, *images, "--split", arguments.split, "--output", metrics.parent)
    content = json.loads(metrics.read_text())
    scores = [model["psnr"] for model in content["models"].values()]
    return dict(zip(("bicubic", *PARTS), scores, strict=True)) | {"protocol": content["protocol"]["hash"]}


def table(rows: dict[str, dict]) -> str:
    """Returns the table in Markdown: PSNR of the float networks, and what their int8 files lose."""
    lines = [
        "| network | float32 [dB] | int8 after training loses | fine-tuned, float32 [dB] | its int8 loses | "
        "int8 against the first float32 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, each in rows.items():
        first, after, tuned, aware = (each[part] for part in PARTS)
        lines.append(
            f"| {name} | {first:.2f} | {first - after:.2f} | {tuned:.2f} | {tuned - aware:.3f} | {aware - first:+.2f} |"
        )
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Trains what is missing, and writes and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [zoo.SHARED / "ChestX-ray14", zoo.SHARED / "ChestX-ray14-512"]
    parser.add_argument("--data", nargs="+", default=default, type=pathlib.Path, help="folders of the archive")
    parser.add_argument("--data_dir", help="where prepared datasets are kept")
    parser.add_argument("--scale", type=int, default=4, choices=(2, 3, 4, 8))
    parser.add_argument("--steps", type=int, default=1000, help="of 16 patches of 24x24 pixels, in float32")
    parser.add_argument("--aware_steps", type=int, default=500, help="further ones, quantization-aware")
    parser.add_argument("--models", nargs="+", default=MODELS, help="of the zoo, in the sizes of zoo.py")
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/quantization"))
    arguments = parser.parse_args(argv)
    cli.require_writable(arguments.output)
    rows = {zoo._sized(name): row(arguments, zoo._sized(name)) for name in arguments.models}
    text = f"x{arguments.scale}, {arguments.split} split, protocol {next(iter(rows.values()))['protocol']}; "
    text += f"{arguments.steps} and {arguments.aware_steps} steps; {platform.machine()}.\n\n{table(rows)}"
    write_text(arguments.output / "quantization.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    cli.run(main)
