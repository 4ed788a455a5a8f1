"""One picture of a case: the most interesting spots, enlarged, of the LR image, of every method and of the truth."""

import dataclasses
import math

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from tfmisr import metrics
from tfmisr.edge.files import whole
from tfmisr.report.table import shortened

_DPI = 100
_WIDTH = 1600
_MARGIN = 18
_GAP = 6
_SIDE, _MAX_SIDE = 280, 400
_MAX_CELL = 232
_MAX_COLUMNS = 8
_TITLE, _HEAD, _FOOT, _LEGEND = 36, 44, 34, 110
_BACKGROUND, _TEXT, _DIM = "#14161a", "#f2f2f2", "#a8adb5"
_MARKS = ("#ffb000", "#4cc9f0", "#ff6b9d", "#8ce99a")
_REFERENCE = "bicubic"


@dataclasses.dataclass(frozen=True)
class Crop:
    """A square of the HR image, in its pixels."""

    top: int
    left: int
    size: int

    def of(self, image: np.ndarray, shrunk: int = 1) -> np.ndarray:
        """Returns this part of an image that is `shrunk` times smaller than HR, as a view."""
        top, left, size = self.top // shrunk, self.left // shrunk, self.size // shrunk
        return image[top : top + size, left : left + size]


def montage(
    images: dict[str, np.ndarray],
    max_val: float,
    crops: int = 2,
    scores: dict[str, dict] | None = None,
    title: str | None = None,
) -> Figure:
    """Returns a figure of enlarged crops and error maps.

    Pixels are shown as squares, without smoothing. Within a crop all images share one grey scale, fitted to
    the truth's; all error maps share one colour scale. The crops are where bicubic (or else the first method)
    is most wrong: see `choose_crops`.

    Args:
        images: By name and in this order: `LR`, `scale` times smaller; the methods' images; `HR`, the truth.
            Arrays (height, width) or (height, width, channels), 1 or 3 channels, of any type.
        max_val: Full-scale value of all of them.
        crops: Number of crops.
        scores: Measures of the whole images to write beneath the names: `{name: {"psnr": dB, "ssim": x}}`.
        title: First line of the picture.
    """
    images = {name: np.asarray(image, np.float64) for name, image in images.items()}
    images = {name: image[..., None] if image.ndim == 2 else image for name, image in images.items()}
    _check(images)
    methods = [name for name in images if name not in ("LR", "HR")]
    bands = _bands(methods)
    scale = round(images["HR"].shape[0] / images["LR"].shape[0])
    size, zoom = _geometry(images["HR"].shape, scale, len(bands[0]))
    errors = {name: np.mean(np.abs(images[name] - images["HR"]), axis=-1) for name in methods}
    judged = _REFERENCE if _REFERENCE in methods else methods[0]
    squares = np.mean(np.square(images[judged] - images["HR"]), axis=-1)
    chosen = choose_crops(squares, size, scale, crops)
    norm = _color_scale([crop.of(error) for error in errors.values() for crop in chosen], max_val)
    return _Page(images, errors, chosen, norm, bands, size * zoom, max_val, scores or {}).draw(title)


