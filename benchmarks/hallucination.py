"""Hallucinated patches and measurement bias on the CT slices that the authors of sFRC publish with their program.

    python benchmarks/hallucination.py FOLDER
    python benchmarks/hallucination.py FOLDER runs/ct-x4 lanczos

FOLDER holds `hr`, `lr` (four times smaller) and what others made of `lr` (`bicubic`, `srgan`, `srwgan`), each with the
same 16-bit PNG files of `HU + 1024`: DIDSR/sfrc, patient L067 of the Low Dose CT Grand Challenge. `lr` is the exact
mean of 4x4 pixels, rounded down, as the first line of the output says after measuring it. The networks that come with
tfmisr never saw CT; they are trained on chest radiographs.

The first table is of this package's measures. The second has PSNR and SSIM as their authors' program computes them,
which gives the figures they publish for their images: SSIM of 7x7 pixels for the range of both images, PSNR for the
largest value of both. That program subtracts and squares in unsigned 16 bits, so that the square of an error above
255 HU loses its multiple of 65,536; the PSNR without this is beside it. scikit-image is needed.
"""

import argparse
import math
import pathlib
import platform

import numpy as np
from skimage.metrics import structural_similarity

from tfmisr import cli, metrics
from tfmisr.edge import images
from tfmisr.inference import upscalers

_CT_MAX_VAL = 4095
_SCALE = 4
_THEIRS = ("bicubic", "srgan", "srwgan")
_MODELS = ("nearest", "bicubic", "lanczos", "back_projection", "fast-x4", "best-x4", "perceptual-x4")
_MEANS = ("psnr", "ssim", "bias", "bias_soft_tissue", "edge_width")
_SUMS = ("sfrc", "sfrc_hann")


def _slices(folder: pathlib.Path) -> list[np.ndarray]:
    return [images.read_images(path)[0].pixels for path in sorted(folder.glob("*.png"))]


def reduction(hr: list[np.ndarray], lr: list[np.ndarray]) -> str:
    """Returns how many pixels of `lr` are the mean of 4x4 pixels of `hr` rounded down."""
    height, width = lr[0].shape[:2]
    means = [image.reshape(height, _SCALE, width, _SCALE, -1).mean((1, 3)) for image in hr]
    equal = [np.mean(np.floor(mean) == image) for mean, image in zip(means, lr, strict=True)]
    return f"{100 * np.mean(equal):.2f} % of the pixels of lr are the mean of 4x4 pixels, rounded down"


def row(name: str, hr: list[np.ndarray], sr: list[np.ndarray]) -> str:
    """Returns a row of this package's measures: means over the slices, and sums of marked patches."""

    def values(metric):
        return [metrics.get(metric)(*pair, _CT_MAX_VAL) for pair in zip(hr, sr, strict=True)]

    means = [f"{np.mean(values(metric)):{metrics.get(metric).format}}" for metric in _MEANS]
    return f"| {name} | {' | '.join([*means, *(f'{sum(values(metric)):.0f}' for metric in _SUMS)])} |"


def published(hr: np.ndarray, sr: np.ndarray) -> tuple[float, float, float]:
    """Returns PSNR and SSIM of a slice as their authors' program does, and that PSNR without overflow.

    Args:
        hr: uint16 array (height, width, 1).
        sr: The same of a super-resolved slice.
    """
    hr, sr = (image[..., 0].astype(np.uint16) for image in (hr, sr))
    high, low = (float(function([hr, sr])) for function in (np.max, np.min))
    wrapped = hr - sr
    errors = np.mean(wrapped * wrapped), np.mean(np.square(hr.astype(np.float64) - sr))
    psnr, exact = (20 * math.log10(high / math.sqrt(error)) for error in errors)
    return psnr, structural_similarity(sr, hr, data_range=high - low), exact


def published_row(name: str, hr: list[np.ndarray], sr: list[np.ndarray]) -> str:
    """Returns a row of the second table: means over the slices."""
    psnr, ssim, exact = np.mean([published(*pair) for pair in zip(hr, sr, strict=True)], axis=0)
    return f"| {name} | {psnr:.2f} | {ssim:.4f} | {exact:.2f} |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="further ones, as for python -m tfmisr.evaluate")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Prints the tables."""
    arguments = _parser().parse_args(argv)
    hr, lr = _slices(arguments.folder / "hr"), _slices(arguments.folder / "lr")
    results = {f"{name} (theirs)": _slices(arguments.folder / name) for name in _THEIRS}
    for name in (*_MODELS, *arguments.models):
        upscale = upscalers.load(name)
        shown = name if name in _MODELS else upscale.name
        floats = [image.astype(np.float32) / np.float32(_CT_MAX_VAL) for image in lr]
        results[shown] = [upscale(image, _SCALE, _CT_MAX_VAL) for image in floats]
    print(f"{len(hr)} slices; {reduction(hr, lr)}; {platform.machine()}\n")
    print(f"PSNR for a full scale of {_CT_MAX_VAL}, no border cut off:\n")
    print(f"| model | {' | '.join(metrics.get(m).column for m in (*_MEANS, *_SUMS))} |")
    print(f"| --- | {' | '.join(['---:'] * len(_MEANS + _SUMS))} |")
    print("\n".join(row(name, hr, sr) for name, sr in results.items()))
    print("\nAs the authors' program computes them:\n")
    print("| model | PSNR as published [dB] | SSIM as published | the same PSNR without overflow [dB] |")
    print("| --- | ---: | ---: | ---: |")
    print("\n".join(published_row(name, hr, sr) for name, sr in results.items()))
    return 0


if __name__ == "__main__":
    cli.run(main)
