"""The paper's Table 2 on real images: its three networks and the interpolations, validation and test.

Trains `paper_cnn`, `paper_cnn5` and `paper_gan` with the same number of steps, then evaluates them on full
images. Finished runs are not trained again; interrupted ones resume.

    python benchmarks/paper_table.py --data ARCHIVE [ARCHIVE ...] --steps 4000 --output runs/paper
    python benchmarks/paper_table.py --data ARCHIVE --trained FOLDER --steps 20000 --output runs/paper

The second form evaluates FOLDER/paper_cnn.keras and the others that are there, such as `benchmarks/gpu.py --train`
leaves them, and trains nothing. With `--ema_decay 0.999` a run keeps an exponential moving average of its weights
beside them, which does not change its training, and both networks are evaluated: one run is both arms.
"""

import argparse
import json
import pathlib
import platform
import subprocess
import sys
import time

from tfmisr import models
from tfmisr.edge.errors import InputError
from tfmisr.training import checkpoints

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
PRESETS = ("paper_cnn5", "paper_cnn", "paper_gan")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
# Baraiya and Kothari, Table 2: validation PSNR and SSIM, test PSNR and SSIM. The paper has one CNN.
PAPER = {"cnn": (29.45, 0.83, 28.98, 0.82), "gan": (30.12, 0.85, 29.75, 0.84)}
AVERAGED = "_ema"  # ends the names of the networks with averaged weights
PAPER_ROW = {f"{name}{end}": "gan" if name == "paper_gan" else "cnn" for name in PRESETS for end in ("", AVERAGED)}


def run(module: str, *arguments) -> None:
    """Runs a command of the package; its output is passed through."""
    subprocess.run([sys.executable, "-m", f"tfmisr.{module}", *map(str, arguments)], check=True, cwd=ROOT)


def train(arguments, data: list[str]) -> dict[str, float]:
    """Trains the presets; returns the seconds each took in this call."""
    seconds = {}
    flags = ["--steps", arguments.steps]
    flags += ["--ema_decay", arguments.ema_decay] if arguments.ema_decay else []
    flags += ["--mixed_precision", arguments.mixed_precision] if arguments.mixed_precision else []
    for name in arguments.presets:
        start = time.perf_counter()
        run("fit", "--preset", name, *flags, "--workdir", arguments.output / name, *data)
        seconds[name] = time.perf_counter() - start
    return seconds


def both_arms(folder: pathlib.Path, output: pathlib.Path) -> None:
    """Writes the networks of a run that averages its weights: of its last step, and the average, which it saved."""
    network = models.load(folder)
    network.save(output / f"{folder.name}{AVERAGED}.keras")
    if not checkpoints.restore(folder / "checkpoints", {"network": network.variables}, complete=False):
        raise InputError(f"expected a checkpoint in {folder / 'checkpoints'}, found none")
    network.save(output / f"{folder.name}.keras")


def networks(arguments) -> list[pathlib.Path]:
    """Returns the presets' networks: `--trained` ones, or the runs of this call."""
    folder = arguments.trained
    if not folder and not arguments.ema_decay:
        return [arguments.output / name for name in arguments.presets]
    if not folder:
        folder = arguments.output / "networks"
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.presets:
            both_arms(arguments.output / name, folder)
    names = [f"{name}{end}.keras" for name in PRESETS for end in ("", AVERAGED)]
    return [path for name in names if (path := folder.absolute() / name).is_file()]


def evaluate(arguments, data: list[str]) -> dict[str, dict]:
    """Scores everything on both splits; returns split to the models of `metrics.json`."""
    metrics, compared = {}, [*INTERPOLATIONS, *networks(arguments)]
    for split in ("validation", "test"):
        folder = arguments.output / split
        run("evaluate", *compared, "--dataset", "chest_xray14/512", "--split", split, "--output", folder, *data)
        metrics[split] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def table(metrics: dict[str, dict], steps: int) -> str:
    """Returns the table in Markdown, with the paper's figures in separate columns."""
    validation, test = (metrics[split]["models"] for split in ("validation", "test"))
    lines = [
        "| model | parameters | validation PSNR / SSIM | test PSNR / SSIM | test gain over bicubic [dB] (95 %) "
        "| test center PSNR | paper: validation | paper: test |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in test.items():
        other, paper = validation[name], PAPER.get(PAPER_ROW.get(pathlib.Path(name).stem))
        gain = f"{row['psnr_gain']:+.2f} ({row['psnr_gain_low']:+.2f} to {row['psnr_gain_high']:+.2f})"
        cells = [
            name,
            f"{row['parameters']:,}" if row["parameters"] else "-",
            f"{other['psnr']:.2f} / {other['ssim']:.4f}",
            f"{row['psnr']:.2f} / {row['ssim']:.4f}",
            gain if name != "bicubic" else "-",
            f"{row.get('psnr_center', row.get('psnr_centre')):.2f}",
            f"{paper[0]} / {paper[1]}" if paper else "-",
            f"{paper[2]} / {paper[3]}" if paper else "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    counts = ", ".join(f"{metrics[s]['protocol']['images']} {s}" for s in metrics)
    hashes = ", ".join(f"{s} {metrics[s]['protocol']['hash']}" for s in metrics)
    lines += ["", f"{steps:,} steps of 16 patches each; {counts} images; protocols: {hashes}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [SHARED / "ChestX-ray14", SHARED / "ChestX-ray14-512"]
    parser.add_argument("--data", nargs="+", default=default, type=pathlib.Path, help="folders of the archive")
    parser.add_argument("--data_dir", help="where prepared datasets are kept")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/paper"))
    parser.add_argument("--presets", nargs="+", default=PRESETS, choices=PRESETS, help="networks (default: all three)")
    parser.add_argument("--ema_decay", type=float, help="evaluate averaged weights too")
    parser.add_argument("--mixed_precision", help="precision of the training, as of fit")
    parser.add_argument("--trained", type=pathlib.Path, help="folder of trained networks; nothing is trained")
    arguments = parser.parse_args()
    arguments.output = arguments.output.absolute()
    if arguments.trained and not networks(arguments):
        parser.error(f"expected {', '.join(f'{name}.keras' for name in PRESETS)} or some of them in --trained")
    data = ["--manual_dir", *arguments.data]
    data += ["--data_dir", arguments.data_dir] if arguments.data_dir else []
    seconds = {} if arguments.trained else train(arguments, data)
    text = table(evaluate(arguments, data), arguments.steps)
    (arguments.output / "table2.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"machine: {platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print("seconds:", {name: round(value) for name, value in seconds.items()})


if __name__ == "__main__":
    main()
