"""Operators along the slice axis: profile, resampling, consistency, fusion of planes (V-03, V-04, V-06, V-07, V-10)."""

import numpy as np
import pytest
from scipy import interpolate, ndimage

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import SliceProfile, Volume, VolumeGrid, fusion, planes, resampling, slice_profile
from tfmisr.edge.volumes.consistency import SliceConsistency
from tfmisr.edge.volumes.profile_estimation import estimate_fwhm, remark
from tfmisr.edge.volumes.rotation import Rotation

OBLIQUE = ((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), (1.0, 0.0, 0.0))


def grid(slices, spacing, rows=1, columns=1, pixel=1.0, origin=(5.0, -3.0, 2.0)):
    return VolumeGrid((slices, rows, columns), (spacing, pixel, pixel), origin, OBLIQUE)


def test_v03_rectangular_profile_of_whole_slices_is_their_mean():
    thin = grid(12, 1.0)
    thick = slice_profile.thick_grid(thin, 4.0)
    assert thick.shape[0] == 3
    np.testing.assert_allclose(thick.position(0), thin.position(1.5), atol=1e-12)
    matrix = SliceProfile("rectangular", 4.0).matrix(thick, thin)
    np.testing.assert_allclose(matrix, np.kron(np.eye(3), np.full((1, 4), 0.25)), atol=1e-12)


@pytest.mark.parametrize(("width", "expected"), [(2.0, [0, 0.5, 0.5, 0]), (3.0, [1 / 6, 1 / 3, 1 / 3, 1 / 6])])
def test_v03_gap_leaves_out_slices_by_their_share_of_the_profile(width, expected):
    thin = grid(12, 1.0)
    matrix = SliceProfile("rectangular", width).matrix(slice_profile.thick_grid(thin, 4.0), thin)
    np.testing.assert_allclose(matrix[1, 4:8], expected, atol=1e-12)


def test_v03_overlap_and_gaussian_width_are_those_of_the_weights():
    thin = grid(400, 0.1)
    thick = slice_profile.thick_grid(thin, 2.0)
    matrix = SliceProfile("gaussian", 6.0).matrix(thick, thin)
    weights, places = matrix[10], np.arange(400) - 199.5 + 199.5 - thin.slice_coordinates(thick)[10]
    deviation = np.sqrt((weights * (places * 0.1) ** 2).sum())
    assert deviation == pytest.approx(6.0 / 2.354820, rel=1e-3)  # FWHM = 2.3548 standard deviations
    half = np.interp(3.0, places * 0.1, weights) / weights.max()
    assert half == pytest.approx(0.5, abs=1e-3)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


def test_v03_profile_texts_and_what_is_refused():
    assert SliceProfile.parse("gaussian:5mm") == SliceProfile("gaussian", 5.0)
    assert SliceProfile.parse("Rectangular:2.5 mm") == SliceProfile("rectangular", 2.5)
    assert str(SliceProfile("gaussian", 5.0)) == "gaussian:5mm"
    for text in ("gaussian", "gaussian:", "gaussian:0", "gaussian:1.2.3", "triangular:4"):
        with pytest.raises(InputError):
            SliceProfile.parse(text)
    with pytest.raises(InputError, match="differ only along the slice axis"):
        SliceProfile("gaussian", 4).matrix(grid(3, 4.0), grid(12, 1.0, rows=2))
    with pytest.raises(InputError, match="at least two slices"):
        slice_profile.thick_grid(grid(5, 1.0), 4.0)


def test_v03_unknown_width_is_estimated_from_spectra_of_isotropic_noise():
    """A field that is the same along all axes, thickened by a known profile: within 15 %."""
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.standard_normal((96, 96, 96)), 1.0).astype(np.float32)
    volume = Volume(field, VolumeGrid(field.shape, (1.0, 1.0, 1.0), (0, 0, 0), OBLIQUE))
    for width in (2.4, 4.5):
        thick = slice_profile.thicken(volume, 3.0, SliceProfile("gaussian", width))
        assert estimate_fwhm(thick) == pytest.approx(width, rel=0.15)
        assert remark(thick, SliceProfile("gaussian", width)) == ""
        assert "sharpened too much" in remark(thick, SliceProfile("gaussian", 2 * width))
    assert estimate_fwhm(Volume(field[:4], VolumeGrid((4, 96, 96), (3.0, 1.0, 1.0), (0, 0, 0), OBLIQUE))) is None


