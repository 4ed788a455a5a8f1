"""Burned-in annotations as an augmentation: text, markers, rulers, collimation edges and lines of radiographs.

DICOM calls what is written into the pixels burned-in annotation (PS3.3 C.7.6.1, Burned In Annotation (0028,0301)). Such
sharp, saturated edges are rare in training images and dominate the PSNR of a full radiograph. They are drawn into
high-resolution pixels, before these are degraded: words in several fonts and sizes (DejaVu and STIX, which come with
matplotlib under permissive licenses), letters in rings, lead letters with a technologist's initials at any angle.

Most are drawn three times as large and reduced, as the pixels of an archive are: an annotation is written at the
detector's resolution. Some are drawn with the pixels of the image itself, anti-aliased or not.
"""

import functools
import pathlib
from collections.abc import Callable

import numpy as np

from tfmisr.edge.errors import InputError

SANS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono-Bold")
ITALIC = ("DejaVuSans-Oblique", "DejaVuSans-BoldOblique", "STIXGeneralItalic", "STIXGeneralBolIta")
FONTS = (*SANS, *ITALIC, "DejaVuSerif", "STIXGeneral", "STIXGeneralBol")
_WORDS = ("PORTABLE", "SUPINE", "UPRIGHT", "ERECT", "SEMI-ERECT", "SEMI", "PA", "AP", "LAT", "DECUB", "L", "R", "LEFT")
_LETTERS = "ABCDEFGHIJKLMNOPRSTUVWXYZ"
_SIZES = (8, 30)  # of a font, high-resolution pixels; capital letters are 0.7 as high
_ITEMS = 3  # at most, in a patch
_FINE = 3  # subpixels along a side of a pixel

Layer = tuple[np.ndarray, float]  # coverage, float32 (height, width) in [0, 1], and gray value


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
        for coverage, value in layers(image.shape[:2], rng):
            burned = burned + coverage[..., None] * (np.float32(value) - burned)
    return burned.astype(np.float32)


def layers(shape: tuple[int, int], rng: np.random.Generator, kind: Callable | None = None) -> list[Layer]:
    """Draws one annotation.

    Args:
        shape: Height and width of the image.
        rng: Random generator.
        kind: One of the functions of this module that draw, such as `ring`; `None`: one at random.

    Returns:
        Coverage and gray value of each layer, from the lowest to the uppermost.
    """
    kind = kind or _KINDS[int(rng.choice(len(_KINDS), p=_PROBABILITIES))]
    unit = _FINE if kind is not collimation and rng.random() < 0.8 else 1
    drawn = kind((shape[0] * unit, shape[1] * unit), unit, rng)
    sigma = float(rng.choice([0.0, rng.uniform(0.2, 0.9)], p=[0.7, 0.3]))
    reduce = int(rng.integers(len(_REDUCTIONS)))
    return [(_reduced(coverage, shape, reduce, sigma), value) for coverage, value in drawn]


def _reduced(coverage, shape, reduce, sigma) -> np.ndarray:
    from PIL import Image
    from scipy import ndimage

    if coverage.shape != tuple(shape):
        method = getattr(Image.Resampling, _REDUCTIONS[reduce])
        coverage = np.asarray(Image.fromarray(coverage).resize(shape[::-1], method))
    if sigma:
        coverage = ndimage.gaussian_filter(coverage, sigma, mode="nearest")
    return np.clip(coverage, 0, 1)


_REDUCTIONS = ("BOX", "BOX", "BICUBIC", "LANCZOS", "HAMMING")


def _value(rng) -> float:
    return float(rng.choice([1.0, rng.uniform(0.6, 1.0), rng.uniform(0.0, 0.1)], p=[0.6, 0.25, 0.15]))


def _drawn(shape, paint: Callable, angle: float = 0.0, center: tuple | None = None, sharp: bool = False) -> np.ndarray:
    """Returns the coverage of what `paint` draws with Pillow, turned by `angle` degrees about `center` (x, y)."""
    from PIL import Image, ImageDraw

    picture = Image.new("L", shape[::-1], 0)
    drawing = ImageDraw.Draw(picture)
    drawing.fontmode = "1" if sharp else "L"
    paint(drawing)
    if angle:
        picture = picture.rotate(angle, Image.Resampling.BILINEAR, center=center)
    return np.asarray(picture, np.float32) / 255


def _place(shape, rng) -> tuple[float, float]:
    """Returns x and y of a point of the image, or up to a fifth of a side before it, so that letters are cut too."""
    return tuple(float(rng.uniform(-0.2, 0.9) * side) for side in shape[::-1])


