"""The degradation of thick slices and training with it (V-05)."""

import dataclasses

import numpy as np
import pytest
from scipy.interpolate import BSpline, make_interp_spline
from synthetic import ArraySource, smooth_images

from tfmisr import config, degradations, models
from tfmisr.config import Config
from tfmisr.data import pipeline
from tfmisr.degradations import through_plane
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes.slice_profile import SliceProfile
from tfmisr.evaluation import protocol, scoring, verdicts

FIXED = "through_plane(min_ratio=4, max_ratio=4, min_fwhm=1, max_fwhm=1, rectangular=1)"


@pytest.fixture
def cache(tmp_path):
    images = {split: smooth_images(3, 128, i) for i, split in enumerate(("train", "validation", "test"))}
    return pipeline.cache_of(ArraySource(tmp_path, images), "train")


def test_v05_a_constant_stays_and_columns_are_independent():
    step = degradations.make("through_plane", scale=1)
    rng = np.random.default_rng(0)
    flat = np.full((90, 5, 1), 0.25, np.float32)
    np.testing.assert_allclose(step(flat, None, rng), flat, atol=1e-6)
    columns = rng.random((90, 5, 1), np.float32) * 0.5 + 0.25
    whole, one = (step(part, None, np.random.default_rng(3)) for part in (columns, columns[:, 2:3]))
    assert whole.shape == columns.shape
    np.testing.assert_allclose(whole[:, 2:3], one, atol=1e-6)


def test_v05_slices_are_means_and_the_rest_is_their_cubic_spline():
    """By SciPy: means over 4 samples, the interpolating spline through them; away from the border, where both agree."""
    line = np.random.default_rng(0).random(160)
    matrix = through_plane.thickened_line(160, 4.0, SliceProfile("rectangular", 4.0), 0.0)
    means, places = line.reshape(40, 4).mean(1), np.arange(40) * 4 + 1.5
    spline: BSpline = make_interp_spline(places, means, k=3)
    inner = slice(40, 120)
    np.testing.assert_allclose((matrix @ line)[inner], spline(np.arange(160.0))[inner], atol=1e-4)


def test_v05_patches_are_degraded_along_their_rows_whatever_their_turn(tmp_path):
    """Rows and columns alternate: the steps between columns stay in every patch, those between rows vanish."""
    rows, columns = np.indices((128, 128))
    image = np.uint8(100 * (rows % 2) + 50 * (columns % 2))[..., None]
    cache = pipeline.cache_of(ArraySource(tmp_path, {"train": [image] * 3}), "train")
    sampler = pipeline.PatchSampler(cache, 1, degradations.make(FIXED, scale=1, quantize_lr=False), 32, 12, seed=1)
    for step in range(3):
        for lr, hr in zip(*sampler.batch(step), strict=True):
            # Across the slices nothing changes: the difference of neighboring columns is that of the sharp patch.
            np.testing.assert_allclose(np.diff(lr, axis=1), np.diff(hr, axis=1), atol=1e-3)
            assert np.abs(np.diff(lr, axis=0)).max() < 0.1 < np.abs(np.diff(hr, axis=0)).max()


def test_v05_batches_are_a_function_of_seed_and_step(cache):
    made = [
        pipeline.PatchSampler(cache, 1, degradations.make("through_plane", scale=1), 24, 4, seed=7) for _ in range(2)
    ]
    for first, second in zip(made[0].batch(5), made[1].batch(5), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(made[0].batch(5)[0], made[0].batch(6)[0])


def test_v05_a_patch_does_not_depend_on_where_its_context_ends(cache):
    """The margin covers the profile and the spline: a patch equals the same rows of the whole image."""
    step = through_plane.ThickSlices((4.0, 4.0), (1.0, 1.0), 0.0)
    image = cache[0].astype(np.float32) / 255
    matrix = through_plane.thickened_line(128, 4.0, SliceProfile("gaussian", 4.0), 0.0)
    part = through_plane.thickened_line(128 - 24, 4.0, SliceProfile("gaussian", 4.0), 0.0)
    assert step.margin == 24
    whole, cut = matrix @ image[..., 0], part @ image[24:, :, 0]
    np.testing.assert_allclose(whole[48:104], cut[24:80], atol=1e-3)


@pytest.mark.parametrize(
    "text,message",
    [
        ("through_plane(min_ratio=1)", "1 < min_ratio"),
        ("through_plane(min_ratio=5, max_ratio=4)", "1 < min_ratio"),
        ("through_plane(min_fwhm=2, max_fwhm=1)", "min_fwhm <= max_fwhm"),
        ("through_plane(rectangular=2)", "rectangular from 0 to 1"),
    ],
)
def test_v05_numbers_out_of_range_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        degradations.make(text, scale=1)


def test_v05_an_image_shorter_than_two_slices_is_refused():
    with pytest.raises(InputError, match="at least 8 rows"):
        degradations.make(FIXED, scale=1)(np.zeros((7, 9, 1), np.float32), None, 0)


@pytest.mark.parametrize(
    "fields,message",
    [
        ({"scale": 1}, "belong together"),
        ({"degradation": "through_plane"}, "expected scale 1. Received: 4"),
        ({"scale": 1, "degradation": "mr"}, "belong together, as in --preset through_plane"),
        ({"scale": 1, "degradation": "through_plane", "hard_patches": 0.5}, "--hard_patches"),
        ({"scale": 1, "degradation": "through_plane", "burned_in": 0.5}, "--burned_in draws what radiographs have"),
        ({"scale": 1, "degradation": "through_plane", "device_data": True}, "--device_data"),
    ],
)
def test_v05_what_does_not_fit_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Config(**fields)


def test_v05_the_keys_of_earlier_runs_do_not_change():
    """Of version 0.1, as test_config has them; a plane run has another key, and its own by ratio."""
    preset = config.from_dict(config.preset("through_plane"), "the test")
    other = dataclasses.replace(preset, degradation="through_plane(max_ratio=4)")
    assert len({Config().key, Config(scale=2).key, preset.key, other.key}) == 4
    assert preset.folder.name.endswith(f"-x1-{preset.key}")


def test_v05_networks_of_the_zoo_keep_the_size_of_a_plane():
    plane = np.random.default_rng(0).random((1, 11, 14, 1), np.float32)
    for name in ("plain/num_filters=4,num_layers=2", "srcnn"):
        network = models.create(name, models.PLANE_SCALE)
        assert network(plane).shape == plane.shape and models.scale_of(network) == 1
    start = models.create("plain/num_filters=4,num_layers=2", 1)(plane)  # untrained: the interpolation
    np.testing.assert_allclose(start, plane, atol=1e-6)
    with pytest.raises(InputError, match="python -m tfmisr.volume takes it"):
        models.check_scale(1)


def test_v05_a_run_is_compared_with_the_spline():
    (spline,) = scoring.interpolations(1)
    plane = np.random.default_rng(0).random((9, 12, 1), np.float32)
    np.testing.assert_array_equal(spline(plane, 1), plane)  # the input is the interpolated plane already
    assert spline.name == protocol.reference(["spline", "mine"]) == "spline"
    assert protocol.reference(["spline", "bicubic"]) == protocol.reference(["mine"]) == "bicubic"
    values = {"n": 9, "patients": 9, "psnr_gain": 1.5, "psnr_gain_low": 1.0, "psnr_gain_high": 2.0}
    summary = {"spline": values, "mine": values}
    assert verdicts.verdict(summary, "mine").startswith("mine beats spline by 1.50 dB")
    assert verdicts.verdict({"bicubic": values, "mine": values}, "mine").startswith("mine beats bicubic")
