"""Analytic head and chest volumes: ellipsoids and vessels whose truth is known on any grid; NumPy only.

A value of a voxel is the mean over a regular lattice of points in it (`samples` per axis), each of them inside or
outside of every solid by its equation: partial volume by supersampling. With `thickness`, points lie over that length
along the slice axis, which is the exact thick slice of a rectangular profile, whatever the spacing.
"""

import itertools

import numpy as np

from tfmisr.datasets.phantom_volume.solids import Ellipsoid, Scene, Solid, Tube
from tfmisr.edge.volumes import Volume, VolumeGrid

KINDS = ("head", "chest")
MODALITIES = ("CT", "MR")
MARKER = (22.0, -31.0, 17.0)  # center of a bright ball of radius 4 mm in every phantom, patient coordinates, mm
MARKER_RADIUS = 4.0
_EXTENT = (180.0, 210.0, 170.0)  # z, y, x of `grid`, mm

# Values in HU, and in arbitrary units of a T1-weighted image.
_MATERIALS = ("air", "skin", "bone", "soft", "white", "fluid", "lung", "vessel", "muscle", "marker")
_VALUES = {
    "CT": (-1000, -80, 900, 38, 30, 8, -820, 320, 55, 1500),
    "MR": (0, 700, 60, 420, 600, 140, 30, 820, 380, 1000),
}


def grid(spacing: float | tuple[float, float, float] = 1.5, scale: float = 1.0) -> VolumeGrid:
    """Returns an axial grid around the whole phantom, centered on the origin of the patient coordinates.

    Args:
        spacing: mm between slices, rows and columns, or one number for all three.
        scale: As for `phantom`.
    """
    spacing = tuple(np.broadcast_to(np.asarray(spacing, float), 3).tolist())
    shape = tuple(max(1, round(scale * extent / step)) for extent, step in zip(_EXTENT, spacing, strict=True))
    z, y, x = (-(count - 1) * step / 2 for count, step in zip(shape, spacing, strict=True))
    return VolumeGrid(shape, spacing, (x, y, z), ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)))


def phantom(
    grid: VolumeGrid,
    seed: int = 0,
    kind: str = "head",
    modality: str = "CT",
    scale: float = 1.0,
    samples: int = 3,
    thickness: float | None = None,
) -> Volume:
    """Returns a phantom on any grid, also an oblique one.

    Args:
        grid: Where the voxels lie.
        seed: Of sizes and places; the same seed is the same patient on every grid.
        kind: `head` or `chest`.
        modality: `CT`, values in HU, or `MR`, values of 0 to 1000.
        scale: Factor of all lengths; 1 is an adult's head or a child's chest.
        samples: Points per voxel and axis.
        thickness: mm that a slice averages over (rectangular profile); the slice spacing by default.

    Returns:
        float32 values; the error of a voxel that one surface crosses is about `contrast / samples**2`, that of all
        others is 0.

    Raises:
        ValueError: An unknown kind or modality.
    """
    if kind not in KINDS or modality not in MODALITIES:
        raise ValueError(f"expected a kind of {KINDS} and a modality of {MODALITIES}. Received: {kind}, {modality}")
    scene = Scene(solids(seed, kind, modality, scale), grid, samples, _VALUES[modality][0])
    thickness = grid.spacing[0] if thickness is None else thickness
    count = max(1, round(samples * thickness / grid.spacing[0]))
    offsets = ((np.arange(count) + 0.5) / count - 0.5) * thickness / grid.spacing[0]
    values = np.empty(grid.shape, np.float32)
    for index in range(grid.shape[0]):
        values[index] = np.mean([scene.slice_mean(index + at) for at in offsets], axis=0)
    return Volume(values, grid, float(thickness), modality)


def solids(seed: int = 0, kind: str = "head", modality: str = "CT", scale: float = 1.0) -> list[Solid]:
    """Returns what a phantom consists of; later solids cover earlier ones. See `phantom`."""
    rng, values = (
        np.random.default_rng([seed, KINDS.index(kind)]),
        dict(zip(_MATERIALS, _VALUES[modality], strict=True)),
    )
    parts = (_head if kind == "head" else _chest)(rng, values)
    marker = Ellipsoid(MARKER, (MARKER_RADIUS,) * 3, values["marker"])
    return [_scaled(part, scale) for part in [*parts, marker]]


