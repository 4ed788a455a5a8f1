"""Gantry tilt: a sheared stack is resampled within its planes, with exact geometry (V-02)."""

import numpy as np
import pytest
from volume_sources import AXIAL, ORIGIN, save, series

from tfmisr.edge.volumes import reading, tilt
from tfmisr.edge.volumes.grid import VolumeGrid

COLUMN, ROW, NORMAL = np.eye(3)


def sheared(step, shape=(9, 40, 36)):
    distance = np.linalg.norm(step)
    directions = (tuple(np.divide(step, distance)), tuple(ROW), tuple(COLUMN))
    return VolumeGrid(shape, (distance, 0.7, 0.5), tuple(ORIGIN), directions)


def blob(grid, center, width=2.0):
    """A Gaussian in space, sampled at the voxels of a grid; `width` is its standard deviation in mm."""
    indices = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1).astype(float)
    places = indices @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return np.exp(-((places - center) ** 2).sum(-1) / (2 * width**2)).astype(np.float32)


@pytest.mark.parametrize("step", [(0, 0.55, 3), (0, -0.7, 3), (0.4, -0.33, 3), (0, 0.7, -3)])
def test_v02_a_marker_stays_at_its_place(step):
    grid = sheared(step)
    center = grid.position(4, 19.3, 17.8)
    shear = tilt.orthogonal(grid)
    values, outside = tilt.resample(blob(grid, center), shear, 0.0)
    np.testing.assert_allclose(
        np.array(shear.grid.directions) @ np.array(shear.grid.directions).T, np.eye(3), atol=1e-12
    )
    assert shear.grid.spacing == pytest.approx((3, 0.7, 0.5))
    np.testing.assert_allclose(values, np.where(outside, 0, blob(shear.grid, center)), atol=1e-4)


def test_v02_no_pixel_is_lost_and_the_outside_is_marked():
    grid = sheared((0, 0.7, 3))  # one row a slice
    shear = tilt.orthogonal(grid)
    assert shear.grid.shape == (9, 48, 36)
    values = np.random.default_rng(0).uniform(1, 2, grid.shape).astype(np.float32)
    result, outside = tilt.resample(values, shear, -1.0)
    for index in range(9):
        np.testing.assert_array_equal(result[index, index : index + 40], values[index])
        np.testing.assert_allclose(shear.grid.position(index, index, 0), grid.position(index), atol=1e-9)
    assert outside.sum() == 9 * 8 * 36
    assert (result[outside] == -1).all()


def test_v02_resample_tilt_reads_the_series(tmp_path):
    step = 3 * np.array([0, np.sin(np.radians(-15)), np.cos(np.radians(-15))])
    pixels = np.rint(1000 * blob(sheared(step, (8, 30, 28)), ORIGIN + 3.5 * step + [7, 10, 0]))
    source = reading.read(save(tmp_path, series(8, step, orientation=AXIAL, pixels=pixels)), resample_tilt=True)
    assert source.volume.grid.spacing[0] == pytest.approx(3 * np.cos(np.radians(15)))
    assert "gantry tilt 15 degrees" in " ".join(source.remarks)
    assert source.padding.any()
    assert (source.volume.values[source.padding] == pixels.min()).all()
    weights = source.volume.values / source.volume.values.sum()
    indices = [np.sum(weights * axis) for axis in np.indices(weights.shape)]
    np.testing.assert_allclose(source.volume.grid.position(*indices), ORIGIN + 3.5 * step + [7, 10, 0], atol=0.01)


def test_v02_a_series_without_tilt_is_not_resampled(tmp_path):
    source = reading.read(save(tmp_path, series()), resample_tilt=True)
    assert source.volume.grid.shape == (5, 6, 8)
    assert source.remarks == ()
