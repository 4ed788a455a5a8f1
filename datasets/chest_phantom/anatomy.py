"""A chest: its proportions, and the path of each ray through body, lungs, heart and gas.

Lengths are in cm; axes as in shapes.py, with y = 0 near the sixth thoracic vertebra and x = 0 in the
midline. Proportions are those of an adult in full inspiration, standing with the chest at the detector.
"""

import dataclasses

import numpy as np

from tfmisr.datasets.chest_phantom import shapes, tubes


@dataclasses.dataclass(frozen=True)
class Chest:
    """What organs share.

    Attributes:
        half_width: Of the rib cage's inside, at its widest.
        half_depth: Of the rib cage's inside, front to back.
        apex: y of the tops of the lungs.
        domes: y of the tops of the diaphragm, right and left.
        fat: Thickness of the fat under the skin.
        heart: Size of the heart, 1 for average.
        breast: Size of the breasts; 0 for none.
        wall: From the rib cage's inside to the skin at the side.
        slope: Extra drop of the shoulders.
        spread: How far the arms stand off, cm per cm of their length.
    """

    half_width: float
    half_depth: float
    apex: float
    domes: tuple[float, float]
    fat: float
    heart: float
    breast: float
    wall: float
    slope: float
    spread: float

    def lateral(self, y: np.ndarray | float) -> np.ndarray:
        """Returns the distance of the lungs' outer edge from the midline at `y`."""
        t = np.clip((y - self.apex) / 25.0, 0, 1)
        return 4.3 + (self.half_width - 4.3) * (1 - (1 - t) ** 2.1) ** 0.56

    def medial(self, y: np.ndarray | float) -> np.ndarray:
        """Returns the distance of the lungs' inner edge from the midline, mediastinum left out."""
        t = np.clip((y - self.apex) / 9.0, 0, 1)
        return 4.3 - 2.6 * (1 - (1 - t) ** 2) ** 0.52

    def depth(self, y: np.ndarray | float) -> np.ndarray:
        """Returns half of the lungs' depth at `y`."""
        t = np.clip((y - self.apex) / 20.0, 0, 1)
        return self.half_depth * np.sqrt(1 - (1 - t) ** 2.6) + 1e-3

    def dome(self, x: np.ndarray, left: np.ndarray | bool) -> np.ndarray:
        """Returns y of the diaphragm's crest line at `x`, for the left side or the right one."""
        outward = np.where(left, x, -x) - 0.43 * self.half_width
        fall = np.where(outward > 0, 0.085, 0.03)
        return np.where(left, self.domes[1], self.domes[0]) + fall * outward**2


# Front to back, the diaphragm falls from its crest line in a parabola: crest at this z, cm, and y = k z^2.
CREST = -2.0
CREST_FALL = 0.042


def sample(rng: np.random.Generator) -> Chest:
    """Returns the proportions of a random adult."""
    half_width = rng.uniform(12.0, 15.0)
    right = rng.uniform(3.6, 8.4)
    return Chest(
        half_width=half_width,
        half_depth=half_width * rng.uniform(0.49, 0.56),
        apex=rng.uniform(-16.3, -14.9),
        domes=(right, right + rng.uniform(0.0, 2.4)),
        fat=rng.uniform(0.5, 2.0),
        heart=rng.uniform(0.84, 1.2),
        breast=rng.uniform(0.6, 1.5) if rng.random() < 0.5 else 0.0,
        wall=rng.uniform(1.6, 2.6),
        slope=rng.uniform(-1.0, 1.8),
        spread=rng.uniform(0.03, 0.15),
    )


