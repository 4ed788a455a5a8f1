"""The perception-distortion plane on real chest X-rays: how near to the truth, how much like it, and what was invented.

Images and protocol are those of `frontier.py`. Distortion is PSNR. How much an image looks like a radiograph is told
by what blur takes away and invention brings: gradient energy and noise, as shares of the true image's, and HaarPSI with
its constants for medical images; LPIPS too, where its published weights are given (`python -m tfmisr.data.download`).
LR-PSNR reduces SR again and compares it with LR: what an image shows and the scanner did not see is either finer than
LR, and LR-PSNR stays high, or it contradicts LR (Blau and Michaeli, The Perception-Distortion Tradeoff, CVPR 2018,
https://arxiv.org/abs/1711.06077).

    python benchmarks/perception.py --output runs/perception
"""

import argparse
import pathlib

import frontier
import numpy as np

from tfmisr import cli, metrics
from tfmisr.progress import bar

COLUMNS = {
    "psnr": ("PSNR [dB]", "{:.2f}"),
    "center": ("center [dB]", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "haarpsi_med": ("HaarPSI_MED", "{:.4f}"),
    "lpips_alex": ("LPIPS (AlexNet)", "{:.4f}"),
    "sharpness": ("gradient energy", "{:.0%}"),
    "noise": ("noise", "{:.0%}"),
    "lr_psnr": ("LR-PSNR [dB]", "{:.2f}"),
}


def lr_psnr(sr: np.ndarray, lr: np.ndarray, scale: int) -> float:
    """Returns PSNR of the reduced SR against LR in dB, without the outermost pixel."""
    again = frontier.reduced(sr, scale)
    return metrics.psnr(*(metrics.shave(image[..., None], 1) for image in (lr, again)), 255)


def measured(sr: np.ndarray, hr: np.ndarray, lr: np.ndarray, scale: int, lpips=None) -> dict[str, float]:
    """Returns all measures of one image; noise as a share of the true image's."""
    pair = [metrics.shave(image[..., None], scale) for image in (hr, sr)]
    found = frontier.scores(sr, hr, scale)
    found |= {name: metrics.get(name)(*pair, 255) for name in ("haarpsi_med", "sharpness")}
    noise = metrics.get("noise")
    found["noise"] = noise(*pair, 255) / noise(pair[0], pair[0], 255)
    found["lr_psnr"] = lr_psnr(sr, lr, scale)
    return found | ({"lpips_alex": lpips(*pair, 255)} if lpips else {})


def judge(found: dict, images: list[np.ndarray], scale: int, lpips=None) -> dict[str, dict]:
    """Returns name to mean measures, the true image's own among them."""
    rows = {name: [] for name in (*found, "the true image")}
    for hr in bar(images, desc=f"judging x{scale}", unit=" images", leave=False):
        lr = frontier.reduced(hr, scale)
        for name in rows:
            sr = found[name](lr, scale) if name in found else hr
            rows[name].append(measured(sr, hr, lr, scale, lpips))
    return {name: {key: float(np.mean([row[key] for row in each])) for key in each[0]} for name, each in rows.items()}


def table(found: dict[str, dict]) -> str:
    """Returns one scale's table in Markdown, by PSNR."""
    columns = [key for key in COLUMNS if all(key in row for row in found.values())]
    lines = ["| system | " + " | ".join(COLUMNS[key][0] for key in columns) + " |", "|---|" + "---:|" * len(columns)]
    for name, row in sorted(found.items(), key=lambda item: item[1]["psnr"]):
        lines.append(f"| {name} | " + " | ".join(COLUMNS[key][1].format(row[key]) for key in columns) + " |")
    return "\n".join(lines) + "\n"


def plot(results: dict[int, dict], path: pathlib.Path) -> None:
    """Draws gradient energy against PSNR, a panel a scale."""
    figure, axes = frontier.panels(results)
    for scale, axis in axes.items():
        axis.axhline(100, color="0.5", linewidth=0.8, linestyle="--")
        axis.set(xlabel="PSNR [dB]", ylabel="gradient energy [% of the true image's]", title=f"x{scale}")
        axis.margins(x=0.2, y=0.1)
        axis.grid(alpha=0.3)
        found = {name: row for name, row in results[scale].items() if np.isfinite(row["psnr"])}
        frontier.label(axis, {name: (row["psnr"], 100 * row["sharpness"]) for name, row in found.items()})
    frontier.save(figure, path)


def parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [frontier.SHARED / "ChestX-ray14"]
    found.add_argument(
        "--data", nargs="+", default=default, type=pathlib.Path, help="folders of the archive, 1024x1024"
    )
    found.add_argument("--data_dir", help="where prepared datasets are kept")
    found.add_argument("--split", default="test", choices=["validation", "test"])
    found.add_argument("--scales", nargs="+", type=int, default=[2, 4], choices=[2, 3, 4, 8])
    found.add_argument("--models", nargs="+", help="shipped names or .tflite files (default: all shipped)")
    found.add_argument("--weights_dir", help="published weights of LPIPS; without it LPIPS is left out")
    found.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/perception"))
    return found


def systems(arguments, scale: int) -> dict:
    """Returns name to function of the interpolation and of our models that enlarge by `scale`."""
    return {"bicubic": frontier.interpolation("bicubic"), **frontier.all_of_ours(arguments.models, scale)}


def main(argv=None) -> int:
    arguments = parser().parse_args(argv)
    lpips = None
    if arguments.weights_dir:
        from tfmisr.metrics import lpips as module

        lpips = module.load("lpips_alex", arguments.weights_dir)
    images = frontier.true_images(arguments)
    results = {scale: judge(systems(arguments, scale), images, scale, lpips) for scale in arguments.scales}
    text = "\n".join(f"## x{scale}\n\n{table(found)}" for scale, found in results.items())
    text += f"\n{len(images)} images of the {arguments.split} split.\n"
    return frontier.report(arguments.output / "perception", text, results, plot)


if __name__ == "__main__":
    cli.run(main)
