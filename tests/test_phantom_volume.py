"""The analytic phantom volume: its truth by hand at any spacing, and its dataset (V-15)."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfmisr.datasets.phantom_volume import phantom, phantom_volume_dataset_builder
from tfmisr.datasets.phantom_volume.solids import Ellipsoid, Scene, Tube
from tfmisr.edge.volumes import SliceProfile, VolumeGrid, slice_profile

AXIAL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
SCALE = 0.3  # of the phantom, so that few voxels are enough


def small_grid(spacing=2.0):
    return phantom.grid(spacing, SCALE)


def painted(solid, grid, samples=4):
    scene = Scene([solid], grid, samples, 0.0)
    offsets = (np.arange(samples) + 0.5) / samples - 0.5
    return np.array([np.mean([scene.slice_mean(k + at) for at in offsets], axis=0) for k in range(grid.shape[0])])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 1.1)])
def test_the_sum_over_an_ellipsoid_is_its_volume_at_any_spacing_v15(spacing):
    ball = Ellipsoid((1.3, -0.4, 0.7), (9.0, 6.0, 7.0), 100.0, 0.6)
    shape = tuple(int(24 / step) for step in spacing)
    grid = VolumeGrid(shape, spacing, (-11.0, -11.0, -11.0), AXIAL)
    inside = painted(ball, grid).sum() / 100 * np.prod(spacing)
    assert ball.volume() == pytest.approx(4 / 3 * np.pi * 9 * 6 * 7)
    assert inside == pytest.approx(ball.volume(), rel=0.01)


def test_the_sum_over_a_tube_is_that_of_a_cylinder_and_a_ball_v15():
    tube = Tube((-6.0, 2.0, -5.0), (5.0, -3.0, 6.0), 2.5, 1.0)
    grid = VolumeGrid((24, 24, 24), (1.0, 1.0, 1.0), (-11.5, -11.5, -11.5), AXIAL)
    length = np.sqrt(11**2 + 5**2 + 11**2)
    assert painted(tube, grid).sum() == pytest.approx(np.pi * 2.5**2 * length + 4 / 3 * np.pi * 2.5**3, rel=0.01)


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (5.0, 1.0, 1.5)])
def test_the_marker_lies_at_its_place_on_any_grid_v15(spacing):
    grid = phantom.grid(spacing, SCALE)
    volume = phantom.phantom(grid, 3, "head", "MR", SCALE)
    place = np.multiply(phantom.MARKER, SCALE)
    marker = Ellipsoid(tuple(place), (phantom.MARKER_RADIUS * SCALE,) * 3, 1.0)
    assert volume.values.max() <= 1000
    # The centroid of the marker alone, weighted with its share of each voxel.
    share = painted(marker, grid, 8)
    indices = np.array(np.meshgrid(*map(np.arange, grid.shape), indexing="ij")).reshape(3, -1)
    centroid = (indices * share.ravel()).sum(axis=1) / share.sum()
    assert (np.abs(grid.position(*centroid) - place) < 0.1 * np.array(spacing)[::-1]).all()
    nearest = np.rint((np.linalg.inv(grid.affine) @ (*place, 1.0))[:3]).astype(int)
    around = tuple(slice(k - 1, k + 2) for k in nearest)
    assert volume.values[around].max() >= 0.5 * share.max() * 1000


def test_an_oblique_grid_shows_the_same_object_v15():
    angle = 0.4
    turned = ((0.0, 0.0, 1.0), (-np.sin(angle), np.cos(angle), 0.0), (np.cos(angle), np.sin(angle), 0.0))
    ball = Ellipsoid((3.0, 2.0, 1.0), (6.0, 6.0, 6.0), 1.0)
    start = -11.5 * np.sum(turned, axis=0)
    grid = VolumeGrid((24, 24, 24), (1.0, 1.0, 1.0), tuple(start), turned)
    share = painted(ball, grid, 2)
    indices = np.array(np.meshgrid(*map(np.arange, grid.shape), indexing="ij")).reshape(3, -1)
    centroid = (indices * share.ravel()).sum(axis=1) / share.sum()
    np.testing.assert_allclose(grid.position(*centroid), ball.center, atol=0.02)


def test_a_thick_slice_is_the_mean_of_the_thin_ones_in_it_v15():
    thin = phantom.phantom(small_grid(1.0), 1, "head", "CT", SCALE, samples=3)
    grid = slice_profile.thick_grid(thin.grid, 4.0)
    thick = phantom.phantom(grid, 1, "head", "CT", SCALE, samples=3, thickness=4.0)
    averaged = slice_profile.thicken(thin, 4.0, SliceProfile("rectangular", 4.0))
    assert thick.slice_thickness == 4.0
    # Points along z: 3 in each thin slice, and 3 in a thick one; the difference is that of the sampling.
    assert np.mean(np.abs(thick.values - averaged.values)) < 0.02 * np.ptp(thin.values)
    assert thick.grid == averaged.grid


def test_the_same_seed_is_the_same_patient_and_another_is_not_v15():
    first, again, other = (phantom.phantom(small_grid(4.0), seed, "chest", "CT", SCALE, 1) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.values, again.values)
    assert (first.values != other.values).any()
    assert first.values.min() >= -1000 and first.values.max() <= 1500


def test_the_phantom_needs_no_tensorflow_v15():
    code = (
        "import sys; from tfmisr.datasets.phantom_volume import phantom; phantom.phantom(phantom.grid(20.0)); "
        "assert not {'tensorflow', 'keras', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="expected a kind"):
        phantom.phantom(small_grid(), kind="knee")


@pytest.fixture
def few_coarse(monkeypatch):
    monkeypatch.setattr(phantom_volume_dataset_builder, "VOLUMES", {"train": 2, "validation": 1, "test": 1})
    monkeypatch.setattr(phantom_volume_dataset_builder, "SPACING", 5.0)
    monkeypatch.setattr(phantom_volume_dataset_builder, "STEP", 40)


@pytest.mark.usefixtures("few_coarse")
class PhantomVolumeTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own checks: registration, metadata, tags, features, no example in two splits."""

    DATASET_CLASS = phantom_volume_dataset_builder.Builder
    SPLITS = {"train": 6, "validation": 3, "test": 3}  # the middle plane of each orientation
    EXAMPLE_DIR = os.path.dirname(__file__)  # no downloads to stand in for
