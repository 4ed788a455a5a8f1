"""Montage of a volume: three planes of the thick slices, of each method and of the truth, all at one scale in mm.

Beneath each method is its error, or without a truth what it differs from the spline; one color bar is for all of them.
"""

import dataclasses
import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from tfmisr.edge.files import atomic_write
from tfmisr.edge.text import counted
from tfmisr.edge.volumes import Volume, VolumeGrid
from tfmisr.edge.volumes.views import View, views

SOURCE, TRUTH = "thick slices", "truth"
_DPI, _WIDTH, _MARGIN, _GAP, _HEAD, _NOTE, _LABEL = 100, 1700, 18, 8, 34, 24, 88
_BACKGROUND, _TEXT, _DIM = "#14161a", "#f2f2f2", "#a8adb5"
_MOST_SCALE, _LEAST_SCALE = 6.0, 0.5  # dots per mm


def save(
    path: str | os.PathLike,
    source: Volume,
    methods: dict[str, np.ndarray],
    grid: VolumeGrid,
    truth: np.ndarray | None = None,
    title: str = "",
    notes: dict[str, str] | None = None,
    unit: str = "",
) -> None:
    """Writes a montage as PNG, atomically.

    Args:
        path: The file.
        source: The thick slices.
        methods: Results on `grid` by name; the first is the reference, such as the spline.
        grid: Grid of the results and of the truth; its planes contain the same lines as those of the source.
        truth: The thin original, where there is one.
        title: First line, without patient data.
        notes: Text beneath a name, such as a score.
        unit: Of the values, such as `HU`.

    Raises:
        ValueError: A shape does not fit the grid.
    """
    for values in [*methods.values(), *([] if truth is None else [truth])]:
        if values.shape != grid.shape:
            raise ValueError(f"expected results of shape {grid.shape}. Received: {values.shape}")
    figure = _Page(source, methods, grid, truth, title, notes or {}, unit).draw()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


