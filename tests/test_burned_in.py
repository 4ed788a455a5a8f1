"""Burned-in annotations as an augmentation: the same marks in both resolutions, and only in their share of patches."""

import numpy as np
import pytest
from synthetic import ArraySource
from test_pipeline import sampler

from tfmisr import degradations
from tfmisr.config.fields import Config
from tfmisr.data import burned_in, pipeline
from tfmisr.edge.errors import InputError

GRAY = np.full((64, 64, 1), 100, np.uint8)


@pytest.mark.parametrize("kind", burned_in._KINDS)
def test_each_kind_covers_a_part_of_the_image(kind):
    """Coverage lies in [0, 1]; of 40 of a kind some are drawn inside the image, and none hides all of it."""
    drawn = [burned_in.layers((48, 64), np.random.default_rng(seed), kind) for seed in range(40)]
    covered = [coverage for layers in drawn for coverage, _ in layers]
    assert all(each.shape == (48, 64) and each.min() >= 0 and each.max() <= 1 for each in covered)
    assert all(0 <= value <= 1 for layers in drawn for _, value in layers)
    shares = np.array([each.mean() for each in covered])
    assert (shares > 0).mean() > 0.5
    assert shares.max() < 1


def test_a_ring_is_drawn_on_its_disk():
    """What the ring covers lies within the disk below it, and the two differ in brightness as marks do."""
    found = [burned_in.layers((96, 96), np.random.default_rng(seed), burned_in.ring) for seed in range(30)]
    pairs = [layers for layers in found if len(layers) == 2]
    assert 10 < len(pairs) < 30
    for (disk, dark), (ring, value) in pairs:
        assert (ring > 0.9).sum() <= (disk > 0.5).sum() + 20
        assert abs(dark - value) > 0.4


def test_letters_are_drawn_finer_than_the_pixels(monkeypatch):
    """An edge of three subpixels a pixel has coverages of thirds, after the mean of 3x3 without a blur."""
    monkeypatch.setattr(burned_in, "_REDUCTIONS", ("BOX",) * 5)

    def step(shape, unit, rng):
        coverage = np.zeros(shape, np.float32)
        coverage[:, : shape[1] // 2 + 1] = 1
        return [(coverage, 1.0)]

    found = [burned_in.layers((4, 8), np.random.default_rng(seed), step)[0][0] for seed in range(30)]
    sharp = [each for each in found if each[0, 0] == 1 and each[0, 7] == 0 and each[0, 3] == 1]
    assert any(each[0, 4] == pytest.approx(1 / 3, abs=1e-6) for each in sharp)


def test_unmarked_pixels_stay_as_they_are():
    image = np.random.default_rng(0).random((64, 64, 1), np.float32)
    found = burned_in.burn_in(image, np.random.default_rng(7))
    assert found.shape == image.shape and found.dtype == np.float32
    assert 0.01 < (found != image).mean() < 0.99
    np.testing.assert_array_equal(found, burned_in.burn_in(image, np.random.default_rng(7)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_low_resolution_is_the_degraded_high_resolution(tmp_path, dtype):
    """Where the patch is the full image, Pillow-like bicubic reduction of the marked HR patch is the LR patch."""
    full_scale = np.iinfo(dtype).max
    images = [(np.full((32, 32, 1), value) * (full_scale // 255)).astype(dtype) for value in range(40, 220, 20)]
    patches = sampler(ArraySource(tmp_path, {"train": images}), patch_size=16, burned_in=1.0, augment=False)
    marked = 0
    for step in range(4):
        lr, hr = patches.batch(step)
        for low, high in zip(lr, hr, strict=True):
            expected = degradations.make(2)(high, full_scale)
            np.testing.assert_allclose(low, expected, atol=1e-6)
            marked += np.ptp(high) > 0.1
            np.testing.assert_allclose(high * full_scale, np.rint(high * full_scale), atol=2e-2)
    assert marked > 12  # of 24; the others were marked outside, or in their own gray


def test_only_their_share_of_the_patches_is_marked(tmp_path):
    source = ArraySource(tmp_path, {"train": [GRAY] * 4})
    share = np.mean([np.ptp(hr) > 0 for step in range(60) for hr in sampler(source, burned_in=0.4).batch(step)[1]])
    assert share == pytest.approx(0.4 * 0.85, abs=0.1)


def test_a_margin_makes_patches_inside_the_image_exact(tmp_path, monkeypatch):
    """Where nothing is drawn, each LR patch is a window of the degraded full image."""
    rng = np.random.default_rng(0)
    source = ArraySource(tmp_path, {"train": [rng.integers(0, 255, (80, 90, 1)).astype(np.uint8)]})
    marked = sampler(source, burned_in=1.0, augment=False, patch_size=8)
    full = degradations.make(2)(source_image(source), 255)
    monkeypatch.setattr(burned_in, "burn_in", lambda image, rng: image)
    lr, hr = marked.batch(0)
    windows = np.lib.stride_tricks.sliding_window_view(full[..., 0], (8, 8))
    for low in lr[..., 0]:
        assert np.abs(windows - low).max((2, 3)).min() < 1e-6
    assert hr.shape == (6, 16, 16, 1)


def source_image(source):
    return pipeline.cache_of(source, "train")[0].astype(np.float32) / 255


def test_fields_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match=r"burned_in must be in \[0, 1\]. Received: 1.5"):
        Config(burned_in=1.5)
    with pytest.raises(InputError, match="--device_data and --burned_in cannot be combined; use --data_workers"):
        Config(burned_in=0.5, device_data=True)
    assert Config(burned_in=0.5).key != Config().key == Config(burned_in=0.0).key
