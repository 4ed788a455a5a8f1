"""The presets of the modalities on real images: CT, MR and ultrasound beside interpolations and linear filters.

Each preset is trained on a folder of images, split by patient where the files name one, and evaluated on its test
split, CT within the windows that radiologists use. The folders are small: the tables show that the path from files to
scores works for a modality, not how good a network can get.

    python benchmarks/modalities.py --data ../shared/data --output runs/modalities
"""

import argparse
import pathlib
import subprocess
import sys

from tfmisr import cli
from tfmisr.edge.files import write_text

ROOT = pathlib.Path(__file__).resolve().parent.parent
CT_MEASURES = ("psnr", "ssim", "psnr_lung", "ssim_lung", "psnr_soft_tissue", "ssim_soft_tissue")
# Preset to its folder in the shared data, its measures and the pattern of patients in file names.
MODALITIES = {
    "ct": ("ct", CT_MEASURES, None),
    "mr": ("mr", ("psnr", "ssim", "vif", "gmsd"), None),
    "ultrasound": ("us", ("psnr", "ssim", "vif", "gmsd"), None),
}
OTHERS = ("bicubic", "lanczos", "back_projection", "optimal_linear")


def run(module: str, *arguments) -> None:
    """Runs a command of the package; its output is passed through."""
    subprocess.run([sys.executable, "-m", f"tfmisr.{module}", *map(str, arguments)], check=True, cwd=ROOT)


def evaluate(preset: str, arguments) -> str:
    """Trains a preset, unless that is done, and returns the table of its test split."""
    folder, measures, pattern = MODALITIES[preset]
    workdir = (arguments.output / preset).absolute()
    data = ["--dataset", (arguments.data / folder).absolute()]
    data += ["--patient_pattern", pattern] if pattern else []
    steps = ["--steps", arguments.steps] if arguments.steps else []
    run("fit", "--preset", preset, *data, *steps, "--workdir", workdir)
    run("evaluate", workdir, *OTHERS, "--measures", *measures, "--output", workdir / "comparison")
    return f"## {preset}\n\n{(workdir / 'comparison' / 'table.md').read_text(encoding='utf-8')}"


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--presets", nargs="+", choices=list(MODALITIES), default=list(MODALITIES))
    parser.add_argument("--steps", type=int, help="default: the preset's")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/modalities"))
    arguments = parser.parse_args(argv)
    text = "\n".join(evaluate(preset, arguments) for preset in arguments.presets)
    write_text(arguments.output / "modalities.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    cli.run(main)
