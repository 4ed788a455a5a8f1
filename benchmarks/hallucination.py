"""Hallucinated patches and measurement bias on the CT slices that the authors of sFRC publish with their program.

    python benchmarks/hallucination.py FOLDER

FOLDER holds `hr`, `lr` (four times smaller) and what others made of `lr` (`srgan`, `srwgan`), each with the same 16-bit
PNG files of `HU + 1024`: DIDSR/sfrc, patient L067 of the Low Dose CT Grand Challenge. The networks that come with
tfmisr never saw CT; they are trained on chest radiographs.
"""

import argparse
import pathlib
import platform

import numpy as np

from tfmisr import metrics
from tfmisr.edge import images
from tfmisr.inference import upscalers

_CT_MAX_VAL = 4095
_MODELS = ("nearest", "bicubic", "lanczos", "back_projection", "fast-x4", "best-x4", "perceptual-x4")
_MEANS = ("psnr", "ssim", "bias", "bias_soft_tissue", "edge_width")
_SUMS = ("sfrc", "sfrc_hann")


def _slices(folder: pathlib.Path) -> list[np.ndarray]:
    return [images.read_images(path)[0].pixels for path in sorted(folder.glob("*.png"))]


def _row(name: str, hr: list[np.ndarray], sr: list[np.ndarray]) -> str:
    def values(metric):
        return [metrics.get(metric)(*pair, _CT_MAX_VAL) for pair in zip(hr, sr, strict=True)]

    means = [f"{np.mean(values(metric)):{metrics.get(metric).format}}" for metric in _MEANS]
    return f"| {name} | {' | '.join([*means, *(f'{sum(values(metric)):.0f}' for metric in _SUMS)])} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    hr, lr = _slices(folder / "hr"), _slices(folder / "lr")
    print(f"{len(hr)} slices, PSNR for a full scale of {_CT_MAX_VAL}, no border cut off; {platform.machine()}\n")
    print(f"| model | {' | '.join(metrics.get(m).column for m in (*_MEANS, *_SUMS))} |")
    print(f"| --- | {' | '.join(['---:'] * len(_MEANS + _SUMS))} |")
    for name in ("srgan", "srwgan"):
        print(_row(name, hr, _slices(folder / name)))
    for name in _MODELS:
        upscale = upscalers.load(name)
        sr = [upscale(image.astype(np.float32) / np.float32(_CT_MAX_VAL), 4, _CT_MAX_VAL) for image in lr]
        print(_row(name, hr, sr))


if __name__ == "__main__":
    main()
