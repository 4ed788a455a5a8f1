"""Half-widths of new slices from the volume's own in-plane images (V-08)."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import ndimage

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import Volume, VolumeGrid, disagreement, half_width, planes, resampling
from tfmisr.edge.volumes.half_width import OwnCalibration
from tfmisr.edge.volumes.slice_profile import SliceProfile, thicken

AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
SCALE = planes.UnitScale(0.0, 200.0)
PROFILE = SliceProfile("gaussian", 3.0)


def blobs(shape=(48, 48, 48), seed=0):
    """An isotropic random volume, 20 to 220: the same statistics along each axis."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, 1.5, mode="wrap")
    return (120 + 40 * np.tanh(2 * smooth / smooth.std())).astype(np.float32)


@pytest.fixture(scope="module")
def thin():
    values = blobs()
    return Volume(values, VolumeGrid(values.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), AXES))


def sharpened(batch):
    """A predictor in place of a network: an unsharp mask along the slice axis."""
    return batch + 0.4 * (batch - ndimage.gaussian_filter1d(batch, 2.0, axis=1, mode="nearest"))


def test_v08_scale_map_by_hand():
    """A disagreement of 2 at one voxel of 25 slices: its mean square over 5 x 5 x 5 voxels is 1 / 125 there."""
    base = np.zeros((25, 9, 9), np.float32)
    first, second = base.copy(), base.copy()
    first[12, 4, 4], second[12, 4, 4] = 1.0, -1.0
    scale = disagreement.scale_map([first, second], base, 1.0)
    expected = np.sqrt(1 / 125 + disagreement.FLOOR**2)
    np.testing.assert_allclose(scale[12, 4, 4], expected, rtol=1e-5)
    np.testing.assert_allclose(scale[14, 6, 2], expected, rtol=1e-5)
    np.testing.assert_allclose(scale[15, 4, 4], disagreement.FLOOR, rtol=1e-4)


def test_v08_scale_map_does_not_depend_on_the_slabs_it_is_computed_in(thin, monkeypatch):
    refined = thin.values + np.random.default_rng(1).normal(0, 5, thin.values.shape).astype(np.float32)
    parts = disagreement.scale_map([thin.values, refined], thin.values, 200.0)
    monkeypatch.setattr(disagreement, "_SLAB", 1000)
    np.testing.assert_allclose(parts, disagreement.scale_map([thin.values, refined], thin.values, 200.0), rtol=1e-5)


def test_v08_scale_map_is_in_the_unit_of_the_volume(thin):
    one, other = thin.values[:9], thin.values[9:18]
    scale = disagreement.scale_map([one, other], one, 200.0)
    np.testing.assert_allclose(disagreement.scale_map([10 * one, 10 * other], 10 * one, 2000.0), 10 * scale, rtol=1e-4)


def test_v08_half_widths_cover_an_isotropic_volume_as_they_say(thin):
    """Without noise and with the same statistics along all axes the coverage carries over, within a few percent."""
    thick = thicken(thin, 3.0, PROFILE)
    calibration = half_width.calibrate(thick, thin.grid, sharpened, PROFILE, SCALE)
    refined = [planes.upsample(thick, thin.grid, sharpened, (plane,), scale=SCALE) for plane in planes.PLANES]
    base = resampling.resample(thick, thin.grid)
    widths = half_width.half_widths(calibration, refined, base, 200.0)
    error = np.abs((refined[0].values + refined[1].values) / 2 - thin.values)
    inside = float((error <= widths.values)[2:-2].mean())
    assert 0.85 < calibration.coverage < 0.95 and 0.78 < inside < 0.99
    assert widths.grid == thin.grid and calibration.images == (16, 16)
    assert "no guarantee" in calibration.statement and "multiplier" in calibration.statement


def test_v08_the_multiplier_is_the_quantile_of_the_calibration_images(thin, monkeypatch):
    """Ratios that are known: 0 to 999 on calibration images, twice that on the others, of which half are covered."""
    ratios = np.arange(1000.0)

    def restored(images, slices, predict):
        count = images.values.shape[1]
        return [ratios * (1 + number * 4 // count % 2) for number in range(count)]

    monkeypatch.setattr(half_width, "_restored", restored)
    found = half_width.calibrate(thicken(thin, 3.0, PROFILE), thin.grid, sharpened, PROFILE, SCALE)
    assert found.multiplier == pytest.approx(900, abs=1) and found.coverage == pytest.approx(0.451)
    assert found.worst == found.coverage


def test_v08_missing_noise_is_that_of_a_mean():
    """White noise of 0.02 in slices that average 16 voxels alike: thin ones would have 4 times as much."""
    images = 0.5 + np.random.default_rng(0).normal(0, 0.02, (6, 80, 80)).astype(np.float32)
    added = half_width._missing_noise(images, np.full(16, 1 / 16))
    assert float(added.std()) == pytest.approx(0.02 * np.sqrt(15), rel=0.05)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_v08_alpha_is_a_fraction(thin, alpha):
    with pytest.raises(InputError, match="alpha between 0 and 1"):
        half_width.calibrate(thin, thin.grid, sharpened, PROFILE, SCALE, alpha)


def test_v08_an_empty_volume_has_no_half_widths(thin):
    thick = thicken(thin, 3.0, PROFILE)
    empty = dataclasses.replace(thick, values=np.zeros_like(thick.values))
    with pytest.raises(InputError, match="pixels above air.*leave --uncertainty out"):
        half_width.calibrate(empty, thin.grid, sharpened, PROFILE, SCALE)


@pytest.mark.parametrize("dicom", [False, True])
def test_v08_half_widths_are_written_as_float_with_their_statement(thin, tmp_path, dicom):
    nibabel = pytest.importorskip("nibabel")
    from tfmisr.edge.levels import scale_for_limits
    from tfmisr.edge.volumes import half_width_writing, nifti
    from tfmisr.edge.volumes.source import Source

    thick = thicken(thin, 3.0, PROFILE)
    image = nibabel.Nifti1Image(thick.values.T.astype(np.int16), np.diag([-1.0, -1.0, 3.0, 1.0]))
    nibabel.save(image, tmp_path / "in.nii")
    source = nifti.read(tmp_path / "in.nii")
    if dicom:
        source = Source(source.volume, "dicom", "CT", (), scale_for_limits(0, 255), "")
    grid = source.volume.grid.with_slice_spacing(1.0)
    widths = Volume(np.full(grid.shape, 0.3, np.float32), grid)
    calibration = OwnCalibration(0.1, 2.5, 0.91, 0.8, (10, 12))
    half_width_writing.write(tmp_path / "w.nii.gz", widths, source, calibration)
    stored = nibabel.load(tmp_path / "w.nii.gz")
    np.testing.assert_allclose(np.asarray(stored.dataobj), 0.3, rtol=1e-6)
    assert stored.get_data_dtype() == np.float32
    np.testing.assert_allclose(nifti.read(tmp_path / "w.nii.gz").volume.grid.affine, grid.affine, atol=1e-4)
    fields = json.loads((tmp_path / "w.json").read_text())
    assert fields["coverage"] == 0.91 and "no guarantee" in fields["description"]
    with pytest.raises(InputError, match=".nii or .nii.gz"):
        half_width_writing.write(tmp_path / "w.dcm", widths, source, calibration)
