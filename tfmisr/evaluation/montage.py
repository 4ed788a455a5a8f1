"""Montage of one case: magnified crops and error maps of the LR image, of every method and of the reference (HR)."""

import dataclasses
import functools
import math
import os
import re
import typing

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from tfmisr import metrics
from tfmisr.edge.files import atomic_write
from tfmisr.evaluation.crops import Crop, choose_crops

_DPI = 100
_WIDTH = 1600
_MARGIN = 18
_GAP = 6
_SIDE, _MAX_SIDE = 280, 400
_MAX_CELL = 264
_MAX_COLUMNS = 8
_TITLE, _NAME, _NOTE, _FOOT, _LEGEND = 30, 23, 26, 38, 21
_BACKGROUND, _TEXT, _DIM = "#14161a", "#f2f2f2", "#a8adb5"
_MARKS = ("#ffb000", "#4cc9f0", "#ff6b9d", "#8ce99a")
_REFERENCE = "bicubic"


def montage(
    images: dict[str, np.ndarray],
    max_val: float,
    crops: int = 2,
    scores: dict[str, dict] | None = None,
    title: str | None = None,
    caption: str | None = None,
) -> Figure:
    """Returns a figure of magnified crops and error maps.

    Pixels are shown as squares, without smoothing. Within a crop all images share one gray scale, fitted to that of
    the reference, and all error maps share one color scale. The crops are those of `crops.choose_crops` for the
    errors of bicubic, or else of the first method.

    Args:
        images: By name and in this order: `LR`, `scale` times smaller; the methods' images; `HR`, the reference.
            Arrays (height, width) or (height, width, channels), 1 or 3 channels, of any type.
        max_val: Full-scale value of all of them.
        crops: Number of crops.
        scores: Metrics of the full images, written beneath the names: `{name: {"psnr": dB, "ssim": x}}`.
        title: First line of the figure.
        caption: Text beneath the overview, such as how the case was chosen.

    Raises:
        ValueError: `images` lacks LR, HR or a method, or the shapes do not fit.
    """
    images = {name: np.asarray(image, np.float64) for name, image in images.items()}
    images = {name: image[..., None] if image.ndim == 2 else image for name, image in images.items()}
    _check(images)
    methods = [name for name in images if name not in ("LR", "HR")]
    bands = _bands(methods)
    scale = round(images["HR"].shape[0] / images["LR"].shape[0])
    size, zoom = _geometry(images["HR"].shape, scale, len(bands[0]))
    errors = {name: np.mean(np.abs(images[name] - images["HR"]), axis=-1) for name in methods}
    method = _REFERENCE if _REFERENCE in methods else methods[0]
    squared_error = np.mean(np.square(images[method] - images["HR"]), axis=-1)
    selected = choose_crops(squared_error, size, scale, crops, method)
    norms = [_color_scale([crop.of(error) for error in errors.values()], max_val) for crop in selected]
    return _Page(images, errors, selected, norms, bands, size * zoom, max_val, scores or {}).draw(title, caption)


def save_montage(path: str | os.PathLike, images: dict[str, np.ndarray], max_val: float, **options: typing.Any) -> None:
    """Writes `montage(images, max_val, **options)` as PNG, atomically."""
    figure = montage(images, max_val, **options)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def _check(images):
    names = list(images)
    if len(names) < 3 or names[0] != "LR" or names[-1] != "HR":
        raise ValueError(f"`images` must be LR, at least one method, and HR. Received: {names}")
    shapes = {images[name].shape for name in names[1:]}
    if len(shapes) > 1 or images["HR"].shape[2] not in (1, 3):
        raise ValueError(f"methods and HR must have one shape and 1 or 3 channels. Received: {sorted(shapes)}")


def _bands(methods):
    """Returns the columns of each band: LR, some of the methods, HR; the bands are about equally long."""
    count = math.ceil(len(methods) / (_MAX_COLUMNS - 2))
    length = math.ceil(len(methods) / count)
    return [["LR", *methods[i : i + length], "HR"] for i in range(0, len(methods), length)]


