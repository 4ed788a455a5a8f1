"""Sub-pixel shifts: each patch is a window of the image that begins `shift` pixels later, reduced."""

import numpy as np
import pytest
from synthetic import ArraySource
from test_pipeline import sampler

from tfmisr import degradations
from tfmisr.config.fields import Config
from tfmisr.edge.errors import InputError


@pytest.mark.parametrize(
    ("scale", "options"),
    [
        (2, {}),
        (3, {}),
        (2, {"hard_patches": 0.6}),
        (2, {"degradation": degradations.make(2, degradation="unsharp(sigma=3)")}),
    ],
)
def test_patches_are_windows_of_the_moved_and_reduced_image(tmp_path, scale, options):
    """Reference: the image is cut by the shift at the top and on the left, and reduced as a whole."""
    image = np.random.default_rng(0).integers(0, 256, (97, 113, 1)).astype(np.uint8)
    size = 8
    moved = sampler(
        ArraySource(tmp_path, {"train": [image]}),
        scale,
        patch_size=size,
        augment=False,
        subpixel_shifts=True,
        **options,
    )
    windows = {}
    for dy in range(scale):
        for dx in range(scale):
            hr = degradations.crop_to_multiple(image[dy:, dx:].astype(np.float32) / 255, scale)
            lr = options.get("degradation", degradations.make(scale))(hr, 255)
            windows[dy, dx] = np.lib.stride_tricks.sliding_window_view(lr[..., 0], (size, size))
    seen = set()
    for step in range(12):
        for low, high in zip(*moved.batch(step), strict=True):
            found = {}
            for shift, each in windows.items():
                errors = np.abs(each - low[..., 0]).max((2, 3))
                if errors.min() < 1.5 / 255:
                    found[shift] = np.unravel_index(errors.argmin(), errors.shape)
            assert len(found) == 1
            ((dy, dx), (y, x)) = next(iter(found.items()))
            top, left = y * scale + dy, x * scale + dx
            side = size * scale
            np.testing.assert_array_equal(np.rint(high * 255), image[top : top + side, left : left + side])
            seen.add((dy, dx))
    assert seen == set(windows)


def test_patch_as_large_as_the_image_is_not_moved(tmp_path):
    images = [np.random.default_rng(i).integers(0, 256, (16, 17, 1)).astype(np.uint8) for i in range(4)]
    moved = sampler(ArraySource(tmp_path, {"train": images}), patch_size=8, augment=False, subpixel_shifts=True)
    for high in np.concatenate([moved.batch(step)[1] for step in range(6)]):
        pixels = np.rint(high * 255)
        assert any(np.array_equal(pixels, image[:, left : left + 16]) for image in images for left in (0, 1))


def test_random_degradations_are_moved_too(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 1)).astype(np.uint8)
    degradation = degradations.make(2, degradation="xray(photons=1e12, electronic=0)")
    moved = sampler(
        ArraySource(tmp_path, {"train": [image]}), degradation=degradation, augment=False, subpixel_shifts=True
    )
    starts = set()
    for high in np.concatenate([moved.batch(step)[1] for step in range(6)]):
        windows = np.lib.stride_tricks.sliding_window_view(image[..., 0], high.shape[:2])
        y, x = np.argwhere((windows == np.rint(high * 255)[..., 0]).all((2, 3)))[0]
        starts.add((y % 2, x % 2))
    assert len(starts) == 4


def test_fields_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match="--device_data and --subpixel_shifts cannot be combined; use --data_workers"):
        Config(subpixel_shifts=True, device_data=True)
    with pytest.raises(InputError, match="--subpixel_shifts moves patches by less than a pixel"):
        Config(subpixel_shifts=True, scale=1, degradation="through_plane", model="plain/num_filters=8,num_layers=2")
    assert Config(subpixel_shifts=True).key != Config().key
