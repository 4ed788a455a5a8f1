"""Images for `applicability.py`: alterations of an input, and other kinds of images."""

import pathlib
from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage

from tfmisr.calibration import defects
from tfmisr.edge import images, resize

UNALTERED = "unaltered"
Images = list[tuple[int, np.ndarray]]  # full scale, and pixels (height, width) in stored levels


def reduced(image: np.ndarray, size: tuple[int, int], method: str = "bicubic") -> np.ndarray:
    """Returns an image (height, width) of another size, by antialiased interpolation."""
    return resize.resize(image[..., np.newaxis], size, method)[..., 0]


def _noise(level: float) -> Callable:
    return lambda lr, hr, full, rng: (lr + rng.normal(0, level * full / 255, lr.shape), hr)


def _blur(deviation: float) -> Callable:
    return lambda lr, hr, full, rng: (ndimage.gaussian_filter(lr, deviation), hr)


def _jpeg(quality: int, row: int = 0, column: int = 0) -> Callable:
    def alter(lr, hr, full, rng):
        padded = np.pad(lr, ((row, 0), (column, 0)), "symmetric")
        return defects.jpeg(padded, full, quality)[row:, column:], hr

    return alter


def _decimated(lr, hr, full, rng):
    scale = len(hr) // len(lr)
    return hr[scale // 2 :: scale, scale // 2 :: scale], hr


def _area(lr, hr, full, rng):
    scale = len(hr) // len(lr)
    return hr.reshape(len(lr), scale, lr.shape[1], scale).mean((1, 3)), hr


# Alterations of the input (and of the ground truth, where that is another one then), in stored levels.
ALTERATIONS: dict[str, Callable] = {
    UNALTERED: lambda lr, hr, full, rng: (lr, hr),
    "noise 1 level": _noise(1),
    "noise 2 levels": _noise(2),
    "noise 3 levels": _noise(3),
    "blur sd 0.5 input pixels": _blur(0.5),
    "blur sd 1 input pixel": _blur(1),
    "JPEG quality 95": _jpeg(95),
    "JPEG quality 90": _jpeg(90),
    "JPEG quality 75": _jpeg(75),
    "JPEG quality 75, then cropped": _jpeg(75, 5, 3),
    "JPEG quality 30": _jpeg(30),
    "unfiltered decimation": _decimated,
    "area mean": _area,
    "Lanczos": lambda lr, hr, full, rng: (reduced(hr, lr.shape, "lanczos"), hr),
    "gamma 0.7": lambda lr, hr, full, rng: tuple(full * (np.maximum(i, 0) / full) ** 0.7 for i in (lr, hr)),
    "inverted": lambda lr, hr, full, rng: (full - lr, full - hr),
    "rotated by 90 degrees": lambda lr, hr, full, rng: (np.rot90(lr), np.rot90(hr)),
    "upside down": lambda lr, hr, full, rng: (lr[::-1], hr[::-1]),
    "mirrored": lambda lr, hr, full, rng: (lr[:, ::-1], hr[:, ::-1]),
}


def others(folder: pathlib.Path | None, scale: int) -> Iterator[tuple[str, Images]]:
    """Yields a kind of images that are no chest radiographs, and its images.

    Args:
        folder: Has `ct/*.dcm`, `mr/*.dcm` and `us/*.png`; `None`: without these.
        scale: Factor of the reduced ones.
    """
    rng = np.random.default_rng(33)
    yield "white noise", [(255, rng.uniform(0, 255, (512 // scale, 512 // scale))) for _ in range(20)]
    for kind, pattern in {"CT": "ct/*.dcm", "MR": "mr/*.dcm", "ultrasound": "us/*.png"}.items() if folder else ():
        read = [images.read_images(path)[0] for path in sorted(folder.glob(pattern))]
        yield from _native_and_reduced(kind, [(i.max_val, i.pixels[..., 0].astype(np.float32)) for i in read], scale)
    yield from _native_and_reduced("photographs", [(255, photo) for photo in photographs()], scale)


def _native_and_reduced(kind: str, found: Images, scale: int) -> Iterator[tuple[str, Images]]:
    yield f"{kind}, native", found
    yield f"{kind}, reduced", [(full, reduced(i, tuple(side // scale for side in i.shape))) for full, i in found]


def photographs() -> list[np.ndarray]:
    """Returns photographs that come with scikit-image, float32 in [0, 255]; none without it."""
    try:
        from skimage import data as pictures
    except ImportError:
        return []
    names = ("camera", "coins", "moon", "brick", "grass", "gravel", "page", "text")
    return [np.asarray(getattr(pictures, name)(), np.float32) for name in names]