@functools.lru_cache(maxsize=512)
def _font(name: str, size: int):
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise InputError("--burned_in needs the fonts of matplotlib; pip install matplotlib") from error
    from PIL import ImageFont

    return ImageFont.truetype(str(pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")), size)


def text(shape: tuple[int, int], unit: int, rng: np.random.Generator) -> list[Layer]:
    """Draws a word of an overlay, or other letters and digits; sizes count in units of `unit` subpixels."""
    size = int(unit * np.exp(rng.uniform(*np.log(_SIZES))))
    names = SANS if rng.random() < 0.6 else FONTS
    font = _font(names[int(rng.integers(len(names)))], size)
    word = str(rng.choice(_WORDS)) if rng.random() < 0.7 else _characters(rng)
    place, sharp = _place(shape, rng), bool(rng.random() < 0.3)
    value = _value(rng)
    return [(_drawn(shape, lambda drawing: drawing.text(place, word, 255, font), sharp=sharp), value)]


def _characters(rng) -> str:
    letters = list(_LETTERS + "0123456789:./- ")
    return "".join(rng.choice(letters, int(rng.integers(1, 12))))


def ring(shape: tuple[int, int], unit: int, rng: np.random.Generator) -> list[Layer]:
    """Draws a side marker of an overlay: L or R in a ring or a box, mostly on a dark disk."""
    x, y = _place(shape, rng)
    height, width = unit * rng.uniform(14, 60), 1.0 if rng.random() < 0.5 else rng.uniform(0.9, 1.3)
    box = (x, y, x + width * height, y + height)
    outline = "ellipse" if rng.random() < 0.8 else "rectangle"
    line = max(round(height * rng.uniform(0.04, 0.1)), 1)
    names = ITALIC if rng.random() < 0.6 else FONTS
    font = _font(names[int(rng.integers(len(names)))], int(height * rng.uniform(0.4, 0.75)))
    letter, value = str(rng.choice(["L", "R"])), _value(rng)

    def paint(drawing):
        getattr(drawing, outline)(box, outline=255, width=line)
        drawing.text((x + width * height / 2, y + height / 2), letter, 255, font, anchor="mm")

    disk = _drawn(shape, lambda drawing: getattr(drawing, outline)(box, fill=255))
    dark = float(rng.uniform(0, 0.15)) if value > 0.5 else float(rng.uniform(0.7, 1))
    return [*([(disk, dark)] if rng.random() < 0.7 else []), (_drawn(shape, paint), value)]


def lead(shape: tuple[int, int], unit: int, rng: np.random.Generator) -> list[Layer]:
    """Draws a side marker of lead at any angle: a large letter, with initials of a technologist beside it."""
    x, y = _place(shape, rng)
    size = int(unit * rng.uniform(14, 44))
    name = str(rng.choice(["DejaVuSans-Bold", "DejaVuSans", "STIXGeneralBol"]))
    small = _font(name, max(int(size * rng.uniform(0.4, 0.7)), 4))
    initials = "".join(rng.choice(list(_LETTERS), int(rng.integers(0, 4))))
    below = bool(rng.random() < 0.5)
    letter = str(rng.choice(["L", "R"]))

    def paint(drawing):
        drawing.text((x, y), letter, 255, _font(name, size))
        drawing.text((x, y + size) if below else (x + 0.8 * size, y), initials, 255, small)

    value = float(rng.uniform(0.5, 1.0))
    return [(_drawn(shape, paint, float(rng.uniform(-180, 180)), (x + size / 2, y + size / 2)), value)]


def ruler(shape: tuple[int, int], unit: int, rng: np.random.Generator) -> list[Layer]:
    """Draws a scale with ticks, every fifth twice as long, along rows or columns."""
    x, y = _place(shape, rng)
    step, length = unit * float(rng.uniform(3, 15)), unit * int(rng.integers(4, 13))
    width = max(round(unit * rng.uniform(0.7, 2)), 1)
    upright = bool(rng.random() < 0.5)

    def paint(drawing):
        for i in range(int(max(shape) / step)):
            tick = length * (2 if i % 5 == 0 else 1)
            at = (x, y + i * step, x + tick, y + i * step) if upright else (x + i * step, y, x + i * step, y + tick)
            drawing.line(at, 255, width)

    return [(_drawn(shape, paint), _value(rng))]


def line(shape: tuple[int, int], unit: int, rng: np.random.Generator) -> list[Layer]:
    """Draws a wire or catheter: a straight line, or one of two pieces, of one to four pixels."""
    points = [tuple(float(rng.uniform(0, side)) for side in shape[::-1]) for _ in range(int(rng.integers(2, 4)))]
    width = max(round(unit * rng.uniform(0.7, 4)), 1)
    return [(_drawn(shape, lambda drawing: drawing.line(points, 255, width, joint="curve")), _value(rng))]


def collimation(shape: tuple[int, int], unit: int, rng: np.random.Generator) -> list[Layer]:
    """Draws everything beyond a straight edge, upright or level but for a few degrees, sharp or a few pixels wide."""
    angle = float(rng.integers(4)) * np.pi / 2 + float(rng.choice([0.0, rng.normal(0, 0.03)]))
    row, column = np.ogrid[: shape[0], : shape[1]]
    through = [float(rng.uniform(0.05, 0.95) * side) for side in shape]
    distance = (row - through[0]) * np.sin(angle) + (column - through[1]) * np.cos(angle)
    width = unit * float(rng.choice([1.0, rng.uniform(1.0, 6.0)]))  # 1: anti-aliased
    value = float(rng.choice([0.0, rng.uniform(0, 0.1), rng.uniform(0.8, 1)]))
    return [(np.clip(distance / width + 0.5, 0, 1).astype(np.float32), value)]


_KINDS = (text, ring, lead, ruler, line, collimation)
_PROBABILITIES = (0.35, 0.2, 0.15, 0.05, 0.1, 0.15)
