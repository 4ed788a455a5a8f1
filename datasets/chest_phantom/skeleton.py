"""Bones of a chest: ribs, thoracic spine, clavicles, shoulder blades and upper arms.

Each bone is a shell of cortical bone around spongy bone. Lengths are in cm.
"""

import dataclasses

import numpy as np

from tfmisr.datasets.chest_phantom import anatomy, shapes, tubes

# y of the middles of the vertebrae C6 ... L2, and half-widths of their bodies.
LEVELS = np.array(
    [
        -20.3,
        -18.6,
        -16.8,
        -14.8,
        -12.7,
        -10.5,
        -8.2,
        -5.9,
        -3.5,
        -1.0,
        1.5,
        4.1,
        6.8,
        9.6,
        12.6,
        15.8,
    ]
)
WIDTHS = np.linspace(1.35, 2.15, len(LEVELS))
FIRST_THORACIC = 2

# Pieces of a rib, and how much bone each piece of the 24 ribs holds: the front is porous.
RIB_PIECES = 33
RIB_BONE = np.interp(np.linspace(0, 1, RIB_PIECES), [0, 0.45, 0.7, 1], [1, 1, 0.75, 0.6])
RIB_BONE = np.tile(RIB_BONE, 24)


@dataclasses.dataclass
class Bones:
    """Path of each ray through cortical and spongy bone, cm each."""

    cortical: np.ndarray
    spongy: np.ndarray


@dataclasses.dataclass(frozen=True)
class Long:
    """Tubular bones: their outside, the thickness of the cortical wall, cm, and the share of bone."""

    outside: tubes.Tubes
    wall: float
    share: float | np.ndarray = 1.0


def bones(chest: anatomy.Chest, grid: shapes.Grid, rng: np.random.Generator) -> Bones:
    """Returns the paths through the skeleton of the chest."""
    result = Bones(np.zeros_like(grid.x), np.zeros_like(grid.x))
    levels = LEVELS * rng.uniform(0.97, 1.03) + rng.normal(0, 0.06, len(LEVELS))
    levels += chest.apex - 0.1 - levels[FIRST_THORACIC]
    spine = _spine_line(levels, rng)
    _vertebrae(result, grid, levels, spine, rng)
    tubular = [
        Long(tubes.join(_processes(levels, spine, rng)), 0.09, 0.6),
        Long(tubes.join(_ribs(chest, levels, spine, rng)), rng.uniform(0.12, 0.16), RIB_BONE),
    ]
    raised = chest.slope + rng.normal(0, 0.3)
    for side in (-1, 1):
        mirror = np.array([side, 1.0, 1.0])
        joint = np.array([chest.half_width + rng.uniform(2.3, 3.6), -11.8 + raised, 0.5])
        blade, corners = _scapula(joint, rng, mirror)
        _add_plate(result, grid, corners)
        tubular += [_clavicle(joint, rng, mirror), blade, _humerus(joint, chest, rng, mirror)]
    _add(result, grid, tubular)
    return result


def _add(bones, grid, tubular):
    outside = tubes.join([bone.outside for bone in tubular])
    wall = np.concatenate([np.full(len(bone.outside), bone.wall) for bone in tubular])
    share = np.concatenate([np.broadcast_to(bone.share, len(bone.outside)) for bone in tubular])
    whole, inside = np.zeros_like(bones.spongy), np.zeros_like(bones.spongy)
    tubes.add(whole, grid, outside, share)
    tubes.add(inside, grid, outside.shrunk(wall), share)
    bones.cortical += np.maximum(whole - inside, 0)
    bones.spongy += inside


def _spine_line(levels, rng):
    """Returns x of each vertebra: scoliosis, a little of which everybody has."""
    phase, bend = rng.uniform(0, 2 * np.pi), abs(rng.normal(0, 0.25))
    return bend * np.sin(levels / 6.5 + phase)


def _vertebrae(bones, grid, levels, spine, rng):
    """Adds the vertebral bodies: waisted boxes between discs, with bright end plates."""
    left, right = np.clip(grid.columns(np.array([-4.5, 4.5]), 0.0).astype(int), 0, grid.size)
    box = np.s_[:, left:right]
    x, y = grid.x[box], grid.y
    tilt = rng.normal(0, 0.02, len(levels))
    ends = (levels[1:] + levels[:-1]) / 2
    number = np.clip(np.searchsorted(ends, y[:, 0]), 1, len(levels) - 2)
    above, below = ends[number - 1][:, None], ends[number][:, None]
    across = x - shapes.curve(y, levels, spine)
    # -1/2 at the disc above, 1/2 at the one below; end plates are hollow, and seen at a slant.
    along = (y + across * tilt[number][:, None] - (above + below) / 2) / (below - above)
    half_width = WIDTHS[number][:, None] * (0.9 + 0.45 * along**2)
    ratio = across / half_width
    half_height = 0.41 + 0.022 * ratio**2
    height_cm = (half_height - np.abs(along)) * (below - above)
    body = _step(height_cm / 0.07) * shapes.chord(ratio, 1.35, 2.6)
    plate = np.exp(-0.5 * ((height_cm - 0.06) / 0.07) ** 2) * shapes.chord(ratio, 1.0, 4.0)
    side = _step(height_cm / 0.1) * np.exp(-0.5 * ((np.abs(ratio) - 0.95) / 0.035) ** 2)
    bones.spongy[box] += body
    bones.cortical[box] += 0.16 * plate + 0.25 * side