def torso(chest: Chest, grid: shapes.Grid, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the path through the whole body, and the part of it that is fat."""
    outside = _trunk(chest, grid, 0.0)
    inside = _trunk(chest, grid, chest.fat)
    limbs = np.zeros_like(outside)
    tubes.add(limbs, grid, _arms(chest, rng))
    fat = np.clip(outside - inside, 0, outside) + 0.1 * chest.fat * limbs
    return shapes.union(outside, np.minimum(limbs, 11)), fat


def _trunk(chest, grid, skin):
    side = chest.half_width + chest.wall + chest.fat
    knots = np.array([-26, -22, -19.8, -18.3, -16.8, -14.6, -10, -4, 4, 12, 22.0])
    knots[2:6] += chest.slope
    half = np.array([5.4, 5.8, 7.4, 10.8, 14.4, 16.4, 16.6, side, side, side, side + 1])
    deep = np.array([5.4, 5.6, 5.9, 6.2, 6.8, 7.6, 8.8, 9.5, 9.9, 10.2, 10.8]) * chest.half_depth / 7.3
    half_width = shapes.curve(grid.y, knots, half - skin)
    half_depth = shapes.curve(grid.y, knots, deep + 0.4 * chest.fat - skin)
    return shapes.chord(grid.x / half_width, half_depth, 2.7)


def _arms(chest, rng):
    radius = rng.uniform(4.0, 5.0) + 0.3 * chest.fat
    pieces = []
    for side in (-1, 1):
        x = chest.half_width + 0.8 + np.array([0.0, 1.6, 2.8 + 37 * chest.spread])
        y = chest.slope + np.array([-15.6, -7, 30.0])
        points = np.stack([side * x, y, np.full(3, -1.0)], axis=1)
        line, radii = tubes.rounded(points, [0, 0.15, 0.5, 1], [0.85, 1.0, 1.0, 0.9], 80, radius)
        few = [0, 1, 2, 4, 7, 11, 16, 25, 40, 60, 79]
        pieces.append(tubes.tube(line[few], radii[few]))
    return tubes.join(pieces)


def thorax(chest: Chest, grid: shapes.Grid, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the paths through the lungs, their vessels included, and through the airways."""
    cavity, above = _lungs(chest, grid)
    middle = shapes.union(_mediastinum(chest, grid, rng), _heart(chest, grid, rng))
    middle += 0.8 * _great_vessels(grid, rng)
    return above * (1 - np.minimum(middle / (cavity + 1e-3), 1)), _airway(grid, rng)


def _lungs(chest, grid):
    """Returns the path through the rib cage, and the part of it above the diaphragm."""
    medial, lateral = chest.medial(grid.y), chest.lateral(grid.y)
    ratio = (np.abs(grid.x) - (lateral + medial) / 2) / ((lateral - medial) / 2 + 1e-3)
    half = shapes.chord(ratio, chest.depth(grid.y) / 2, 2.4)
    below = np.maximum(grid.y - chest.dome(grid.x, grid.x > 0), 0)
    reach = np.sqrt(below / CREST_FALL)
    covered = np.minimum(half, CREST + reach) - np.maximum(-half, CREST - reach)
    return 2 * half, 2 * half - np.clip(covered, 0, 2 * half)


def _mediastinum(chest, grid, rng):
    width = rng.uniform(0.9, 1.15)
    knots = np.array([-20, -15, -11, -7, -4.5, -2.0, 2, 8, 14])
    right = np.array([1.0, 1.3, 1.7, 1.8, 1.9, 2.3, 2.0, 1.8, 1.8]) * width
    left = np.array([1.0, 1.3, 1.6, 1.7, 1.8, 2.2, 2.0, 1.8, 1.8]) * width
    right[1:] += rng.normal(0, 0.1, 8)
    left[1:] += rng.normal(0, 0.1, 8)
    edge = np.where(grid.x < 0, shapes.curve(grid.y, knots, right), shapes.curve(grid.y, knots, left))
    return shapes.chord(grid.x / edge, 0.8 * chest.depth(grid.y))


def _heart(chest, grid, rng):
    size, low = chest.heart, (chest.domes[0] + chest.domes[1]) / 2 - 6.8
    path, part = np.zeros_like(grid.x), np.zeros_like(grid.x)
    tilt = rng.uniform(0.55, 0.85)
    shapes.add_ellipsoid(path, grid, (2.3 * size, 3.4 + low), (7.6 * size, 5.2 * size, 5.6 * size), tilt)
    shapes.add_ellipsoid(part, grid, (-1.6, 2.8 + low), (2.9 * size, 4.8 * size, 4.6))
    trunk = np.zeros_like(path)
    shapes.add_ellipsoid(trunk, grid, (2.2, -2.6 + low / 2), (1.9, 3.4, 2.2), -0.25)
    return shapes.union(path, part, trunk)


def _great_vessels(grid, rng):
    """The aorta: up in front, over the left main bronchus, down before the spine; and the big veins."""
    unfold = rng.uniform(0.0, 0.9)
    aorta = [
        [-0.8, 2.0, -3.0],
        [-1.6 - 0.4 * unfold, -3.0, -3.2],
        [-0.4, -6.6, -2.4],
        [1.5 + 0.4 * unfold, -7.4 - unfold, 0.8],
        [2.3 + 0.5 * unfold, -5.8 - unfold, 3.2],
        [2.3 + 0.5 * unfold, -1.5, 4.3],
        [1.8, 5.0, 4.8],
        [0.9, 14.0, 4.8],
    ]
    out = rng.normal(0, 0.25, 3)
    cava = [[-2.6, -15, 0], [-1.9, -12, -2], [-2.2 + out[0], -8, -2.4], [-2.3 + out[0], 1, -2]]
    subclavian = [[3.2, -15, 1], [2.0, -12.5, 1], [1.7 + out[1], -9.5, 0.5], [1.6, -6, 0]]
    carotid = [[-2.4, -16, 1], [-1.4, -12, 0], [-0.5, -8, -1]]
    pieces = [
        tubes.tube(tubes.smooth(np.array(line), number), radius * rng.uniform(0.9, 1.1))
        for line, radius, number in (
            (aorta, 1.3, 36),
            (cava, 1.05, 20),
            (subclavian, 0.85, 16),
            (carotid, 0.9, 12),
        )
    ]
    path = np.zeros_like(grid.x)
    tubes.add(path, grid, tubes.join(pieces))
    return path


def _airway(grid, rng):
    x, carina = rng.normal(0, 0.25), rng.uniform(-4.4, -2.8)
    trachea = [[x - 0.1, -24, 0], [x, -14, 1], [x + 0.25, carina - 3, 2], [x + 0.2, carina, 2.6]]
    right = [
        [x + 0.1, carina - 0.5, 2.6],
        [x - 1.6, carina + 1.6, 2.8],
        [x - 3.4, carina + 4.4, 2.6],
    ]
    left = [
        [x + 0.3, carina - 0.5, 2.6],
        [x + 2.2, carina + 1.8, 2.8],
        [x + 4.6, carina + 4.0, 2.4],
    ]
    radius = rng.uniform(0.75, 0.95)
    pieces = [
        tubes.tube(tubes.smooth(np.array(points), 14), radius * np.linspace(start, end, 14))
        for points, start, end in ((trachea, 1, 1), (right, 0.75, 0.4), (left, 0.68, 0.38))
    ]
    path = np.zeros_like(grid.x)
    tubes.add(path, grid, tubes.join(pieces))
    return np.minimum(path, 2 * radius)


def breasts(chest: Chest, grid: shapes.Grid, rng: np.random.Generator) -> np.ndarray:
    """Returns the path through breasts and chest muscles in front of the rib cage."""
    path = np.zeros_like(grid.x)
    for side in (-1, 1):
        x, y = side * chest.half_width * rng.uniform(0.58, 0.66), rng.uniform(3.0, 5.5)
        if chest.breast:
            part = np.zeros_like(path)
            shapes.add_ellipsoid(part, grid, (x, y - 2.0), (6.8, 8.4, 1.0), side * 0.25)
            # Pressed against the detector, it thins out towards its edge, and above into the chest wall.
            path += chest.breast * part**1.6 / (1 + np.exp(-(grid.y - y + 1.0) / 1.6))
        muscle = (side * 0.72 * chest.half_width, -5.5)
        shapes.add_ellipsoid(path, grid, muscle, (8.6, 4.4, 0.75), -side * 0.75)
    return path


def abdominal_gas(chest: Chest, grid: shapes.Grid, rng: np.random.Generator) -> np.ndarray:
    """Returns the path through gas under the left dome: the stomach's, with its fluid level, and colon."""
    path = np.zeros_like(grid.x)
    x, top = rng.uniform(4.5, 7.5), chest.domes[1] + rng.uniform(0.9, 1.8)
    width, height = rng.uniform(1.8, 3.4), rng.uniform(1.3, 2.4)
    shapes.add_ellipsoid(path, grid, (x, top + height), (width, height, rng.uniform(1.5, 3.0)))
    level = top + height * rng.uniform(0.9, 1.5)
    path *= 1 / (1 + np.exp(np.clip((grid.y - level) / 0.05, -30, 30)))
    if rng.random() < 0.4:
        path = shapes.union(path, _colon(chest, grid, rng))
    return path


def _colon(chest, grid, rng):
    """The bend of the colon under the left dome: a row of pouches."""
    path, radius = np.zeros_like(grid.x), rng.uniform(0.8, 1.5)
    at = np.array([rng.uniform(10.0, 11.5), chest.domes[1] + rng.uniform(3.0, 5.0)])
    heading = rng.uniform(1.2, 3.0)
    for _ in range(rng.integers(2, 6)):
        part = np.zeros_like(path)
        axes = radius * rng.uniform(0.75, 1.2, 3)
        shapes.add_ellipsoid(part, grid, at, axes, heading + rng.normal(0, 0.3))
        path = shapes.union(path, part)
        at = at + 1.35 * radius * np.array([np.cos(heading), np.sin(heading)])
        heading += rng.normal(0, 0.35)
    return path * rng.uniform(0.4, 0.9)


def muscles(chest: Chest, grid: shapes.Grid, rng: np.random.Generator) -> np.ndarray:
    """Returns the path through muscles that fat planes set off: of neck, shoulders and flanks."""
    up, wide = chest.slope, chest.half_width
    pieces, share = [], []
    for side in (-1, 1):
        for points, radii in (
            ([[1.2, -11, -6], [3.0, -16, -4], [5.4, -23, 0]], [0.5, 1.1, 0.8]),
            ([[3.4, -24, 3], [6.5, -19, 4], [12.5, -15.2 + up, 4]], [1.2, 1.5, 0.8]),
            ([[2.0, -24, 2], [3.2, -19, 2], [5.5, -14.5, 1]], [0.9, 0.9, 0.5]),
            ([[wide - 1, -11, 3], [wide + 1.4, -3, 3], [wide + 1.6, 8, 3]], [1.5, 1.0, 0.6]),
            ([[wide + 2, -13 + up, -2], [wide + 3.5, -10 + up, -2], [wide + 4, -5, -2]], [1, 2, 1]),
        ):
            points = np.array(points) + rng.normal(0, 0.25, (3, 3))
            line, radius = tubes.rounded(points, [0, 0.5, 1], radii, 20)
            pieces.append(tubes.tube(line * [side, 1, 1], radius))
            share.append(rng.uniform(0.3, 0.7))
    path = np.zeros_like(grid.x)
    tubes.add(path, grid, tubes.join(pieces), np.repeat(share, 19))
    return path