@pytest.mark.parametrize("spacing", [1.0, 0.9, 2.7, 4.0])
def test_v04_spline_equals_scipy_at_any_ratio(spacing):
    source = grid(9, 4.0, 2, 3)
    values = np.random.default_rng(1).standard_normal(source.shape).astype(np.float32)
    target = source.with_slice_spacing(spacing)
    found = resampling.resample(Volume(values, source), target).values
    places = source.slice_coordinates(target)
    for row, column in np.ndindex(2, 3):
        expected = ndimage.map_coordinates(values[:, row, column].astype(float), [places], order=3, mode="reflect")
        np.testing.assert_allclose(found[:, row, column], expected, atol=2e-6)


def test_v04_spline_equals_scipys_cubic_spline_away_from_the_border():
    """Another definition of the end conditions, 16 slices away: only the interpolant itself is compared."""
    source, values = grid(48, 2.0), np.random.default_rng(2).standard_normal(48)
    target = source.with_slice_spacing(0.7)
    places = source.slice_coordinates(target)
    inside = (places > 16) & (places < 31)
    found = (resampling.matrix(source, target) @ values)[inside]
    expected = interpolate.CubicSpline(np.arange(48), values)(places[inside])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_v04_linear_and_lanczos_by_hand():
    source = grid(8, 2.0)
    target = source.with_slice_spacing(1.0)  # at -0.25, 0.25, 0.75, ... slices
    linear = resampling.matrix(source, target, "linear")
    np.testing.assert_allclose(linear[1:3, :3], [[0.75, 0.25, 0], [0.25, 0.75, 0]], atol=1e-12)
    np.testing.assert_allclose(linear[0, :2], [1, 0], atol=1e-12)  # mirrored at the outer face
    lanczos = resampling.matrix(source, target, "lanczos")[7]  # at 3.25, from slices 1 to 6
    distance = np.arange(1, 7) - 3.25
    expected = np.sinc(distance) * np.sinc(distance / 3)
    np.testing.assert_allclose(lanczos[1:7], expected / expected.sum(), atol=1e-12)
    with pytest.raises(InputError, match="did you mean linear"):
        resampling.matrix(source, target, "linaer")


@pytest.mark.parametrize("method", resampling.METHODS)
@pytest.mark.parametrize("spacing", [1.0, 0.9, 3.1])
def test_v04_nothing_shifts_in_space(method, spacing):
    """The centroid of a marker in patient coordinates, in the source and in the result."""
    source = grid(31, 5.0)
    values = np.exp(-(((np.arange(31) - 14.3) / 2.5) ** 2)).astype(np.float32)[:, None, None]
    target = source.with_slice_spacing(spacing)
    found = resampling.resample(Volume(values, source), target).values

    def centroid(weights, own):
        positions = np.array([own.position(index) for index in range(len(weights))])
        return (weights[:, 0, 0] @ positions) / weights.sum()

    np.testing.assert_allclose(centroid(found, target), centroid(values, source), atol=0.02)
    np.testing.assert_allclose(centroid(values, source), source.position(14.3), atol=1e-3)


def test_v04_same_grid_is_the_identity():
    source = grid(7, 3.0)
    for method in resampling.METHODS:
        np.testing.assert_allclose(resampling.matrix(source, source, method), np.eye(7), atol=1e-8)


@pytest.mark.parametrize("kind", slice_profile.KINDS)
@pytest.mark.parametrize(("width", "spacing"), [(4.0, 1.0), (4.0, 0.9), (2.0, 1.0), (6.0, 1.3), (9.0, 1.0)])
def test_v07_averages_are_the_acquired_slices_within_half_a_level(kind, width, spacing):
    """Gap, no gap, overlap; ratios that are no integers; against averages computed in double precision."""
    thick, rng = grid(16, 4.0, 5, 40), np.random.default_rng(3)
    thin = thick.with_slice_spacing(spacing)
    acquired = np.rint(1000 * rng.random(thick.shape)).astype(np.float32)
    result = (1000 * rng.random(thin.shape)).astype(np.float32)
    profile = SliceProfile(kind, width)
    projection = SliceConsistency(profile, thick, thin)
    projection.correct(result, acquired, level=1.0)
    averages = np.einsum("ij,jrc->irc", profile.matrix(thick, thin), result.astype(np.float64))
    assert np.abs(averages - acquired).max() < 0.5
    assert projection.largest_error(result, acquired) == pytest.approx(np.abs(averages - acquired).max(), abs=1e-3)


