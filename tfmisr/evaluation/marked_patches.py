"""`hallucinations.png`: the case of the montage, whole, with red boxes around the patches that sFRC marks."""

import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfmisr.edge.files import atomic_write
from tfmisr.metrics import hallucination

_COLUMNS, _INCHES, _DPI = 4, 4.2, 110


def save(path: str | os.PathLike, images: dict[str, np.ndarray], max_val: float, title: str) -> None:
    """Writes the reference and every restored image with their marked patches as PNG, atomically.

    Args:
        path: The file.
        images: By name, `LR` first and `HR` last, as `tfmisr.evaluation.montage.montage` takes them.
        max_val: Full-scale value.
        title: Title of the page.
    """
    hr = images["HR"]
    shown = {"HR": hr, **{name: image for name, image in images.items() if name not in ("LR", "HR")}}
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    height = _INCHES * hr.shape[0] / hr.shape[1] + 0.35
    figure = Figure((columns * _INCHES, rows * height + 0.6), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    window = tuple(np.quantile(hr, (0.002, 0.998))) if hr.shape[2] == 1 else (0, max_val)
    for axes, (name, image) in zip(grid, shown.items(), strict=False):
        _draw(axes, name, image, hr, max_val, window)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw(axes, name, image, hr, max_val, window):
    low, high = window
    pixels = np.clip((image.astype(np.float64) - low) / max(high - low, 1e-9), 0, 1)
    axes.imshow(pixels.squeeze(-1) if image.shape[2] == 1 else pixels, cmap="gray", vmin=0, vmax=1)
    if name == "HR":
        axes.set_title("HR", fontsize=11)
        return
    marked, _ = hallucination.marked_patches(hr, image, max_val)
    side = hallucination.SIDE
    for row, column in np.argwhere(marked):
        size = (min(side, length - start * side) for length, start in zip(hr.shape[1::-1], (column, row), strict=True))
        corner = column * side - 0.5, row * side - 0.5
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="red", linewidth=1.4))
    count = int(marked.sum())
    axes.set_title(f"{name}: {count} marked patch{'' if count == 1 else 'es'}", fontsize=11)