def _geometry(shape, scale, columns):
    """Returns the side of a crop in HR pixels, a multiple of the scale, and the dots of the figure per HR pixel."""
    cell = min(_MAX_CELL, (_WIDTH - 3 * _MARGIN - _SIDE) // columns - _GAP)
    side = min(max(math.isqrt(shape[0] * shape[1]) // 8, 24, 8 * scale), 96, min(shape[:2]) // 3)
    zoom = max(1, round(cell / max(1, side)))
    return scale * max(1, cell // zoom // scale), zoom


def _color_scale(parts, max_val):
    """Returns the scale of one crop's error maps, up to nearly the largest error shown."""
    top = float(np.quantile(np.concatenate([part.ravel() for part in parts]), 0.998))
    return Normalize(0, max(top, max_val / 256))


@functools.lru_cache(maxsize=1024)
def _advance(letter, size, weight):
    """Returns the width of a letter in dots."""
    font = get_font(findfont(FontProperties(weight=weight)))
    font.set_size(size, _DPI)
    return font.load_char(ord(letter)).linearHoriAdvance / 2**16


def _lines(text, dots, size, weight="normal"):
    """Wraps the text to lines of at most `dots` dots, if possible after punctuation or spaces."""

    def too_wide(line):
        return sum(_advance(letter, size, weight) for letter in line.rstrip()) > dots

    lines = [""]
    for part in re.findall(r"[^-_/,.=+\s]*[-_/,.=+\s]*", text):
        if lines[-1] and too_wide(lines[-1] + part):
            lines.append("")
        for letter in part:
            if too_wide(lines[-1] + letter):
                lines.append("")
            lines[-1] += letter
    return [line.rstrip() for line in lines if line.strip()]


@dataclasses.dataclass
class _Page:
    """Layout in whole dots, so that all pixels of a crop are drawn with equal size."""

    images: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    crops: list[Crop]
    norms: list[Normalize]
    bands: list[list[str]]
    cell: int
    max_val: float
    scores: dict[str, dict]

    def draw(self, title, caption):
        right = len(self.bands[0]) * (self.cell + _GAP) - _GAP
        self.side = min(max(_WIDTH - 3 * _MARGIN - right, _SIDE), _MAX_SIDE)
        self.width = 3 * _MARGIN + self.side + right
        title = _lines(title or "", self.width - 2 * _MARGIN, 13, "bold")
        legend = self._legend(caption)
        top = _MARGIN + _TITLE * len(title)
        self.head = _NOTE + _NAME * max(len(self._wrapped(name)) for name in self.images)
        band = self.head + len(self.crops) * (2 * self.cell + _GAP + _FOOT)
        overview = round(self.side * min(1.3, self.images["HR"].shape[0] / self.images["HR"].shape[1]))
        below = top + self.head + overview + _MARGIN
        self.height = max(top + len(self.bands) * band, below + _LEGEND * len(legend) + _MARGIN)
        self.figure = Figure((self.width / _DPI, self.height / _DPI), dpi=_DPI, facecolor=_BACKGROUND)
        FigureCanvasAgg(self.figure)
        for i, line in enumerate(title):
            self._text(_MARGIN, _MARGIN + 8 + _TITLE * i, line, size=13, weight="bold")
        self._overview(top + self.head, overview)
        for i, (line, color) in enumerate(legend):
            self._text(_MARGIN, below + _LEGEND * (i + 0.5), line, size=10.5, color=color)
        for i, names in enumerate(self.bands):
            for j, name in enumerate(names):
                self._column(name, 2 * _MARGIN + self.side + j * (self.cell + _GAP), top + i * band)
        return self.figure

    def _legend(self, caption):
        """Returns lines and their colors: how the case and the crops were chosen."""
        legend = [(line, _TEXT) for line in [*_lines(caption or "", self.side, 10.5), *([""] if caption else [])]]
        for i, crop in enumerate(self.crops):
            lines = _lines(f"{'ABCDEFGH'[i]}: {crop.reason}", self.side, 10.5)
            legend += [(line, _MARKS[i % len(_MARKS)]) for line in lines]
        return legend

    def _wrapped(self, name):
        return _lines(name, self.cell, 11.5, "bold")

    def _overview(self, top, height):
        hr = self.images["HR"]
        axes = self._axes("overview", _MARGIN, top, self.side, height)
        axes.imshow(self._shown(hr, hr), cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
        axes.set_anchor("N")
        for crop, letter, color in zip(self.crops, "ABCDEFGH", _MARKS * 2, strict=False):
            corner = crop.left - 0.5, crop.top - 0.5
            axes.add_patch(Rectangle(corner, crop.size, crop.size, fill=False, edgecolor=color, linewidth=2))
            above = crop.top > hr.shape[0] / 8
            style = {"va": "bottom" if above else "top", "fontsize": 12, "fontweight": "bold", "color": color}
            outline = [withStroke(linewidth=3, foreground=_BACKGROUND)]
            row = crop.top - 4 if above else crop.top + crop.size + 4
            axes.text(crop.left, row, letter, path_effects=outline, **style)

    def _column(self, name, left, top):
        middle = left + self.cell / 2
        lines = self._wrapped(name)
        for i, line in enumerate(lines):
            row = top + self.head - _NOTE - _NAME * (len(lines) - i - 0.5)
            self._text(middle, row, line, ha="center", size=11.5, weight="bold")
        row = top + self.head - _NOTE / 2
        self._text(middle, row, self._note(name), ha="center", size=10.5, color=self._note_color(name))
        top += self.head
        for i, crop in enumerate(self.crops):
            self._crop(name, i, left, top)
            below = top + self.cell + _GAP
            if name in self.errors:
                self._error(name, i, left, below)
                note = self._crop_note(name, crop)
                self._text(middle, below + self.cell + 11, note, ha="center", size=10, color=_DIM)
            elif name == "LR":
                self._describe(i, left, below)
            top += 2 * self.cell + _GAP + _FOOT

    def _error(self, name, i, left, top):
        axes = self._axes(f"error {i} {name}", left, top, self.cell, self.cell, _MARKS[i % len(_MARKS)])
        part = self.crops[i].of(self.errors[name])
        axes.imshow(part, cmap="inferno", norm=self.norms[i], interpolation="nearest")

    def _crop(self, name, i, left, top):
        crop, hr = self.crops[i], self.images["HR"]
        scale = round(hr.shape[0] / self.images[name].shape[0])
        axes = self._axes(f"crop {i} {name}", left, top, self.cell, self.cell, _MARKS[i % len(_MARKS)])
        pixels = self._shown(crop.of(self.images[name], scale), crop.of(hr))
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")

    def _window(self, reference):
        """Returns the values shown black and white: for gray images the range of the reference, with a margin."""
        if reference.shape[2] == 3:
            return 0.0, float(self.max_val)
        low, high = (float(v) for v in np.quantile(reference, (0.002, 0.998)))
        margin = max(self.max_val / 32 - (high - low), 0) / 2
        return low - margin, high + margin

    def _shown(self, image, reference):
        low, high = self._window(reference)
        return np.clip((image - low) / (high - low), 0, 1).squeeze(-1 if image.shape[2] == 1 else ())

    def _note(self, name):
        if name in ("LR", "HR"):
            height, width = self.images[name].shape[:2]
            return f"{width} x {height}"
        scores = self.scores.get(name, {})
        return _format_scores(scores.get("psnr"), scores.get("ssim"))

    def _note_color(self, name):
        known = {n: s["psnr"] for n, s in self.scores.items() if s.get("psnr") is not None}
        best = max(known, key=known.get, default=None)
        return _MARKS[3] if name == best and len(known) > 1 else _DIM

    def _crop_note(self, name, crop):
        pair = crop.of(self.images["HR"]), crop.of(self.images[name])
        return _format_scores(metrics.psnr(*pair, self.max_val), metrics.ssim(*pair, self.max_val))

    def _describe(self, i, left, top):
        """Writes size, position and gray range of a crop, and draws the color bar of its error maps."""
        crop = self.crops[i]
        low, high = self._window(crop.of(self.images["HR"]))
        lines = [
            f"{'ABCDEFGH'[i]}: {crop.size} x {crop.size}",
            f"at x {crop.left}, y {crop.top}",
            f"gray {max(low, 0):.0f} to {min(high, self.max_val):.0f}",
            "",
            "|image - HR|",
        ]
        self._text(left, top + 6, "\n".join(lines), size=10.5, va="top")
        self._color_bar(i, left, top + 6 + 21 * len(lines), self.cell - _MARGIN)

    def _color_bar(self, i, left, top, width):
        axes = self._axes(f"color bar {i}", left, top, width, 12)
        mappable = ScalarMappable(self.norms[i], "inferno")
        bar = self.figure.colorbar(mappable, axes, orientation="horizontal", extend="max")
        label_width = 12 + sum(_advance(digit, 10, "normal") for digit in f"{self.norms[i].vmax:.0f}")
        bar.locator = MaxNLocator(max(1, min(4, int(width // label_width))))
        axes.tick_params(colors=_TEXT, labelsize=10)
        bar.outline.set_edgecolor(_DIM)

    def _axes(self, label, left, top, width, height, color=_DIM):
        rectangle = left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height
        axes = self.figure.add_axes(rectangle, label=label)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(edgecolor=color, linewidth=1.2)
        return axes

    def _text(self, x, y, text, size, ha="left", va="center", color=_TEXT, weight="normal"):
        position = x / self.width, 1 - y / self.height
        self.figure.text(*position, text, fontsize=size, ha=ha, va=va, color=color, fontweight=weight, linespacing=1.4)


def _format_scores(psnr, ssim):
    texts = [] if psnr is None else [f"{psnr:.2f} dB"]
    return "  ".join([*texts, *([] if ssim is None or math.isnan(ssim) else [f"{ssim:.4f}"])])
