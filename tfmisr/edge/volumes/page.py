"""A page that scrolls through a volume: one HTML file without any network access, of bounded size (V-16).

Slices lie in the file as 8-bit PNG images, all in one gray range. The Content Security Policy allows only these images
and, by their hash, the style and the script of the page.
"""

import base64
import dataclasses
import hashlib
import html
import importlib.resources
import io
import json
import os
import string
from typing import Any

import numpy as np
from PIL import Image

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.views import views

MAX_VOXELS = 2**24  # of each volume; a page of two that do not compress has 45 MB
MAX_VOLUMES = 4
_ROWS = 4096  # of a PNG image of stacked slices
_PERCENTILES = (0.5, 99.5)


def save(
    path: str | os.PathLike,
    volumes: dict[str, np.ndarray],
    grid: VolumeGrid,
    title: str,
    unit: str = "",
    note: str = "",
) -> None:
    """Writes the page, atomically.

    Args:
        path: The `.html` file.
        volumes: By name, such as `spline` and `self`, on one grid; the last is shown first, all in its gray range.
        grid: Their grid.
        title: Heading, without patient data.
        unit: Of the values, such as `HU`.
        note: Text beneath the picture.

    Raises:
        InputError: No volume, more than four, or one does not fit the grid.
    """
    if not 1 <= len(volumes) <= MAX_VOLUMES:
        raise InputError(f"expected one to {MAX_VOLUMES} volumes for a page. Received: {len(volumes)}")
    for values in volumes.values():
        if values.shape != grid.shape:
            raise InputError(f"expected volumes of shape {grid.shape} for a page. Received: {values.shape}")
    write_text(path, _page(volumes, grid, title, unit, note))


def _page(volumes: dict[str, np.ndarray], grid: VolumeGrid, title: str, unit: str, note: str) -> str:
    factor = _factor(grid.shape)
    small = {name: _block_means(values, factor) for name, values in volumes.items()}
    *_, last = small.values()
    low, high = (float(v) for v in np.percentile(last, _PERCENTILES))
    high = high if high > low else low + 1
    data = {
        "shape": last.shape,
        "views": _views(grid, last.shape, factor),
        "extent": _extent(grid),
        "volumes": [{"name": name, "images": _images(values, low, high)} for name, values in small.items()],
    }
    gray = f"Gray: {low:.4g} to {high:.4g}{f' {unit}' if unit else ''}."
    reduced = f" Means of {factor} x {factor} x {factor} voxels, to bound the size of the page." * (factor > 1)
    caption = f"{gray} Pixels are square in mm and not smoothed.{reduced} {note}".strip()
    folder = importlib.resources.files("tfmisr.edge.volumes") / "viewer"
    template, style, script = ((folder / f"viewer.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    return string.Template(template).substitute(
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        title=html.escape(title),
        caption=html.escape(caption),
        style=style,
        script=script,
        data=json.dumps(data).replace("<", "\\u003c"),
    )


def _hash(text: str) -> str:
    """Returns the source expression of CSP level 2 for an inline element with this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _factor(shape: tuple[int, int, int]) -> int:
    factor = 1
    while np.prod([-(-side // factor) for side in shape], dtype=float) > MAX_VOXELS:
        factor += 1
    return factor


def _block_means(values: np.ndarray, factor: int) -> np.ndarray:
    """Returns means over cubes; the last, incomplete ones are over the voxels that there are."""
    for axis in range(3 if factor > 1 else 0):
        starts = np.arange(0, values.shape[axis], factor)
        counts = np.diff([*starts, values.shape[axis]])
        sums = np.add.reduceat(values, starts, axis, dtype=np.float32)
        values = sums / counts.reshape([-1 if k == axis else 1 for k in range(3)]).astype(np.float32)
    return values


def _views(grid: VolumeGrid, shape: tuple[int, ...], factor: int) -> list[dict[str, Any]]:
    found = []
    for view in views(grid).values():
        fields = dataclasses.asdict(view)
        fields["spacing"] = [factor * step for step in view.spacing]
        found.append({**fields, "start": shape[view.axis] // 2})
    return found


def _extent(grid: VolumeGrid) -> list[float]:
    """Returns the largest height and width of the planes in mm."""
    sizes = [view.size(grid.shape) for view in views(grid).values()]
    return [max(size[k] for size in sizes) for k in range(2)]


def _images(values: np.ndarray, low: float, high: float) -> list[str]:
    """Returns PNG images of as many stacked slices as fit, as data URLs."""
    step = max(1, _ROWS // values.shape[1])
    encoded = []
    for first in range(0, len(values), step):
        part = values[first : first + step]
        gray = np.clip((part - low) * (255 / (high - low)), 0, 255).round().astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(gray.reshape(-1, values.shape[2])).save(file, "PNG")
        encoded.append("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
    return encoded
