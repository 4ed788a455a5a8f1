"""Look-up tables as an augmentation: curves of PS3.3 C.11.2.1.3, inversion, and both resolutions alike."""

import numpy as np
import pytest
from synthetic import ArraySource
from test_pipeline import sampler

from tfmisr import degradations
from tfmisr.config.fields import Config
from tfmisr.data import look_up_tables
from tfmisr.edge.errors import InputError

RAMP = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16, 1)


def test_every_curve_is_monotonic_and_within_the_range():
    """Gray levels keep their order, or its inverse; inversion is drawn in its share."""
    signs = []
    for seed in range(300):
        found = look_up_tables.transform(RAMP, np.random.default_rng(seed))
        assert found.dtype == np.float32 and 0 <= found.min() < found.max() <= 1
        steps = np.diff(found.ravel())
        assert (steps >= 0).all() or (steps <= 0).all()
        signs.append(found.ravel()[-1] > found.ravel()[0])
    assert np.mean(signs) == pytest.approx(1 - 0.4, abs=0.09)


class Fixed:
    """A random generator whose draws are the middle of each range."""

    def uniform(self, low, high):
        return (low + high) / 2


def test_curves_by_hand():
    """SIGMOID: 1 / (1 + exp(-4 (x - c) / w)); LINEAR: (x - c) / w + 0.5; gamma 1 is the identity."""
    sigmoid = look_up_tables._sigmoid(Fixed())
    assert sigmoid(0.5) == pytest.approx(0.5)
    assert sigmoid(0.5 + 1.1 / 4) == pytest.approx(1 / (1 + np.exp(-1)))
    assert look_up_tables._linear(Fixed())(0.75) == pytest.approx(0.25 / 1.25 + 0.5)
    assert look_up_tables._gamma(Fixed())(np.float32(0.25)) == pytest.approx(0.25)


def test_low_resolution_is_the_degraded_high_resolution(tmp_path):
    images = [np.random.default_rng(i).integers(30, 220, (32, 32, 1)).astype(np.uint8) for i in range(6)]
    source = ArraySource(tmp_path, {"train": images})
    patches = sampler(source, patch_size=16, intensity_augmentation=1.0, augment=False)
    lr, hr = patches.batch(0)
    changed = 0
    for low, high in zip(lr, hr, strict=True):
        np.testing.assert_allclose(low, degradations.make(2)(high, 255), atol=1e-6)
        np.testing.assert_allclose(high * 255, np.rint(high * 255), atol=1e-3)
        changed += not any(np.array_equal(np.rint(high * 255), image) for image in images)
    assert changed >= 3


def test_only_their_share_of_the_patches_is_changed_and_burned_in_annotations_come_after(tmp_path, monkeypatch):
    source = ArraySource(tmp_path, {"train": [np.full((64, 64, 1), 51, np.uint8)] * 4})
    monkeypatch.setattr(look_up_tables, "transform", lambda image, rng: 1 - image)
    monkeypatch.setattr("tfmisr.data.burned_in.burn_in", lambda image, rng: image / 2)
    both = sampler(source, intensity_augmentation=0.4, burned_in=0.5)
    values = np.array([np.rint(255 * hr[0, 0, 0]) for step in range(80) for hr in both.batch(step)[1]])
    shares = {value: (values == value).mean() for value in (51, 204, 26, 102)}
    assert sum(shares.values()) == pytest.approx(1)
    np.testing.assert_allclose(list(shares.values()), [0.3, 0.2, 0.3, 0.2], atol=0.08)


def test_fields_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match=r"intensity_augmentation must be in \[0, 1\]. Received: -0.1"):
        Config(intensity_augmentation=-0.1)
    with pytest.raises(
        InputError, match="--device_data and --intensity_augmentation cannot be combined; use --data_workers"
    ):
        Config(intensity_augmentation=0.5, device_data=True)
    assert Config(intensity_augmentation=0.5).key != Config().key
