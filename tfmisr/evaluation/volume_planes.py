"""What a montage of a volume shows: the three middle planes of the thick slices, the results and the truth."""

import dataclasses

import numpy as np

from tfmisr.edge.text import counted
from tfmisr.edge.volumes import Volume, VolumeGrid
from tfmisr.edge.volumes.views import View, views

SOURCE, TRUTH = "thick slices", "truth"


@dataclasses.dataclass(frozen=True)
class Panel:
    """One plane of a volume as it is shown.

    Attributes:
        view: Its name, orientation and the spacing of the results.
        size: Height and width in mm.
        images: By name: the thick slices, the methods, and the truth where there is one; (down, across).
        spacing: Of the pixels of each, mm down and across.
    """

    view: View
    size: tuple[float, float]
    images: dict[str, np.ndarray]
    spacing: dict[str, tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Planes:
    """The axial, coronal and sagittal plane through the middle of what is bright.

    Attributes:
        panels: The planes.
        methods: Names of the results; the first is the reference, such as the spline.
        notes: Text beneath a name.
    """

    panels: list[Panel]
    methods: list[str]
    notes: dict[str, str]

    @property
    def has_truth(self) -> bool:
        """Whether there is a truth."""
        return TRUTH in self.panels[0].images

    def error(self, name: str, panel: Panel) -> np.ndarray:
        """Returns the absolute difference of a method from the truth, or without one from the first method."""
        base = TRUTH if self.has_truth else self.methods[0]
        return np.abs(panel.images[name] - panel.images[base])


def collect(
    source: Volume, methods: dict[str, np.ndarray], grid: VolumeGrid, truth: np.ndarray | None = None
) -> Planes:
    """Returns copies of the planes to show, so that the volumes can be forgotten.

    Args:
        source: The thick slices.
        methods: Results on `grid` by name; the first is the reference.
        grid: Grid of the results and of the truth; its planes contain the same lines as those of the source.
        truth: The thin original, where there is one.

    Raises:
        ValueError: A shape does not fit the grid.
    """
    thin = dict(methods) | ({} if truth is None else {TRUTH: truth})
    for values in thin.values():
        if values.shape != grid.shape:
            raise ValueError(f"expected results of shape {grid.shape}. Received: {values.shape}")
    center = _center(list(thin.values())[-1])
    thick = views(source.grid)
    panels = []
    for name, view in views(grid).items():
        index = center[view.axis] if view.axis else _nearest(source.grid, grid, center[0])
        images = {SOURCE: thick[name].plane(source.values, index)}
        images |= {key: view.plane(values, center[view.axis]) for key, values in thin.items()}
        spacing = dict.fromkeys(thin, view.spacing) | {SOURCE: thick[name].spacing}
        copies = {key: np.array(image, np.float32) for key, image in images.items()}
        panels.append(Panel(view, view.size(grid.shape), copies, spacing))
    return Planes(panels, list(methods), {SOURCE: _described(source.grid), TRUTH: _described(grid)})


def _described(grid):
    return f"{counted(grid.shape[0], 'slice')}, {grid.spacing[0]:.3g} mm apart"


def _nearest(thick, thin, index):
    return int(np.clip(round(float(thick.slice_coordinates(thin)[index])), 0, thick.shape[0] - 1))


def _center(values) -> tuple[int, int, int]:
    """Returns the index of the middle of what is brighter than the mean."""
    mask = values > values.mean()
    if not mask.any():
        return tuple(side // 2 for side in values.shape)
    counts = [mask.sum(axis=tuple(k for k in range(3) if k != axis)) for axis in range(3)]
    return tuple(int(np.searchsorted(np.cumsum(count), count.sum() / 2)) for count in counts)
