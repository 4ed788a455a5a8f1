"""The paper's Table 2 on real images: its three networks and the interpolations, validation and test.

Trains `paper_cnn`, `paper_cnn5` and `paper_gan` with the same number of steps, then evaluates them on full
images. Finished runs are not trained again; interrupted ones resume.

    python benchmarks/paper_table.py --data ARCHIVE [ARCHIVE ...] --steps 4000 --output runs/paper
    python benchmarks/paper_table.py --data ARCHIVE --trained FOLDER --steps 20000 --output runs/paper

The second form evaluates FOLDER/paper_cnn.keras and the others that are there, such as `benchmarks/gpu.py --train`
leaves them, and trains nothing.
"""

import argparse
import json
import pathlib
import platform
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
PRESETS = ("paper_cnn5", "paper_cnn", "paper_gan")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
# Baraiya and Kothari, Table 2: validation PSNR and SSIM, test PSNR and SSIM. The paper has one CNN.
PAPER = {"cnn": (29.45, 0.83, 28.98, 0.82), "gan": (30.12, 0.85, 29.75, 0.84)}
PAPER_ROW = {"paper_cnn5": "cnn", "paper_cnn": "cnn", "paper_gan": "gan"}


def run(module: str, *arguments) -> None:
    """Runs a command of the package; its output is passed through."""
    subprocess.run([sys.executable, "-m", f"tfmisr.{module}", *map(str, arguments)], check=True, cwd=ROOT)


def train(arguments, data: list[str]) -> dict[str, float]:
    """Trains the presets; returns the seconds each took in this call."""
    seconds = {}
    for name in PRESETS:
        start = time.perf_counter()
        run("fit", "--preset", name, "--steps", arguments.steps, "--workdir", arguments.output / name, *data)
        seconds[name] = time.perf_counter() - start
    return seconds


def networks(arguments) -> list[pathlib.Path]:
    """Returns the presets' networks: `--trained` ones, or the runs of this call."""
    if not arguments.trained:
        return [arguments.output / name for name in PRESETS]
    return [path for name in PRESETS if (path := arguments.trained.absolute() / f"{name}.keras").is_file()]


def evaluate(arguments, data: list[str]) -> dict[str, dict]:
    """Scores everything on both splits; returns split to the models of `metrics.json`."""
    metrics = {}
    for split in ("validation", "test"):
        folder = arguments.output / split
        models = [*INTERPOLATIONS, *networks(arguments)]
        run("evaluate", *models, "--dataset", "chest_xray14/512", "--split", split, "--output", folder, *data)
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
    parser.add_argument("--trained", type=pathlib.Path, help="folder of trained networks; nothing is trained")
    arguments = parser.parse_args()
    if arguments.trained and not networks(arguments):
        parser.error(f"expected {', '.join(f'{name}.keras' for name in PRESETS)} or some of them in --trained")
    data = ["--manual_dir", *arguments.data]
    data += ["--data_dir", arguments.data_dir] if arguments.data_dir else []
    seconds = {} if arguments.trained else train(arguments, data)
    text = table(evaluate(arguments, data), arguments.steps)
    (ROOT / arguments.output / "table2.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"machine: {platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print("seconds:", {name: round(value) for name, value in seconds.items()})


if __name__ == "__main__":
    main()
