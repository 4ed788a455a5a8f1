"""Montage of a volume: three planes of the thick slices, of each method and of the truth, all at one scale in mm.

Beneath each method is its error, or without a truth what it differs from the first method; one color bar is for all.
"""

import dataclasses
import os
import typing

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from tfmisr.edge.files import atomic_write
from tfmisr.edge.volumes import Volume, VolumeGrid
from tfmisr.evaluation.volume_planes import SOURCE, TRUTH, Planes, collect

_DPI, _WIDTH, _MARGIN, _GAP, _HEAD, _NOTE, _LABEL, _FOOT = 100, 1700, 18, 8, 34, 24, 88, 92
_BACKGROUND, _TEXT, _DIM = "#14161a", "#f2f2f2", "#a8adb5"
_MOST_SCALE, _LEAST_SCALE = 6.0, 0.5  # dots per mm


def montage(planes: Planes, title: str = "", notes: dict[str, str] | None = None, unit: str = "") -> Figure:
    """Returns a figure.

    Args:
        planes: From `volume_planes.collect`.
        title: First line, without patient data.
        notes: Text beneath a method's name, such as a score.
        unit: Of the values, such as `HU`.
    """
    return _Page(planes, title, {**planes.notes, **(notes or {})}, unit).draw()


def save(
    path: str | os.PathLike,
    source: Volume,
    methods: dict[str, np.ndarray],
    grid: VolumeGrid,
    truth: np.ndarray | None = None,
    **options: typing.Any,
) -> None:
    """Writes the montage of volumes as PNG, atomically; see `volume_planes.collect` and `montage` for the arguments."""
    save_planes(path, collect(source, methods, grid, truth), **options)


def save_planes(path: str | os.PathLike, planes: Planes, **options: typing.Any) -> None:
    """Writes `montage(planes, **options)` as PNG, atomically."""
    figure = montage(planes, **options)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


