"""The classical methods beside the interpolations on real images: PSNR, SSIM, the center, time.

Each method is judged on the same whole images of a split; what learns does so on the train split, which is not timed.
Time is that of the processor, all cores together, so that other programs do not count.

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
from tfmisr.inference import upscalers  # noqa: E402


class Timed:
    """An upscaler that writes down how long each image takes."""

    def __init__(self, upscaler):
        self.upscaler, self.name, self.seconds = upscaler, upscaler.name, []
        self.parameters = upscaler.parameters

    def __call__(self, *arguments):
        start = time.process_time()
        result = self.upscaler(*arguments)
        self.seconds.append(time.process_time() - start)
        return result


def judge(source, scale: int, arguments) -> tuple[list[str], str]:
    """Returns the rows of the table for one scale, and its protocol's hash."""
    fields = {"scale": scale, "degradation": arguments.degradation}
    wanted = [*scoring.INTERPOLATIONS, *arguments.methods]
    ready = [classical.made(classical.named(n) or upscalers.load(n), source, fields) for n in wanted]
    timed = [Timed(upscaler) for upscaler in ready]
    cache = pipeline.cache_of(source, arguments.split)
    _, _, max_val, lr, _ = next(pipeline.pairs(cache, scale, degradations.of(fields)))
    for one in timed:
        one(lr, scale, max_val)  # the first call compiles
        one.seconds.clear()
    result = scoring.evaluate(
        timed,
        source,
        arguments.split,
        scale,
        degradations.of(fields),
        measures=("psnr", "ssim"),
        max_images=arguments.max_images,
    )
    rows = [_row(scale, one, result.summary[one.name]) for one in timed]
    return rows, f"x{scale} {result.protocol.hash} ({result.protocol.images} images)"


def _row(scale, timed, found):
    gain = f"{found['psnr_gain']:+.2f} ({found['psnr_gain_low']:+.2f} to {found['psnr_gain_high']:+.2f})"
    cells = [
        f"x{scale}",
        timed.name,
        f"{found['psnr']:.2f}",
        "-" if timed.name == scoring.REFERENCE else gain,
        f"{found['ssim']:.4f}",
        f"{found['psnr_center']:.2f}",
        f"{found['psnr_center_gain']:+.2f}",
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
    said = []
    for scale in arguments.scales:
        rows, protocol = judge(source, scale, arguments)
        print("\n".join(rows), flush=True)
        said.append(protocol)
    print(f"\n{source.name}, {arguments.split}; {'; '.join(said)}; {platform.machine()}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
