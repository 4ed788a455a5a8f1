"""Quality against time on real chest X-rays: the models that come with tfmisr, interpolations, and what PyPI has.

The protocol is that of

    python -m tfmisr.evaluate best-x4 --dataset chest_xray14/512 --degradation "bicubic(rounding=pillow8)"

which prints the same numbers for our models and interpolations: the images of the official test list, 1024 -> 512 by
exact 2x2 means for HR, LR as Pillow's bicubic resizes 8-bit images; SR rounded to 8 bits, `scale` pixels cropped at
each edge. The center is the central crop of 320x320: anatomy, without letters and collimation edges, which dominate the
PSNR of the full image. Time: one thread, from an LR array to an SR array of 512x512, all systems in turn in one
process; only ratios are comparable between machines.

    python benchmarks/frontier.py --output runs/frontier
    python benchmarks/frontier.py --models runs/a/exported/int8.tflite best-x4 --dnn_superres FSRCNN_x4.pb

Other packages (`peers.py`) are included where they are installed.
"""

import argparse
import json
import pathlib
import platform
import statistics
import time

import numpy as np
import peers

from tfmisr import cli, degradations, metrics
from tfmisr.edge import card, resize, runtime, shipped
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write, write_text
from tfmisr.edge.upscaler import to_levels
from tfmisr.progress import bar

SHARED = pathlib.Path(__file__).resolve().parent.parent.parent / "shared" / "data"
CENTER = 320

# Positions of a label beside its point; the first free one is used.
_SIDES = (
    {"xytext": (7, 0), "ha": "left", "va": "center"},
    {"xytext": (-7, 0), "ha": "right", "va": "center"},
    {"xytext": (0, 7), "ha": "center", "va": "bottom"},
    {"xytext": (0, -7), "ha": "center", "va": "top"},
)


def interpolation(method: str):
    """Returns an interpolation as in `evaluate`: in full precision, then rounded to 8 bits."""
    return lambda lr, scale: to_levels(resize.upscale(lr[..., None] / np.float32(255), scale, method), 255)[..., 0]


def path_of(name: str) -> pathlib.Path:
    """Returns the file of a shipped model, or the file of that name."""
    return shipped.path(name) if shipped.is_name(name) else pathlib.Path(name)


def ours(path):
    """Returns a `.tflite` file of tfmisr as a function, and its scale."""
    model = runtime.Model(path, threads=1)
    return lambda lr, scale: model.upscale(lr[..., None], 255)[..., 0], model.scale


def all_of_ours(models: list[str] | None, scale: int) -> dict:
    """Returns name to function of those shipped names and files (default: all shipped) that are for `scale`."""
    upscalers = {}
    for name in models or shipped.names():
        upscale, model_scale = ours(path_of(str(name)))
        if model_scale == scale:
            upscalers[str(name)] = upscale
    return upscalers


def weights(models: list[str] | None) -> dict[str, int]:
    """Returns name to number of weights, from the model's card."""
    return {str(name): card.read(path_of(str(name)))["parameters"] for name in models or shipped.names()}


def systems(arguments, scale: int) -> dict:
    """Returns name to function (LR uint8 array, scale) -> SR uint8 array, of all systems for `scale`."""
    upscalers = {"bicubic": interpolation("bicubic"), "Lanczos": interpolation("lanczos"), **peers.opencv()}
    upscalers |= all_of_ours(arguments.models, scale)
    for path in arguments.dnn_superres:
        name, model_scale, upscale = peers.dnn_superres(path)
        if model_scale == scale:
            upscalers[name] = upscale
    return upscalers | ({} if arguments.no_ncnn else peers.ncnn(scale))


def ground_truth(arguments) -> list[np.ndarray]:
    """Returns the HR images of the split, uint8 arrays (height, width)."""
    from tfmisr import data
    from tfmisr.data import pipeline

    source = data.load("chest_xray14/512", arguments.data_dir, tuple(map(str, arguments.data)))
    cache = pipeline.cache_of(source, arguments.split)
    if cache.channels != 1:
        raise InputError("expected gray images")
    return [cache[i][..., 0] for i in range(len(cache))]


def downsample(hr: np.ndarray, scale: int) -> np.ndarray:
    """Returns the antialiased bicubic downsampling, (height // scale, width // scale) of 8 bits."""
    degrade = degradations.make(scale, degradation="bicubic(rounding=pillow8)")
    return to_levels(degrade(hr[..., None] / np.float32(255), 255), 255)[..., 0]


def scores(sr: np.ndarray, hr: np.ndarray, scale: int) -> dict[str, float]:
    """Returns PSNR and SSIM without the border, and PSNR of the central crop."""
    shave = slice(scale, -scale)
    y, x = ((side - CENTER) // 2 for side in hr.shape)
    middle = slice(y, y + CENTER), slice(x, x + CENTER)
    pair = [image[shave, shave, None] for image in (hr, sr)]
    return {
        "psnr": metrics.psnr(*pair, 255),
        "ssim": metrics.ssim(*pair, 255),
        "center": metrics.psnr(hr[middle][..., None], sr[middle][..., None], 255),
    }


def evaluate(upscalers: dict, images: list[np.ndarray], scale: int) -> dict[str, dict]:
    """Returns name to mean scores over all images."""
    rows = {name: [] for name in upscalers}
    for hr in bar(images, desc=f"evaluating x{scale}", unit=" images", leave=False):
        lr = downsample(hr, scale)
        for name, upscale in upscalers.items():
            rows[name].append(scores(upscale(lr, scale), hr, scale))
    return {name: {key: float(np.mean([row[key] for row in each])) for key in each[0]} for name, each in rows.items()}


def timed(upscalers: dict, images: list[np.ndarray], scale: int, rounds: int) -> dict[str, float]:
    """Returns name to the median processor time of one image in milliseconds, all systems in turn."""
    times = {name: [] for name in upscalers}
    for i in bar(range(rounds), desc=f"timing x{scale}", unit=" rounds", leave=False):
        lr = downsample(images[i % len(images)], scale)
        for name, upscale in upscalers.items():
            start = time.process_time()
            upscale(lr, scale)
            times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(each) for name, each in times.items()}


