"""The perception-distortion plane on real chest X-rays: fidelity, realism, and consistency with the input.

Images and protocol are those of `frontier.py`. Distortion is PSNR. Realism is measured by quantities that blur lowers
and synthesized detail raises: gradient energy and noise relative to the ground truth, and HaarPSI with its constants
for medical images; LPIPS too, where its published weights are given (`python -m tfmisr.data.download`). LR-PSNR
downsamples SR again and compares it with LR: detail that is not in the input is either finer than LR, and LR-PSNR stays
high, or it contradicts LR (Blau and Michaeli, The Perception-Distortion Tradeoff, CVPR 2018,
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
    """Returns PSNR of the downsampled SR against LR in dB, without the outermost pixel."""
    again = frontier.downsample(sr, scale)
    return metrics.psnr(*(metrics.shave(image[..., None], 1) for image in (lr, again)), 255)


def measured(sr: np.ndarray, hr: np.ndarray, lr: np.ndarray, scale: int, lpips=None) -> dict[str, float]:
    """Returns all metrics of one image; noise relative to the ground truth."""
    pair = [metrics.shave(image[..., None], scale) for image in (hr, sr)]
    scores = frontier.scores(sr, hr, scale)
    scores |= {name: metrics.get(name)(*pair, 255) for name in ("haarpsi_med", "sharpness")}
    noise = metrics.get("noise")
    scores["noise"] = noise(*pair, 255) / noise(pair[0], pair[0], 255)
    scores["lr_psnr"] = lr_psnr(sr, lr, scale)
    return scores | ({"lpips_alex": lpips(*pair, 255)} if lpips else {})


def evaluate(upscalers: dict, images: list[np.ndarray], scale: int, lpips=None) -> dict[str, dict]:
    """Returns name to mean metrics, those of the ground truth among them."""
    rows = {name: [] for name in (*upscalers, "ground truth")}
    for hr in bar(images, desc=f"evaluating x{scale}", unit=" images", leave=False):
        lr = frontier.downsample(hr, scale)
        for name in rows:
            sr = upscalers[name](lr, scale) if name in upscalers else hr
            rows[name].append(measured(sr, hr, lr, scale, lpips))
    return {name: {key: float(np.mean([row[key] for row in each])) for key in each[0]} for name, each in rows.items()}


def table(rows: dict[str, dict]) -> str:
    """Returns one scale's table in Markdown, by PSNR."""
    columns = [key for key in COLUMNS if all(key in row for row in rows.values())]
    lines = ["| system | " + " | ".join(COLUMNS[key][0] for key in columns) + " |", "|---|" + "---:|" * len(columns)]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["psnr"]):
        lines.append(f"| {name} | " + " | ".join(COLUMNS[key][1].format(row[key]) for key in columns) + " |")
    return "\n".join(lines) + "\n"


def plot(results: dict[int, dict], path: pathlib.Path) -> None:
    """Draws gradient energy against PSNR, a panel a scale."""
    figure, axes = frontier.panels(results)
    for scale, axis in axes.items():
        axis.axhline(100, color="0.5", linewidth=0.8, linestyle="--")
        axis.set(xlabel="PSNR [dB]", ylabel="gradient energy [% of the ground truth]", title=f"x{scale}")
        axis.margins(x=0.2, y=0.1)
        axis.grid(alpha=0.3)
        finite = {name: row for name, row in results[scale].items() if np.isfinite(row["psnr"])}
        frontier.label(axis, {name: (row["psnr"], 100 * row["sharpness"]) for name, row in finite.items()})
    frontier.save(figure, path)


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [frontier.SHARED / "ChestX-ray14"]
    parser.add_argument(
        "--data", nargs="+", default=default, type=pathlib.Path, help="folders of the archive, 1024x1024"
    )
    parser.add_argument("--data_dir", help="where prepared datasets are kept")
    parser.add_argument("--split", default="test", choices=["validation", "test"])
    parser.add_argument("--scales", nargs="+", type=int, default=[2, 4], choices=[2, 3, 4, 8])
    parser.add_argument("--models", nargs="+", help="shipped names or .tflite files (default: all shipped)")
    parser.add_argument("--weights_dir", help="published weights of LPIPS; without it LPIPS is left out")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/perception"))
    return parser


def systems(arguments, scale: int) -> dict:
    """Returns name to function of the interpolation and of our models for this scale."""
    return {"bicubic": frontier.interpolation("bicubic"), **frontier.all_of_ours(arguments.models, scale)}


def main(argv=None) -> int:
    arguments = make_parser().parse_args(argv)
    lpips = None
    if arguments.weights_dir:
        from tfmisr.metrics import lpips as module

        lpips = module.load("lpips_alex", arguments.weights_dir)
    images = frontier.ground_truth(arguments)
    results = {scale: evaluate(systems(arguments, scale), images, scale, lpips) for scale in arguments.scales}
    text = "\n".join(f"## x{scale}\n\n{table(rows)}" for scale, rows in results.items())
    text += f"\n{len(images)} images of the {arguments.split} split.\n"
    return frontier.report(arguments.output / "perception", text, results, plot)


if __name__ == "__main__":
    cli.run(main)