def test_v07_what_is_consistent_already_is_kept():
    thick = grid(8, 4.0, 2, 2)
    thin = thick.with_slice_spacing(1.0)
    truth = np.random.default_rng(4).random(thin.shape).astype(np.float32)
    profile = SliceProfile("gaussian", 4.0)
    acquired = np.einsum("ij,jrc->irc", profile.matrix(thick, thin), truth)
    result = truth.copy()
    SliceConsistency(profile, thick, thin).correct(result, acquired)
    np.testing.assert_allclose(result, truth, atol=1e-5)
    dead = truth + np.float32(0.2)
    SliceConsistency(profile, thick, thin).correct(dead, acquired, level=1.0)  # within the dead zone of 0.25
    np.testing.assert_array_equal(dead, truth + np.float32(0.2))


def test_v07_correction_moves_towards_the_truth_and_keeps_the_lower_limit():
    rng = np.random.default_rng(5)
    thick = grid(12, 4.0, 8, 8)
    thin = thick.with_slice_spacing(1.0)
    truth = np.maximum(ndimage.gaussian_filter(rng.standard_normal(thin.shape), 1.5), 0).astype(np.float32)
    profile = SliceProfile("gaussian", 4.0)
    acquired = np.einsum("ij,jrc->irc", profile.matrix(thick, thin), truth).astype(np.float32)
    spline = resampling.resample(Volume(acquired, thick), thin).values
    corrected, limited = spline.copy(), spline.copy()
    projection = SliceConsistency(profile, thick, thin)
    projection.correct(corrected, acquired)
    projection.correct(limited, acquired, lowest=0.0)
    errors = [np.square(each - truth).mean() for each in (spline, corrected, limited)]
    assert errors[2] < errors[1] < errors[0]
    assert limited.min() > corrected.min()
    assert projection.largest_error(limited, acquired) < 1e-4


def test_v07_fewer_slices_than_acquired_are_refused():
    with pytest.raises(InputError, match="at least as many thin slices"):
        SliceConsistency(SliceProfile("gaussian", 4.0), grid(8, 4.0), grid(8, 4.0).with_slice_spacing(5.0))


def made(rows=24, columns=20, slices=6):
    source = VolumeGrid((slices, rows, columns), (4.0, 1.0, 1.0), (0, 0, 0), OBLIQUE)
    values = ndimage.gaussian_filter(np.random.default_rng(6).random(source.shape), (1, 3, 3)).astype(np.float32)
    return Volume(1000 * values, source), source.with_slice_spacing(1.0)


@pytest.mark.parametrize("kind", fusion.FUSIONS)
@pytest.mark.parametrize("rotations", [1, 2])
def test_v06_network_that_adds_nothing_gives_the_spline(kind, rotations):
    volume, target = made()
    expected = resampling.resample(volume, target).values
    found = planes.upsample(volume, target, lambda batch: batch, fusion=kind, rotations=rotations)
    np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-2)
    assert found.slice_thickness == 1.0 and volume.slice_thickness is None


def test_v06_planes_contain_the_slice_axis_and_are_averaged():
    """A network that adds the index along the width: rows of sagittal planes, columns of coronal ones."""
    volume, target = made()

    def predict(batch):
        return batch + np.arange(batch.shape[2], dtype=np.float32)[:, None]

    scale = planes.UnitScale(0.0, 10.0)
    added = [
        planes.upsample(volume, target, predict, which, scale=scale).values - resampling.resample(volume, target).values
        for which in (("sagittal",), ("coronal",), planes.PLANES)
    ]
    row, column = np.arange(24.0)[:, None], np.arange(20.0)
    np.testing.assert_allclose(added[0], np.broadcast_to(10 * row, target.shape), atol=1e-2)
    np.testing.assert_allclose(added[1], np.broadcast_to(10 * column, target.shape), atol=1e-2)
    np.testing.assert_allclose(added[2], np.broadcast_to(5 * (row + column), target.shape), atol=1e-2)


