"""Burned-in annotations as an augmentation: text, markers, rulers, collimation edges and lines of radiographs.

DICOM calls what is written into the pixels burned-in annotation (PS3.3 C.7.6.1, Burned In Annotation (0028,0301)). Such
sharp, saturated edges are rare in training images and dominate the PSNR of a full radiograph. They are drawn into
high-resolution pixels, before these are degraded: letters of several sizes and fonts (DejaVu and STIX, which come with
matplotlib under permissive licenses), anti-aliased or not, white, black or gray.
"""

import functools
import pathlib
from collections.abc import Callable

import numpy as np

from tfmisr.edge.errors import InputError

FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono-Bold", "DejaVuSerif", "STIXGeneral", "STIXGeneralBol")
_TEXTS = ("L", "R", "PA", "AP", "SUPINE", "PORTABLE", "ERECT", "UPRIGHT", "LAT", "DECUB", "SEMI")
_SIZES = (7, 40)  # height of letters, high-resolution pixels
_ITEMS = 3  # at most, in a patch


def burn_in(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a copy of an image with one to three burned-in annotations.

    Args:
        image: float32 (height, width, channels) in [0, 1].
        rng: Random generator; the same state gives the same pixels on one machine.

    Returns:
        float32 array of that shape in [0, 1].
    """
    burned = image
    for _ in range(int(rng.integers(1, _ITEMS + 1))):
        draw = _KINDS[int(rng.choice(len(_KINDS), p=_PROBABILITIES))]
        coverage = draw(image.shape[:2], rng)
        value = np.float32(rng.choice([1.0, rng.uniform(0.6, 1.0), rng.uniform(0.0, 0.1)]))
        burned = burned + coverage[..., None] * (value - burned)
    return burned.astype(np.float32)


def _drawn(shape, paint: Callable, sharp: bool = False) -> np.ndarray:
    """Returns the coverage, float32 (height, width) in [0, 1], of what `paint` draws with Pillow."""
    from PIL import Image, ImageDraw

    picture = Image.new("L", shape[::-1], 0)
    drawing = ImageDraw.Draw(picture)
    drawing.fontmode = "1" if sharp else "L"
    paint(drawing)
    return np.asarray(picture, np.float32) / 255


def _place(shape, rng) -> tuple[float, float]:
    """Returns x and y of a point of the image, or up to a fifth of a side before it, so that letters are cut too."""
    return tuple(float(rng.uniform(-0.2, 0.9) * side) for side in shape[::-1])


def _text(shape, rng) -> np.ndarray:
    size = int(np.exp(rng.uniform(*np.log(_SIZES))))
    font = _font(FONTS[int(rng.integers(len(FONTS)))], size)
    text = str(rng.choice(_TEXTS)) if rng.random() < 0.5 else _characters(rng)
    place, sharp = _place(shape, rng), bool(rng.random() < 0.4)
    return _drawn(shape, lambda drawing: drawing.text(place, text, 255, font), sharp)


def _characters(rng) -> str:
    letters = list("ABCDEFGHIJKLMNOPRSTUVWXYZ0123456789:./- ")
    return "".join(rng.choice(letters, int(rng.integers(1, 12))))


@functools.lru_cache(maxsize=256)
def _font(name: str, size: int):
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise InputError("--burned_in needs the fonts of matplotlib; pip install matplotlib") from error
    from PIL import ImageFont

    return ImageFont.truetype(str(pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")), size)


def _marker(shape, rng) -> np.ndarray:
    """Returns a side marker: a letter of lead in a circle or a box."""
    size = int(rng.integers(12, 48))
    x, y = _place(shape, rng)
    width, font = int(rng.integers(1, 4)), _font("DejaVuSans-Bold", size)
    box, letter = (x, y, x + 2 * size, y + 2 * size), str(rng.choice(["L", "R"]))
    outline = "ellipse" if rng.random() < 0.5 else "rectangle"

    def paint(drawing):
        getattr(drawing, outline)(box, outline=255, width=width)
        drawing.text((x + size, y + size), letter, 255, font, anchor="mm")

    return _drawn(shape, paint)


def _ruler(shape, rng) -> np.ndarray:
    x, y = _place(shape, rng)
    step, length, width = int(rng.integers(3, 15)), int(rng.integers(4, 13)), int(rng.integers(1, 3))
    upright = bool(rng.random() < 0.5)

    def paint(drawing):
        for i in range(max(shape) // step):
            tick = length * (2 if i % 5 == 0 else 1)
            at = (x, y + i * step, x + tick, y + i * step) if upright else (x + i * step, y, x + i * step, y + tick)
            drawing.line(at, 255, width)

    return _drawn(shape, paint)


def _line(shape, rng) -> np.ndarray:
    """Returns a wire or catheter: a straight line, or one of two pieces, of one to four pixels."""
    points = [tuple(float(rng.uniform(0, side)) for side in shape[::-1]) for _ in range(int(rng.integers(2, 4)))]
    width = int(rng.integers(1, 5))
    return _drawn(shape, lambda drawing: drawing.line(points, 255, width, joint="curve"))


def _collimation(shape, rng) -> np.ndarray:
    """Returns everything beyond a straight edge, upright or level but for a few degrees, sharp or a few pixels wide."""
    angle = float(rng.integers(4)) * np.pi / 2 + float(rng.normal(0, 0.03))
    row, column = np.ogrid[: shape[0], : shape[1]]
    through = [float(rng.uniform(0.05, 0.95) * side) for side in shape]
    distance = (row - through[0]) * np.sin(angle) + (column - through[1]) * np.cos(angle)
    width = float(rng.choice([1.0, rng.uniform(1.0, 6.0)]))  # 1: anti-aliased
    return np.clip(distance / width + 0.5, 0, 1).astype(np.float32)


_KINDS = (_text, _marker, _ruler, _line, _collimation)
_PROBABILITIES = (0.45, 0.1, 0.1, 0.15, 0.2)