def table(rows: dict[str, dict]) -> str:
    """Returns one scale's table in Markdown, the fastest first."""
    lines = ["| system | weights | PSNR [dB] | SSIM | center [dB] | ms |", "|---|---:|---:|---:|---:|---:|"]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["ms"]):
        count = f"{row['weights']:,}" if "weights" in row else "-"
        scores = f"{row['psnr']:.2f} | {row['ssim']:.4f} | {row['center']:.2f}"
        lines.append(f"| {name} | {count} | {scores} | {row['ms']:.1f} |")
    return "\n".join(lines) + "\n"


def label(axis, points: dict[str, tuple[float, float]]) -> None:
    """Draws one labeled point per system; labels stay inside the axes and do not overlap where there is room."""
    from matplotlib.transforms import Bbox

    for name, point in points.items():
        axis.plot(*point, "o", color="tab:blue" if name in shipped.names() else "0.5")
    axis.figure.canvas.draw()
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in axis.transData.transform(list(points.values()))]
    for name, point in points.items():
        for side in _SIDES:
            text = axis.annotate(name, point, textcoords="offset points", fontsize=8, **side)
            box = text.get_window_extent()
            if axis.bbox.containsx(box.x0) and axis.bbox.containsx(box.x1) and not box.count_overlaps(taken):
                break
            text.set_visible(False)
        text.set_visible(True)
        taken.append(box)


def panels(results: dict[int, dict]):
    """Returns a figure and scale to axes: one panel a scale, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(6.5 * len(results), 4.5), squeeze=False, layout="constrained")
    return figure, dict(zip(results, axes[0], strict=True))


def save(figure, path: pathlib.Path) -> None:
    """Writes a PNG file, atomically."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def plot(results: dict[int, dict], path: pathlib.Path) -> None:
    """Draws PSNR of the center against time, a panel a scale."""
    figure, axes = panels(results)
    for scale, axis in axes.items():
        axis.set(xscale="log", xlabel="ms for 512x512, one thread", ylabel="PSNR of the center [dB]", title=f"x{scale}")
        axis.margins(x=0.2, y=0.1)
        axis.grid(alpha=0.3)
        label(axis, {name: (row["ms"], row["center"]) for name, row in results[scale].items()})
    save(figure, path)


def report(path: pathlib.Path, text: str, results: dict[int, dict], plot) -> int:
    """Writes `.md`, `.json` and `.png` of that name, prints the text and returns the exit status."""
    cli.require_writable(path.parent)
    write_text(path.with_suffix(".md"), text)
    write_text(path.with_suffix(".json"), json.dumps(results, indent=2) + "\n")
    plot(results, path.with_suffix(".png"))
    print(text)
    return 0


def measured(arguments) -> dict[int, dict]:
    """Returns scale to name to scores, milliseconds and number of weights."""
    images, results = ground_truth(arguments), {}
    counts = {name: {"weights": count} for name, count in weights(arguments.models).items()}
    for scale in arguments.scales:
        upscalers = systems(arguments, scale)
        means, times = evaluate(upscalers, images, scale), timed(upscalers, images, scale, arguments.rounds)
        results[scale] = {name: {**counts.get(name, {}), **means[name], "ms": times[name]} for name in upscalers}
    return results


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [SHARED / "ChestX-ray14"]
    parser.add_argument(
        "--data", nargs="+", default=default, type=pathlib.Path, help="folders of the archive, 1024x1024"
    )
    parser.add_argument("--data_dir", help="where prepared datasets are kept")
    parser.add_argument("--split", default="test", choices=["validation", "test"])
    parser.add_argument("--scales", nargs="+", type=int, default=[2, 4], choices=[2, 3, 4, 8])
    parser.add_argument("--models", nargs="+", help="shipped names or .tflite files (default: all shipped)")
    parser.add_argument("--dnn_superres", nargs="+", default=[], type=pathlib.Path, metavar="FSRCNN_x4.pb")
    parser.add_argument("--no_ncnn", action="store_true", help="leave waifu2x and Real-ESRGAN out")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--results", type=pathlib.Path, metavar="frontier.json", help="write tables and plot of an earlier run again"
    )
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/frontier"))
    arguments = parser.parse_args(argv)
    if arguments.results:
        results = {int(scale): rows for scale, rows in json.loads(arguments.results.read_text()).items()}
    else:
        results = measured(arguments)
    text = "\n".join(f"## x{scale}\n\n{table(rows)}" for scale, rows in results.items())
    text += f"\n{arguments.split} split; {platform.machine()}, one thread.\n"
    return report(arguments.output / "frontier", text, results, plot)


if __name__ == "__main__":
    cli.run(main)
