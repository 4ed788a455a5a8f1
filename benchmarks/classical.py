"""Classical methods and interpolations on real images: PSNR, SSIM, PSNR of the central crop, time.

Each method is evaluated on the same full images of a split; fitting to the train split is not timed. Time is processor
time summed over cores, so that other programs do not count.

    python benchmarks/classical.py --dataset chest_xray14 --manual_dir ARCHIVE [ARCHIVE ...] --scales 2 4
"""

import argparse
import os
import platform
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfmisr import classical, data, degradations
from tfmisr.data import pipeline
from tfmisr.evaluation import scoring
from tfmisr.inference import fitting, upscalers


class Timed:
    """An upscaler that records the processor time of each image."""

    def __init__(self, upscaler):
        self.upscaler, self.name, self.seconds = upscaler, upscaler.name, []
        self.parameters = upscaler.parameters

    def __call__(self, *arguments):
        start = time.process_time()
        result = self.upscaler(*arguments)
        self.seconds.append(time.process_time() - start)
        return result


def evaluate(source, scale: int, arguments) -> tuple[list[str], str]:
    """Returns the table rows of one scale, and the hash of its protocol."""
    fields = {"scale": scale, "degradation": arguments.degradation}
    names = [*scoring.INTERPOLATIONS, *arguments.methods]
    fitted = [fitting.fit_upscaler(classical.create(n) or upscalers.load(n), source, fields) for n in names]
    timed = [Timed(upscaler) for upscaler in fitted]
    cache = pipeline.cache_of(source, arguments.split)
    _, _, max_val, lr, _ = next(pipeline.pairs(cache, scale, degradations.of(fields)))
    for upscaler in timed:
        upscaler(lr, scale, max_val)  # the first call compiles
        upscaler.seconds.clear()
    result = scoring.evaluate(
        timed,
        source,
        arguments.split,
        scale,
        degradations.of(fields),
        measures=("psnr", "ssim"),
        max_images=arguments.max_images,
    )
    rows = [_row(scale, upscaler, result.summary[upscaler.name]) for upscaler in timed]
    return rows, f"x{scale} {result.protocol.hash} ({result.protocol.images} images)"


def _row(scale, timed, scores):
    gain = f"{scores['psnr_gain']:+.2f} ({scores['psnr_gain_low']:+.2f} to {scores['psnr_gain_high']:+.2f})"
    center = "psnr_center" if "psnr_center" in scores else "psnr_centre"
    cells = [
        f"x{scale}",
        timed.name,
        f"{scores['psnr']:.2f}",
        "-" if timed.name == scoring.REFERENCE else gain,
        f"{scores['ssim']:.4f}",
        f"{scores[center]:.2f}",
        f"{scores[center + '_gain']:+.2f}",
        f"{statistics.median(timed.seconds):.2g}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="chest_xray14")
    parser.add_argument("--manual_dir", nargs="+", default=())
    parser.add_argument("--data_dir")
    parser.add_argument("--split", default="test")
    parser.add_argument("--scales", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--degradation", default="bicubic")
    parser.add_argument("--methods", nargs="+", default=list(classical.METHODS))
    parser.add_argument("--max_images", type=int)
    arguments = parser.parse_args()
    source = data.load(arguments.dataset, arguments.data_dir, arguments.manual_dir)
    print("| scale | method | PSNR [dB] | gain over bicubic [dB] (95 %) | SSIM | center PSNR | gain | CPU s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    protocols = []
    for scale in arguments.scales:
        rows, protocol = evaluate(source, scale, arguments)
        print("\n".join(rows), flush=True)
        protocols.append(protocol)
    print(f"\n{source.name}, {arguments.split}; {'; '.join(protocols)}; {platform.machine()}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