@dataclasses.dataclass
class _Page:
    source: Volume
    methods: dict[str, np.ndarray]
    grid: VolumeGrid
    truth: np.ndarray | None
    title: str
    notes: dict[str, str]
    unit: str

    def __post_init__(self):
        self.shown = self.truth if self.truth is not None else list(self.methods.values())[-1]
        self.base = self.truth if self.truth is not None else next(iter(self.methods.values()))
        self.columns = [SOURCE, *self.methods, *([] if self.truth is None else [TRUTH])]
        self.views = list(views(self.grid).values())
        self.center = _center(self.shown)
        sizes = [view.size(self.grid.shape) for view in self.views]
        self.cell = max(width for _, width in sizes), [height for height, _ in sizes]  # mm
        across = (_WIDTH - 2 * _MARGIN - _LABEL) / len(self.columns) - _GAP
        self.scale = float(np.clip(across / self.cell[0], _LEAST_SCALE, _MOST_SCALE))
        planes = [view.plane(self.shown, self.center[view.axis]) for view in self.views]
        low, high = np.percentile(np.concatenate([plane.ravel() for plane in planes]), (0.5, 99.5))
        self.window = float(low), float(high if high > low else low + 1)
        errors = np.concatenate([self._error(name, view).ravel() for name in self.methods for view in self.views])
        self.norm = Normalize(0, max(float(np.percentile(errors, 99.7)), (self.window[1] - self.window[0]) / 256))

    def draw(self) -> Figure:
        step = round(self.cell[0] * self.scale) + _GAP
        self.width = 2 * _MARGIN + _LABEL + step * len(self.columns)
        heights = [round(height * self.scale) for height in self.cell[1]]
        top = _MARGIN + _HEAD * bool(self.title)
        self.height = top + _HEAD + _NOTE + sum(2 * (height + _GAP) + _GAP for height in heights) + 92
        self.figure = Figure((self.width / _DPI, self.height / _DPI), dpi=_DPI, facecolor=_BACKGROUND)
        FigureCanvasAgg(self.figure)
        self._text(_MARGIN, _MARGIN + 10, self.title, 13, weight="bold")
        lefts = [_MARGIN + _LABEL + k * step for k in range(len(self.columns))]
        for name, left in zip(self.columns, lefts, strict=True):
            self._text(left + (step - _GAP) / 2, top + _HEAD / 2, name, 12, "center", weight="bold")
            self._text(left + (step - _GAP) / 2, top + _HEAD + 4, self._note(name), 10, "center", _DIM)
        top += _HEAD + _NOTE
        for view, height in zip(self.views, heights, strict=True):
            self._row(view, lefts, top, height)
            top += 2 * (height + _GAP) + _GAP
        self._foot(top)
        return self.figure

    def _note(self, name):
        if name == SOURCE:
            return f"{counted(self.source.grid.shape[0], 'slice')}, {self.source.grid.spacing[0]:.3g} mm apart"
        if name == TRUTH:
            return f"{counted(self.grid.shape[0], 'slice')}, {self.grid.spacing[0]:.3g} mm apart"
        return self.notes.get(name, "")

    def _row(self, view, lefts, top, height):
        self._text(_MARGIN, top + 12, view.name, 11.5, weight="bold")
        below = "|method - truth|" if self.truth is not None else "|method - first|"
        self._text(_MARGIN, top + height + _GAP + 12, below, 9, color=_DIM)
        for name, left in zip(self.columns, lefts, strict=True):
            axes, start, width = self._axes(name, view, left, top, height)
            plane, spacing = self._plane(name, view)
            low, high = self.window
            self._image(axes, plane, spacing, cmap="gray", vmin=low, vmax=high)
            self._letters(view, start, top, width, height)
            if name in self.methods and (self.truth is not None or name != next(iter(self.methods))):
                axes, *_ = self._axes(f"error {name}", view, left, top + height + _GAP, height)
                self._image(axes, self._error(name, view), view.spacing, cmap="inferno", norm=self.norm)

    def _plane(self, name, view) -> tuple[np.ndarray, tuple[float, float]]:
        """Returns a plane and the mm of its pixels."""
        if name != SOURCE:
            values = self.truth if name == TRUTH else self.methods[name]
            return view.plane(values, self.center[view.axis]), view.spacing
        view, center = views(self.source.grid)[view.name], self.center
        if view.axis == 0:
            place = self.source.grid.slice_coordinates(self.grid)[center[0]]
            index = int(np.clip(round(float(place)), 0, self.source.grid.shape[0] - 1))
            return view.plane(self.source.values, index), view.spacing
        return view.plane(self.source.values, center[view.axis]), view.spacing

    def _error(self, name, view):
        index = self.center[view.axis]
        return np.abs(view.plane(self.methods[name], index) - view.plane(self.base, index))

    def _axes(self, label, view, left, top, height):
        width = round(view.size(self.grid.shape)[1] * self.scale)
        left += (self.cell[0] * self.scale - width) / 2
        rectangle = left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height
        axes = self.figure.add_axes(rectangle, label=f"{view.name} {label}", facecolor="black")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(edgecolor=_DIM, linewidth=0.8)
        return axes, left, width

    def _image(self, axes, plane, spacing, **style):
        # The thick slices may cover less, or more, than the grid; the pane is the grid's, both have one middle.
        height, width = (count * step for count, step in zip(plane.shape, spacing, strict=True))
        extent = (-width / 2, width / 2, height / 2, -height / 2)
        axes.imshow(plane, extent=extent, aspect="auto", interpolation="nearest", **style)
        box = axes.get_position()
        across, down = box.width * self.width / self.scale, box.height * self.height / self.scale
        axes.set(xlim=(-across / 2, across / 2), ylim=(down / 2, -down / 2))

    def _letters(self, view: View, left, top, width, height):
        x, y = left + width / 2, top + height / 2
        places = (left + 8, y), (left + width - 8, y), (x, top + 9), (x, top + height - 9)
        for letter, place in zip(view.letters, places, strict=True):
            self._text(*place, letter, 9, "center", outline=True)

    def _foot(self, top):
        """Draws the color bar, a ruler of 50 mm and the gray range."""
        unit = f" {self.unit}" if self.unit else ""
        low, high = self.window
        self._text(_MARGIN, top + 20, f"gray {low:.4g} to {high:.4g}{unit}", 10, color=_DIM)
        length = 50 if self.cell[0] > 120 else 10
        ruler = self.figure.add_axes(
            (_MARGIN / self.width, 1 - (top + 46) / self.height, length * self.scale / self.width, 3 / self.height),
            label="ruler",
            facecolor=_TEXT,
        )
        ruler.set(xticks=[], yticks=[])
        self._text(_MARGIN, top + 62, f"{length} mm; pixels are square in mm, unsmoothed", 10, color=_DIM)
        left = self.width - _MARGIN - 360
        bar = self.figure.add_axes(
            (left / self.width, 1 - (top + 32) / self.height, 350 / self.width, 14 / self.height), label="color bar"
        )
        drawn = self.figure.colorbar(ScalarMappable(self.norm, "inferno"), bar, orientation="horizontal", extend="max")
        bar.tick_params(colors=_TEXT, labelsize=10)
        drawn.outline.set_edgecolor(_DIM)
        text = "absolute error" if self.truth is not None else "absolute difference"
        self._text(left - 12, top + 25, text + unit, 10, "right", _DIM)

    def _text(self, x, y, text, size, ha="left", color=_TEXT, weight="normal", outline=False):
        effects = [withStroke(linewidth=3, foreground=_BACKGROUND)] if outline else None
        place = x / self.width, 1 - y / self.height
        style = {"fontsize": size, "ha": ha, "va": "center", "color": color, "fontweight": weight}
        self.figure.text(*place, text, **style, path_effects=effects)


def _center(values) -> tuple[int, int, int]:
    """Returns the index of the middle of what is brighter than the mean."""
    mask = values > values.mean()
    if not mask.any():
        return tuple(side // 2 for side in values.shape)
    counts = [mask.sum(axis=tuple(k for k in range(3) if k != axis)) for axis in range(3)]
    return tuple(int(np.searchsorted(np.cumsum(count), count.sum() / 2)) for count in counts)