def test_v06_fourier_fusion_takes_the_larger_coefficient():
    """One plane restores a wave that the other does not: its coefficient is kept in full, where the mean halves it."""
    shape = (8, 16, 16)
    wave = np.cos(2 * np.pi * 3 * np.arange(16) / 16).astype(np.float32) * np.ones(shape, np.float32)
    results = {}
    for kind in fusion.FUSIONS:
        fused = fusion.make(kind, shape, lambda rows: np.full((8, len(range(16)[rows]), 16), 7.0, np.float32), 2.0)
        for residual in (wave, np.zeros_like(wave)):
            fused.add(
                [((slice(None), slice(0, 10)), residual[:, :10]), ((slice(None), slice(10, 16)), residual[:, 10:])],
                Rotation(0, (16, 16)),
            )
        results[kind] = fused.result()
    np.testing.assert_allclose(results["fourier"], 7 + 2 * wave, atol=1e-5)
    np.testing.assert_allclose(results["mean"], 7 + wave, atol=1e-5)


def test_v06_rotation_turns_about_the_middle_and_back():
    image = np.zeros((1, 21, 21), np.float32)
    image[0, 10, 16] = 1.0  # 6 columns right of the middle
    turn = Rotation(90.0, (21, 21))
    np.testing.assert_allclose(turn.backward(turn.forward(image)), image, atol=1e-5)
    turned = turn.forward(image)[0]
    assert np.unravel_index(turned.argmax(), turned.shape) == (4, 10)  # 6 rows above it
    turned_by = 45
    smooth = ndimage.gaussian_filter(image, (0, 2, 2))
    half = Rotation(45.0, (21, 21))
    expected = ndimage.rotate(smooth[0], turned_by, reshape=False, order=3, mode="nearest")
    np.testing.assert_allclose(half.forward(smooth)[0], expected, atol=2e-3)
    assert half.coverage()[10, 10] == 1 and half.coverage()[0, 0] == 0


def test_v10_memory_is_bounded_and_checked():
    """512 x 512 x 600 needs one copy of the result beside the source; batches are small where planes are large."""
    large = VolumeGrid((600, 512, 512), (0.7, 0.7, 0.7), (0, 0, 0), OBLIQUE)
    planes.check_memory(large, 8.0, "mean")
    planes.check_memory(large, 8.0, "fourier")
    with pytest.raises(InputError, match=r"at least 2\.1 GiB .* Received: --memory 1"):
        planes.check_memory(large, 1.0, "fourier")
    sizes = []

    def predict(batch):
        sizes.append(batch.nbytes)
        return batch

    volume, target = made()
    planes.upsample(volume, target, predict, memory=0.01)
    assert max(sizes) * 64 * 4 <= 0.15 * 0.01 * 2**30 and len(sizes) > 10  # four arrays with 64 channels
    sizes.clear()
    planes.upsample(volume, target, predict, memory=1)
    assert len(sizes) == 2


@pytest.mark.large
def test_v10_peak_memory_is_below_four_copies_of_the_result():
    """Measured in a process of its own: the network here costs nothing."""
    import subprocess
    import sys

    script = """
import resource, numpy as np
from tfmisr.edge.volumes import Volume, VolumeGrid, planes
own = VolumeGrid((64, 256, 256), (4.0, 1.0, 1.0), (0, 0, 0), ((0, 0, 1.0), (0, 1.0, 0), (1.0, 0, 0)))
volume, target = Volume(np.ones(own.shape, np.float32), own), own.with_slice_spacing(1.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for fusion in ("mean", "fourier"):
    planes.upsample(volume, target, lambda batch: batch, fusion=fusion, memory=1.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(peak * 1024 / (4 * np.prod(target.shape)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    copies = list(map(float, done.stdout.split()))
    assert copies[0] < 2.5 and copies[1] < 4.0, copies