def _step(x):
    return 1 / (1 + np.exp(-np.clip(4 * x, -30, 30)))


def _processes(levels, spine, rng):
    """Returns pedicles, laminae, and spinous and transverse processes of each vertebra."""
    pieces = []
    for level, x, width in zip(levels, spine, WIDTHS, strict=True):
        for side in (-1, 1):
            root = np.array([x + side * 0.68 * width, level - 0.25, 3.6])
            pedicle = [root - [side * 0.15, 0.0, 0.6], root + [side * 0.15, 0.1, 0.8]]
            pieces.append(tubes.tube(pedicle, [[0.5, 0.3]] * 2, [[1.0, 0.0, 0.0]] * 2))
            tip = root + [side * rng.uniform(1.6, 2.0), rng.uniform(-0.5, -0.1), 2.0]
            transverse = [root, (root + tip) / 2 + [0, 0.1, 0.2], tip]
            pieces.append(tubes.tube(transverse, [0.36, 0.33, 0.42]))
            lamina = [root + [0, 0.2, 0.6], [x + side * 0.15, level + 0.55, 5.2]]
            pieces.append(tubes.tube(lamina, [[0.55, 0.22]] * 2, [[0.0, 0.0, 1.0]] * 2))
        lean = x + rng.normal(0, 0.08)
        spinous = [[x, level + 0.6, 4.8], [lean, level + 1.0, 6.2], [lean, level + 1.3, 7.6]]
        size = rng.uniform(0.85, 1.15) * np.array([[0.28, 0.3], [0.22, 0.36], [0.32, 0.5]])
        pieces.append(tubes.tube(spinous, size, [[0.0, 1.0, 0.0]] * 3))
    return pieces


def _ribs(chest, levels, spine, rng):
    tall, thick = rng.uniform(0.58, 0.74), rng.uniform(0.42, 0.52)
    drop, bucket = rng.uniform(0.98, 1.2), rng.normal(0.3, 0.4)
    section, pieces = _rib_section(), []
    for number in range(1, 13):
        level, x = levels[FIRST_THORACIC + number - 1], spine[FIRST_THORACIC + number - 1]
        fall = drop * (min(5.0 + 1.15 * number, 12.5) if number < 11 else 9.0)
        wide = chest.lateral(level + 0.55 * fall + bucket) + 0.45 * thick + 0.1
        wide = min(wide, 7.2) if number == 1 else wide
        deep = chest.depth(level + 0.5 * fall) + 0.5
        end = {1: 150, 2: 150, 11: 95, 12: 55}.get(number, 146 - 3 * max(0, number - 6))
        height = tall * (1.1 if number == 1 else 0.75 if number > 10 else 1.0)
        for side in (-1, 1):
            angle = np.radians(np.linspace(5, end + rng.normal(0, 3), RIB_PIECES + 1))
            high, low = rng.normal(0, [0.12, 0.35])
            line = _rib_line(angle, side * wide, deep, level + high, fall + low, bucket)
            line[:, 0] += x * np.exp(-((angle / 0.5) ** 2))
            halves = section * [height * rng.uniform(0.93, 1.07), thick]
            across, back = side * np.sin(angle) / wide, np.cos(angle) / deep
            pieces.append(tubes.tube(line, halves, np.stack([across, 0 * angle, back], axis=1)))
    return pieces


def _rib_line(angle, wide, deep, level, fall, bucket):
    """Returns a rib's middle line: an ellipse seen from above, in a plane that falls to the front.

    Args:
        angle: Position on the ellipse: 0 behind the spine, pi at the breastbone.
        wide: Half-width of the ellipse, negative on the right side, cm.
        deep: Half-depth of the ellipse, cm.
        level: y at the back, cm.
        fall: How much lower the front of the plane is, cm.
        bucket: How much lower the side is than the plane, cm.
    """
    sine, cosine = np.sin(angle), np.cos(angle)
    y = level + fall * (1 - cosine) / 2 + bucket * sine - 0.4 * np.exp(-((angle / 0.35) ** 2))
    # Ribs are squarer than ellipses: they run straight back before they turn.
    return np.stack([wide * np.abs(sine) ** 0.88, y, deep * cosine], axis=1)