@dataclasses.dataclass
class _Page:
    """Layout in dots."""

    planes: Planes
    title: str
    notes: dict[str, str]
    unit: str

    def __post_init__(self):
        panels, methods = self.planes.panels, self.planes.methods
        self.columns = [SOURCE, *methods, *[TRUTH] * self.planes.has_truth]
        self.cell = max(panel.size[1] for panel in panels)  # mm
        across = (_WIDTH - 2 * _MARGIN - _LABEL) / len(self.columns) - _GAP
        self.scale = float(np.clip(across / self.cell, _LEAST_SCALE, _MOST_SCALE))
        shown = np.concatenate([panel.images[self.columns[-1]].ravel() for panel in panels])
        low, high = np.percentile(shown, (0.5, 99.5))
        self.window = float(low), float(high if high > low else low + 1)
        errors = np.concatenate([self.planes.error(name, panel).ravel() for name in methods for panel in panels])
        least = (self.window[1] - self.window[0]) / 256
        self.norm = Normalize(0, max(float(np.percentile(errors, 99.7)), least))

    def draw(self) -> Figure:
        step = round(self.cell * self.scale) + _GAP
        self.width = 2 * _MARGIN + _LABEL + step * len(self.columns)
        heights = [round(panel.size[0] * self.scale) for panel in self.planes.panels]
        top = _MARGIN + _HEAD * bool(self.title)
        self.height = top + _HEAD + _NOTE + sum(2 * (height + _GAP) + _GAP for height in heights) + _FOOT
        self.figure = Figure((self.width / _DPI, self.height / _DPI), dpi=_DPI, facecolor=_BACKGROUND)
        FigureCanvasAgg(self.figure)
        self._text(_MARGIN, _MARGIN + 10, self.title, 13, weight="bold")
        lefts = [_MARGIN + _LABEL + k * step for k in range(len(self.columns))]
        for name, left in zip(self.columns, lefts, strict=True):
            self._text(left + (step - _GAP) / 2, top + _HEAD / 2, name, 12, "center", weight="bold")
            self._text(left + (step - _GAP) / 2, top + _HEAD + 4, self.notes.get(name, ""), 10, "center", _DIM)
        top += _HEAD + _NOTE
        for panel, height in zip(self.planes.panels, heights, strict=True):
            self._row(panel, lefts, top, height)
            top += 2 * (height + _GAP) + _GAP
        self._foot(top)
        return self.figure

    def _row(self, panel, lefts, top, height):
        first = self.planes.methods[0]
        self._text(_MARGIN, top + 12, panel.view.name, 11.5, weight="bold")
        base = TRUTH if self.planes.has_truth else first
        self._text(_MARGIN, top + height + _GAP + 12, f"minus {base}", 9, color=_DIM)
        for name, left in zip(self.columns, lefts, strict=True):
            low, high = self.window
            image, spacing = panel.images[name], panel.spacing[name]
            axes, start, width = self._axes(name, panel, left, top, height)
            self._image(axes, image, spacing, cmap="gray", vmin=low, vmax=high)
            self._letters(panel.view.letters, start, top, width, height)
            if name in self.planes.methods and name != base:
                axes, *_ = self._axes(f"error {name}", panel, left, top + height + _GAP, height)
                self._image(axes, self.planes.error(name, panel), spacing, cmap="inferno", norm=self.norm)

    def _axes(self, label, panel, left, top, height):
        width = round(panel.size[1] * self.scale)
        left += (self.cell * self.scale - width) / 2
        rectangle = left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height
        axes = self.figure.add_axes(rectangle, label=f"{panel.view.name} {label}", facecolor="black")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(edgecolor=_DIM, linewidth=0.8)
        return axes, left, width

    def _image(self, axes, image, spacing, **style):
        # The thick slices may cover less, or more, than the grid; the pane is the grid's, both have one middle.
        height, width = (count * step for count, step in zip(image.shape, spacing, strict=True))
        extent = (-width / 2, width / 2, height / 2, -height / 2)
        axes.imshow(image, extent=extent, aspect="auto", interpolation="nearest", **style)
        box = axes.get_position()
        across, down = box.width * self.width / self.scale, box.height * self.height / self.scale
        axes.set(xlim=(-across / 2, across / 2), ylim=(down / 2, -down / 2))

    def _letters(self, letters, left, top, width, height):
        x, y = left + width / 2, top + height / 2
        places = (left + 8, y), (left + width - 8, y), (x, top + 9), (x, top + height - 9)
        for letter, place in zip(letters, places, strict=True):
            self._text(*place, letter, 9, "center", outline=True)

    def _foot(self, top):
        """Draws the gray range, a ruler and the color bar."""
        unit = f" {self.unit}" if self.unit else ""
        low, high = self.window
        self._text(_MARGIN, top + 20, f"gray {low:.4g} to {high:.4g}{unit}", 10, color=_DIM)
        length = 50 if self.cell > 120 else 10
        place = _MARGIN / self.width, 1 - (top + 46) / self.height
        ruler = (*place, length * self.scale / self.width, 3 / self.height)
        self.figure.add_axes(ruler, label="ruler", facecolor=_TEXT).set(xticks=[], yticks=[])
        self._text(_MARGIN, top + 62, f"{length} mm; pixels are square in mm, unsmoothed", 10, color=_DIM)
        left = self.width - _MARGIN - 360
        place = left / self.width, 1 - (top + 32) / self.height
        bar = self.figure.add_axes((*place, 350 / self.width, 14 / self.height), label="color bar")
        drawn = self.figure.colorbar(ScalarMappable(self.norm, "inferno"), bar, orientation="horizontal", extend="max")
        bar.tick_params(colors=_TEXT, labelsize=10)
        drawn.outline.set_edgecolor(_DIM)
        text = "absolute error" if self.planes.has_truth else "absolute difference"
        self._text(left - 12, top + 25, text + unit, 10, "right", _DIM)

    def _text(self, x, y, text, size, ha="left", color=_TEXT, weight="normal", outline=False):
        effects = [withStroke(linewidth=3, foreground=_BACKGROUND)] if outline else None
        place = x / self.width, 1 - y / self.height
        style = {"fontsize": size, "ha": ha, "va": "center", "color": color, "fontweight": weight}
        self.figure.text(*place, text, **style, path_effects=effects)