def _scaled(solid, scale):
    def times(values):
        return tuple(float(scale * value) for value in values)

    if isinstance(solid, Ellipsoid):
        return Ellipsoid(times(solid.center), times(solid.radii), solid.value, solid.turn)
    return Tube(times(solid.start), times(solid.end), scale * solid.radius, solid.value)


def _head(rng, values) -> list[Solid]:
    size = np.array([68.0, 86.0, 76.0]) * rng.uniform(0.94, 1.04, 3)
    skull = [
        Ellipsoid((0, 0, 0), tuple(size), values["skin"]),
        Ellipsoid((0, 0, 0), tuple(size - 5), values["bone"]),
        Ellipsoid((0, 0, 0), tuple(size - 11), values["fluid"]),
        Ellipsoid((0, 0, 0), tuple(size - 14), values["soft"]),
    ]
    folds = [_fold(rng, size - 14, values["fluid"]) for _ in range(46)]
    inside = [Ellipsoid((side * 22.0, 2, 4), (17, 40, 30), values["white"], side * 0.1) for side in (-1, 1)]
    ventricles = [Ellipsoid((side * 9.0, 4, 8), (4, 24, 9), values["fluid"], side * -0.25) for side in (-1, 1)]
    nuclei = [Ellipsoid((side * 20.0, -2, 0), (6, 13, 8), values["soft"], side * 0.3) for side in (-1, 1)]
    return [*skull, *folds, *inside, *ventricles, *nuclei, *_lesions(rng, values, 10, 40), *_vessels(rng, values, 50)]


def _fold(rng, radii, value) -> Ellipsoid:
    """A thin groove at the brain's surface."""
    away = rng.normal(size=3)
    away /= np.linalg.norm(away)
    thin = np.array([rng.uniform(0.6, 1.4), rng.uniform(6, 12), rng.uniform(6, 12)])
    return Ellipsoid(tuple(away * radii * 0.93), tuple(thin), value, float(rng.uniform(0, np.pi)))


def _chest(rng, values) -> list[Solid]:
    size = np.array([80.0, 96.0, 400.0]) * [1, rng.uniform(0.72, 0.8), 1]
    wall = [
        Ellipsoid((0, 0, 0), tuple(size), values["skin"]),
        Ellipsoid((0, 0, 0), tuple(size - 6), values["muscle"]),
    ]
    lungs = [Ellipsoid((side * 36.0, 0, 0), (27, 48, 74), values["lung"], side * 0.12) for side in (-1, 1)]
    sides = [(side, z) for z in np.arange(-78, 79, 19.0) for side in (-1, 1)]
    ribs = [piece for side, z in sides for piece in _rib(side, z, size, values["bone"])]
    heart = [Ellipsoid((10, -18, -26), (31, 27, 34), values["vessel"] * 0.6, 0.4)]
    spine = [Ellipsoid((0, 52, z), (13, 11, 8.5), values["bone"]) for z in np.arange(-80, 81, 20.0)]
    return [*wall, *lungs, *ribs, *heart, *spine, *_lesions(rng, values, 12, 52), *_vessels(rng, values, 60)]


def _rib(side, height, size, value) -> list[Solid]:
    """Half a ring that falls towards the front."""
    angles = np.linspace(-1.2, 1.3, 9)
    ring = np.stack([side * (size[0] - 9) * np.cos(angles), (size[1] - 9) * np.sin(angles), height + 12 * angles], 1)
    return [Tube(tuple(a), tuple(b), 3.2, value) for a, b in itertools.pairwise(ring)]


def _lesions(rng, values, count, spread) -> list[Solid]:
    places = rng.uniform(-1, 1, (count, 3)) * (spread * 0.8, spread, spread)
    radii = rng.uniform(1.2, 5.0, (count, 3))
    names = rng.choice(["fluid", "vessel", "bone", "soft"], count)
    return [
        Ellipsoid(tuple(at), tuple(radius), values[name]) for at, radius, name in zip(places, radii, names, strict=True)
    ]


def _vessels(rng, values, spread) -> list[Solid]:
    """Wandering vessels, 2 to 0.5 mm in radius."""
    pieces = []
    for _ in range(12):
        at, heading = rng.uniform(-0.5, 0.5, 3) * spread, rng.normal(size=3)
        for radius in np.linspace(rng.uniform(1.2, 2.0), 0.5, 9):
            heading = heading / np.linalg.norm(heading) + 0.45 * rng.normal(size=3)
            end = at + 9 * heading / np.linalg.norm(heading)
            pieces.append(Tube(tuple(at), tuple(end), float(radius), values["vessel"]))
            at = end
    return pieces