def save_montage(path, images: dict[str, np.ndarray], max_val: float, **options) -> None:
    """Writes the PNG of `montage(images, max_val, **options)`, whole or not at all."""
    figure = montage(images, max_val, **options)
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def choose_crops(squared_error: np.ndarray, size: int, step: int, count: int) -> list[Crop]:
    """Returns the squares with the largest mean squared error, one after the other.

    The first is sought in the whole image but its border, the second in the central 62.5 % (the anatomy
    of a radiograph, where errors are smaller than at burned-in letters), and so in turn; a single one in the
    centre. Squares do not overlap; where none is left there are fewer.

    Args:
        squared_error: Array (height, width).
        size: Side of the squares.
        step: Squares begin at multiples of this, so that they hold whole LR pixels.
        count: Number of squares.
    """
    sums = np.pad(squared_error, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    windows = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    tops, lefts = (np.arange(0, n, step) for n in windows.shape)
    windows = windows[::step, ::step]
    height, width = squared_error.shape
    border = max(2 * step, round(0.03 * min(height, width)))
    chosen: list[Crop] = []
    for i in range(count):
        margins = [(n * 3 // 16) if i % 2 or count == 1 else border for n in (height, width)]
        # A central part smaller than the square still has a middle.
        margins = [min(m, (n - size) // 2 // step * step) for m, n in zip(margins, (height, width), strict=True)]
        rows = (tops >= margins[0]) & (tops <= height - size - margins[0])
        columns = (lefts >= margins[1]) & (lefts <= width - size - margins[1])
        free = rows[:, None] & columns
        for crop in chosen:
            near = np.abs(tops - crop.top)[:, None] < size
            free &= ~(near & (np.abs(lefts - crop.left) < size))
        if free.any():
            at = np.unravel_index(np.argmax(np.where(free, windows, -np.inf)), windows.shape)
            chosen.append(Crop(int(tops[at[0]]), int(lefts[at[1]]), size))
    return chosen


def _check(images):
    names = list(images)
    if len(names) < 3 or names[0] != "LR" or names[-1] != "HR":
        raise ValueError(f"`images` must be LR, at least one method, and HR. Received: {names}")
    shapes = {images[name].shape for name in names[1:]}
    if len(shapes) > 1 or images["HR"].shape[2] not in (1, 3):
        raise ValueError(f"methods and HR must have one shape and 1 or 3 channels. Received: {sorted(shapes)}")


def _bands(methods):
    """Returns the columns of each band: LR, some of the methods, HR; the bands alike in length."""
    count = math.ceil(len(methods) / (_MAX_COLUMNS - 2))
    length = math.ceil(len(methods) / count)
    return [["LR", *methods[i : i + length], "HR"] for i in range(0, len(methods), length)]


def _geometry(shape, scale, columns):
    """Returns the side of a crop in HR pixels, a multiple of the scale, and how many dots show one."""
    cell = min(_MAX_CELL, (_WIDTH - 3 * _MARGIN - _SIDE) // columns - _GAP)
    wanted = min(max(math.isqrt(shape[0] * shape[1]) // 10, 24, 8 * scale), 72, min(shape[:2]) // 3)
    zoom = max(1, round(cell / max(1, wanted)))
    return scale * max(1, cell // zoom // scale), zoom


def _color_scale(parts, max_val):
    """Returns the one scale of all error maps, up to nearly the largest error shown."""
    top = float(np.quantile(np.concatenate([part.ravel() for part in parts]), 0.998))
    # Square-root colours: burned-in letters are ten times as wrong as anatomy, and both should be seen.
    return PowerNorm(0.5, 0, max(top, max_val / 256))


@dataclasses.dataclass
class _Page:
    """Places everything in whole dots, so that every pixel of a crop is drawn equally large."""

    images: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    crops: list[Crop]
    norm: Normalize
    bands: list[list[str]]
    cell: int
    max_val: float
    scores: dict[str, dict]

    def draw(self, title):
        top = _MARGIN + (_TITLE if title else 0)
        right = len(self.bands[0]) * (self.cell + _GAP) - _GAP
        self.side = min(max(_WIDTH - 3 * _MARGIN - right, _SIDE), _MAX_SIDE)
        band = _HEAD + len(self.crops) * (2 * self.cell + _GAP + _FOOT)
        overview = round(self.side * min(1.3, self.images["HR"].shape[0] / self.images["HR"].shape[1]))
        self.width = 3 * _MARGIN + self.side + right
        self.height = top + max(len(self.bands) * band, _HEAD + overview + _LEGEND)
        self.figure = Figure((self.width / _DPI, self.height / _DPI), dpi=_DPI, facecolor=_BACKGROUND)
        FigureCanvasAgg(self.figure)
        if title:
            self._text(_MARGIN, _MARGIN + 8, shortened(title, self.width // 11), size=13, weight="bold")
        self._overview(top + _HEAD, overview)
        self._color_bar(top + _HEAD + overview + 26)
        for i, names in enumerate(self.bands):
            for j, name in enumerate(names):
                self._column(name, 2 * _MARGIN + self.side + j * (self.cell + _GAP), top + i * band)
        return self.figure

    def _overview(self, top, height):
        hr = self.images["HR"]
        axes = self._axes("overview", _MARGIN, top, self.side, height)
        axes.imshow(self._shown(hr, hr), cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
        axes.set_anchor("N")
        for crop, letter, color in zip(self.crops, "ABCDEFGH", _MARKS * 2, strict=False):
            corner = crop.left - 0.5, crop.top - 0.5
            axes.add_patch(Rectangle(corner, crop.size, crop.size, fill=False, edgecolor=color, linewidth=2))
            above = crop.top > hr.shape[0] / 8
            place = dict(va="bottom" if above else "top", fontsize=12, fontweight="bold", color=color)
            outline = [withStroke(linewidth=3, foreground=_BACKGROUND)]
            row = crop.top - 4 if above else crop.top + crop.size + 4
            axes.text(crop.left, row, letter, path_effects=outline, **place)

    def _color_bar(self, top):
        axes = self._axes("color bar", _MARGIN, top, self.side, 14)
        bar = self.figure.colorbar(ScalarMappable(self.norm, "inferno"), axes, orientation="horizontal", extend="max")
        bar.locator = MaxNLocator(4)
        axes.tick_params(colors=_TEXT, labelsize=10)
        bar.outline.set_edgecolor(_DIM)
        bar.set_label(f"|image - HR|, grey levels of {self.max_val:g}", color=_TEXT, fontsize=10.5)

    def _column(self, name, left, top):
        middle = left + self.cell / 2
        self._text(middle, top + 8, shortened(name, self.cell // 10), ha="center", size=11.5, weight="bold")
        self._text(middle, top + 31, self._note(name), ha="center", size=10.5, color=self._note_color(name))
        top += _HEAD
        for i, crop in enumerate(self.crops):
            self._crop(name, i, left, top)
            below = top + self.cell + _GAP
            if name in self.errors:
                axes = self._axes(f"error {i} {name}", left, below, self.cell, self.cell, _MARKS[i % len(_MARKS)])
                axes.imshow(crop.of(self.errors[name]), cmap="inferno", norm=self.norm, interpolation="nearest")
                self._text(
                    middle, below + self.cell + 10, self._crop_note(name, crop), ha="center", size=10, color=_DIM
                )
            elif name == "LR":
                self._text(left, below + 12, self._described(i, crop), size=10.5, va="top")
            top += 2 * self.cell + _GAP + _FOOT

    def _crop(self, name, i, left, top):
        crop, hr = self.crops[i], self.images["HR"]
        shrunk = round(hr.shape[0] / self.images[name].shape[0])
        axes = self._axes(f"crop {i} {name}", left, top, self.cell, self.cell, _MARKS[i % len(_MARKS)])
        pixels = self._shown(crop.of(self.images[name], shrunk), crop.of(hr))
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")

    def _window(self, reference):
        """Returns the values shown black and white: of grey images the truth's own, with some room."""
        if reference.shape[2] == 3:
            return 0.0, float(self.max_val)
        low, high = (float(v) for v in np.quantile(reference, (0.002, 0.998)))
        room = max(self.max_val / 32 - (high - low), 0) / 2
        return low - room, high + room

    def _shown(self, image, reference):
        low, high = self._window(reference)
        return np.clip((image - low) / (high - low), 0, 1).squeeze(-1 if image.shape[2] == 1 else ())

    def _note(self, name):
        if name in ("LR", "HR"):
            height, width = self.images[name].shape[:2]
            return f"{width} x {height}"
        found = self.scores.get(name, {})
        return _measures(found.get("psnr"), found.get("ssim"))

    def _note_color(self, name):
        known = {n: s["psnr"] for n, s in self.scores.items() if s.get("psnr") is not None}
        best = max(known, key=known.get, default=None)
        return _MARKS[3] if name == best and len(known) > 1 else _DIM

    def _crop_note(self, name, crop):
        pair = crop.of(self.images["HR"]), crop.of(self.images[name])
        return _measures(metrics.psnr(*pair, self.max_val), metrics.ssim(*pair, self.max_val))

    def _described(self, i, crop):
        low, high = self._window(crop.of(self.images["HR"]))
        return "\n".join(
            [
                f"{'ABCDEFGH'[i]}: {crop.size} x {crop.size}",
                f"at x {crop.left}, y {crop.top}",
                f"grey {low:.0f}-{high:.0f}",
                "right: |image - HR|",
            ]
        )

    def _axes(self, label, left, top, width, height, color=_DIM):
        place = left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height
        axes = self.figure.add_axes(place, label=label)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(edgecolor=color, linewidth=1.2)
        return axes

    def _text(self, x, y, text, size, ha="left", va="center", color=_TEXT, weight="normal"):
        place = x / self.width, 1 - y / self.height
        self.figure.text(*place, text, fontsize=size, ha=ha, va=va, color=color, fontweight=weight, linespacing=1.4)


def _measures(psnr, ssim):
    texts = [] if psnr is None else [f"{psnr:.2f} dB"]
    return "  ".join([*texts, *([] if ssim is None or math.isnan(ssim) else [f"{ssim:.4f}"])])
