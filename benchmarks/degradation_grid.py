"""The models that come with the package on a grid of degradations: that of their training, and others.

    python benchmarks/degradation_grid.py --scale 4 --manual_dir ARCHIVE --output runs/grid

The grid: the bicubic reduction that most models are trained for, area mean, a detector with light spread at three
doses, unsharp masking, and JPEG of two qualities. The light spread of the detector keeps 0.6 of the contrast at the
Nyquist frequency of the low resolution. Results are as `python -m tfmisr.upscale` stores them, with the correction for
consistency of those models that have one; finished rows are not computed again.
"""

import argparse
import json
import pathlib
import platform

from tfmisr import cli, data, degradations
from tfmisr.edge.files import write_text
from tfmisr.evaluation import results, scoring
from tfmisr.inference import upscalers

SHARED = pathlib.Path(__file__).resolve().parent.parent.parent / "shared" / "data"
_MTF = 0.6  # of the light spread, at the Nyquist frequency of the low resolution
_DOSES = 50_000, 10_000, 3_000  # quanta of a low-resolution element without an object
MODELS = ("fast", "balanced", "best", "robust")


def grid(scale: int) -> dict[str, str]:
    """Returns the degradations by their names in the table."""
    # A Gaussian's logarithm is quadratic in the frequency: from the Nyquist frequency of LR to that of HR.
    mtf = f"{_MTF ** (scale * scale):.3g}"
    doses = {f"detector, {dose:,} quanta": f"xray(photons={dose}, mtf_nyquist={mtf})" for dose in _DOSES}
    return {
        "bicubic": "bicubic",
        "area mean": "area",
        **doses,
        "unsharp masking, amount 0.5": "unsharp(amount=0.5, sigma=1)",
        "JPEG, quality 90": "jpeg(quality=90)",
        "JPEG, quality 70": "jpeg(quality=70)",
    }


def row(arguments: argparse.Namespace, source: data.Source, name: str, text: str) -> dict[str, float]:
    """Returns the PSNR in dB of bicubic interpolation and of the models under one degradation."""
    folder = arguments.output / f"x{arguments.scale}" / "".join(c if c.isalnum() else "-" for c in name)
    if not (folder / "metrics.json").is_file():
        names = [f"{model}-x{arguments.scale}" for model in arguments.models]
        methods = [upscalers.load(model) for model in (scoring.REFERENCE, *names)]
        degradation = degradations.make(arguments.scale, degradation=text)
        results.write(scoring.evaluate(methods, source, arguments.split, arguments.scale, degradation), folder)
    content = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return {model: scores["psnr"] for model, scores in content["models"].items()}


def table(rows: dict[str, dict[str, float]]) -> str:
    """Returns PSNR in Markdown, the best of each row in bold, and the mean of the rows beside the first one."""
    models = list(next(iter(rows.values())))
    elsewhere = list(rows.values())[1:]
    rows = rows | {"mean of all but the first": {m: sum(r[m] for r in elsewhere) / len(elsewhere) for m in models}}
    lines = [f"| degradation | {' | '.join(models)} |", f"|---|{'---:|' * len(models)}"]
    for name, scores in rows.items():
        best = max(scores.values())
        cells = [f"**{scores[m]:.2f}**" if scores[m] == best else f"{scores[m]:.2f}" for m in models]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Scores what is missing, and writes and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=4, choices=(2, 4))
    parser.add_argument("--models", nargs="+", default=MODELS, help="names without their scale")
    parser.add_argument("--dataset", default="chest_xray14/512")
    parser.add_argument("--manual_dir", nargs="+", default=[str(SHARED / "ChestX-ray14")])
    parser.add_argument("--data_dir", help="where prepared datasets are kept")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/grid"))
    arguments = parser.parse_args(argv)
    cli.require_writable(arguments.output)
    source = data.load(arguments.dataset, arguments.data_dir, tuple(arguments.manual_dir))
    rows = {name: row(arguments, source, name, text) for name, text in grid(arguments.scale).items()}
    text = f"x{arguments.scale}, {arguments.split} split, PSNR in dB; {platform.machine()}.\n\n{table(rows)}"
    write_text(arguments.output / f"grid_x{arguments.scale}.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    cli.run(main)
