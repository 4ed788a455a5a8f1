"""Optional objects of a chest radiograph: a nodule, a side marker, ECG leads."""

import numpy as np

from tfmisr.datasets.chest_phantom import anatomy, shapes, tubes

# Strokes of the letters, in a box 1 wide and 1.5 high, y down.
BOWL = [(0, 1.5), (0, 0), (0.55, 0), (0.82, 0.1), (0.93, 0.37), (0.82, 0.65), (0.55, 0.75), (0, 0.75)]
LETTERS = {"L": [[(0, 0), (0, 1.5), (0.9, 1.5)]], "R": [BOWL, [(0.5, 0.75), (1, 1.5)]]}


def nodule(chest: anatomy.Chest, grid: shapes.Grid, rng: np.random.Generator) -> np.ndarray:
    """Returns the path through a lobed nodule in one lung, cm; zero in five of six patients."""
    path = np.zeros_like(grid.x)
    there, side, y = rng.random() < 1 / 6, rng.choice([-1, 1]), rng.uniform(-11, 4)
    x = side * rng.uniform(0.45, 0.85) * float(chest.lateral(y))
    radius = 10 ** rng.uniform(-0.5, 0.15)
    lobes = rng.normal(0, 0.35, (3, 2)) * radius + [x, y]
    for lobe in lobes if there else ():
        part = np.zeros_like(path)
        shapes.add_ellipsoid(part, grid, lobe, radius * rng.uniform(0.6, 1.0, 3), rng.uniform(0, 3))
        path = shapes.union(path, part)
    return path


def metal(grid: shapes.Grid, rng: np.random.Generator) -> np.ndarray:
    """Returns the path through metal, cm: the side marker, and leads in one of six patients."""
    pieces = _marker(grid, rng)
    share = np.ones(sum(map(len, pieces)))
    if rng.random() < 1 / 6:
        for _ in range(rng.integers(1, 4)):
            pieces.append(_lead(grid, rng))
            # Braided copper in plastic stops far less than solid metal.
            share = np.append(share, np.full(len(pieces[-1]), 0.12))
    path = np.zeros_like(grid.x)
    tubes.add(path, grid, tubes.join(pieces), share)
    return path


def _marker(grid, rng):
    letter, size, tilt = rng.choice(list(LETTERS)), rng.uniform(0.7, 1.2), rng.normal(0, 0.2)
    half = grid.size * grid.pitch / 2
    x = grid.middle[0] + (half - rng.uniform(1.5, 3.5)) * (1 if letter == "L" else -1)
    y = grid.middle[1] - half + rng.uniform(1.5, 5.0)
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    pieces = []
    for stroke in LETTERS[letter]:
        flat = (np.array(stroke) - [0.5, 0.75]) * size @ turn + [x, y]
        line = np.column_stack([flat, np.full(len(flat), -12.0)])
        pieces.append(tubes.tube(line, 0.11 * size))
    return pieces


def _lead(grid, rng):
    half = grid.size * grid.pitch / 2
    start = np.array([rng.choice([-1, 1]) * rng.uniform(6, 12), rng.uniform(-10, 8)])
    bottom = rng.random() < 0.6
    end = np.array([rng.uniform(-half, half), half + 3 if bottom else -half - 3]) + grid.middle
    t = np.linspace(0, 1, 60)[:, None]
    bends = [np.sin(np.pi * k * t) * rng.normal(0, 2.5 / k, 2) for k in (1, 2, 3)]
    flat = (1 - t) * start + t * end + sum(bends)
    line = np.column_stack([flat, np.full(60, -12.0)])
    radius = np.full(60, 0.08)
    radius[:2] = 0.3
    return tubes.tube(line, radius)