def _rib_section():
    """Returns factors of a rib's half-axes: thin at the neck, flattest at the side, flared in front."""
    t = np.linspace(0, 1, RIB_PIECES + 1)
    high = shapes.curve(t, [0, 0.1, 0.3, 0.8, 1.0], [0.62, 0.8, 1.0, 0.95, 1.12])
    thick = shapes.curve(t, [0, 0.15, 0.5, 0.9, 1.0], [1.1, 1.0, 0.75, 0.55, 0.45])
    return np.stack([high, thick], axis=1)


def _clavicle(joint, rng, mirror):
    inner = np.array([1.3 + rng.uniform(0, 0.5), -10.8 + rng.normal(0, 0.6), -7.0])
    outer = joint + [0.2, -2.2, 0.0]
    t = np.array([0, 0.25, 0.5, 0.75, 1.0])[:, None]
    bend = np.array([0, 0.55, 0.1, -0.55, 0])[:, None] * rng.uniform(0.6, 1.3)
    points = inner + t * (outer - inner) + bend * [0.0, 1.0, -1.0]
    line, radius = tubes.rounded(points, [0, 0.12, 0.5, 0.85, 1], [1.1, 0.8, 0.6, 0.66, 0.8], 60)
    return Long(tubes.tube(line * mirror, radius), 0.2)


def _scapula(joint, rng, mirror):
    """Returns a shoulder blade's thick parts, and the corners of its thin plate."""
    socket = joint + [-1.9, 0.2, 2.0]
    top = joint + [-6.8 + rng.normal(0, 0.5), -0.8, 5.5]
    tip = joint + [-4.6 + rng.normal(0, 0.8), 11.0, 5.0]
    rim = [
        socket + [0, -1.6, 0],
        socket + [0.2, 0, 0],
        socket + [-0.3, 2.0, 0],
        (socket + tip) / 2 + [-0.5, 0.2, 0],
        tip + [0.3, -0.8, 0],
        tip + [-0.5, 0, 0],
        tip + [-1.1, -1.2, 0],
        (top + tip) / 2 + [-0.6, 0, 0],
        top + [-0.2, 0.9, 0],
        top + [0.4, -0.2, 0],
        (top + socket) / 2 + [0.2, 0.1, 0],
        socket + [0, -1.6, 0],
    ]
    thick = [0.4, 0.55, 0.6, 0.42, 0.32, 0.26, 0.2, 0.16, 0.18, 0.2, 0.2, 0.4]
    acromion = [top + [0.2, 2.4, 0.6], joint + [-2.4, -0.6, 4.0], joint + [0.6, -2.4, 1.5]]
    coracoid = socket + [[-0.6, -0.6, -1.0], [-0.8, -1.3, -3.0], [0.6, -0.8, -4.0]]
    parts = (rim, thick, 70), (acromion, [0.2, 0.5, 0.85], 40), (coracoid, [0.6, 0.5, 0.5], 30)
    pieces = []
    for points, radii, number in parts:
        line, radius = tubes.rounded(points, np.linspace(0, 1, len(radii)), radii, number)
        pieces.append(tubes.tube(line * mirror, radius))
    return Long(tubes.join(pieces), 0.07), np.array([socket, top, tip]) * mirror


def _add_plate(bones, grid, corners):
    """Adds a triangle of thin bone, 0.25 cm thick, seen at a slant."""
    corners = corners[:, :2]
    middle, reach = corners.mean(axis=0), np.abs(corners - corners.mean(axis=0)).max(axis=0) + 0.5
    box = grid.window(*middle, *reach)
    x, y = grid.x[box], grid.y[box[0]]
    inside = np.full(x.shape, np.inf, np.float32)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        normal = np.array([start[1] - end[1], end[0] - start[0]])
        normal *= np.sign(normal @ (middle - start)) / np.linalg.norm(normal)
        inside = np.minimum(inside, (x - start[0]) * normal[0] + (y - start[1]) * normal[1])
    cover = np.clip(inside / 0.3 + 0.5, 0, 1)
    bones.cortical[box] += 0.2 * cover
    bones.spongy[box] += 0.12 * cover


def _humerus(joint, chest, rng, mirror):
    away, size = chest.spread, rng.uniform(0.9, 1.08)
    points = joint + [[-1.4, -1.5, 0], [0.3, 0.6, 0], [1.2 + 4 * away, 4, 0], [1.4 + 36 * away, 36, 0]]
    positions, radii = [0, 0.02, 0.06, 0.1, 0.15, 0.23, 1], [1.7, 2.0, 2.3, 2.2, 1.6, 1.2, 1.1]
    line, radius = tubes.rounded(points, positions, radii, 90)
    return Long(tubes.tube(line * mirror, radius * size), 0.2)
