"""Patches: aligned, drawn anew each epoch, and a pure function of (seed, step)."""

import numpy as np
import pytest
from synthetic import ArraySource

from tfmisr import degradations
from tfmisr.data import pipeline, pixel_cache
from tfmisr.edge.dihedral import apply_dihedral
from tfmisr.edge.errors import InputError


def sampler(source, scale=2, **kwargs):
    kwargs = {"patch_size": 8, "batch_size": 6, **kwargs}
    degradation = kwargs.pop("degradation", degradations.make(scale))
    return pipeline.PatchSampler(pipeline.cache_of(source, "train"), scale, degradation, **kwargs)


def test_batch_is_a_pure_function_of_seed_and_step(tiny_source):
    one, other = sampler(tiny_source, seed=3), sampler(tiny_source, seed=3)
    other.batch(0)
    for a, b in zip(one.batch(5), other.batch(5), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.batch(5)[0], one.batch(6)[0])
    assert not np.array_equal(one.batch(5)[0], sampler(tiny_source, seed=4).batch(5)[0])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_patches_of_both_resolutions_show_the_same_place(tmp_path, scale):
    # Every HR block of scale x scale pixels has one value, so LR by exact block means is HR itself, smaller.
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (20, 26, 1)).astype(np.uint8).repeat(scale, 0).repeat(scale, 1) for _ in range(3)]

    class Mean:
        random = False

        def __call__(self, image, rng):
            return image[::scale, ::scale]

    source = ArraySource(tmp_path, {"train": images})
    patches = sampler(source, scale, degradation=degradations.Degradation((Mean(),)))
    for step in range(5):
        lr, hr = patches.batch(step)
        np.testing.assert_allclose(hr, lr.repeat(scale, 1).repeat(scale, 2), atol=1e-6)


def test_every_image_comes_up_once_in_an_epoch(tmp_path):
    images = [np.full((32, 32, 1), value, np.uint8) for value in range(0, 250, 10)]
    patches = sampler(ArraySource(tmp_path, {"train": images}), batch_size=5, patch_size=16)
    for epoch in range(2):
        values = [v for step in range(5) for v in patches.batch(epoch * 5 + step)[1].mean((1, 2, 3))]
        np.testing.assert_allclose(sorted(values), np.arange(0, 250, 10) / 255, atol=1e-6)


def test_order_changes_with_the_epoch(tmp_path):
    images = [np.full((32, 32, 1), value, np.uint8) for value in range(0, 250, 10)]
    patches = sampler(ArraySource(tmp_path, {"train": images}), batch_size=25, patch_size=16)
    first, second = (patches.batch(step)[1].mean((1, 2, 3)) for step in range(2))
    assert not np.array_equal(first, second)


def test_augmentation_gives_all_eight_orientations():
    image = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    ways = {apply_dihedral(image, way).tobytes() + bytes(apply_dihedral(image, way).shape[:1]) for way in range(8)}
    assert len(ways) == 8


def test_noise_is_drawn_for_each_patch_and_repeats_with_the_step(tiny_source):
    noisy = sampler(tiny_source, degradation=degradations.make(2, noise_std=0.05, quantize_lr=False))
    plain = sampler(tiny_source, degradation=degradations.make(2, quantize_lr=False))
    again = sampler(tiny_source, degradation=degradations.make(2, noise_std=0.05, quantize_lr=False))
    np.testing.assert_array_equal(noisy.batch(3)[0], again.batch(3)[0])
    assert noisy.batch(3)[0].shape == plain.batch(3)[0].shape
    assert not np.array_equal(noisy.batch(3)[0], plain.batch(3)[0])


def test_16_bit_images_keep_their_levels(tmp_path):
    images = [np.random.default_rng(0).integers(0, 65536, (40, 40, 1)).astype(np.uint16)]
    _, hr = sampler(ArraySource(tmp_path, {"train": images}), batch_size=1, augment=False).batch(0)
    levels = hr * 65535
    np.testing.assert_allclose(levels, np.rint(levels), atol=0.01)
    assert len(np.unique(np.rint(levels))) > 250


def test_cache_is_decoded_once(tiny_source, monkeypatch):
    pipeline.cache_of(tiny_source, "train")
    monkeypatch.setattr(tiny_source, "examples", None)
    cache = pipeline.cache_of(tiny_source, "train")
    np.testing.assert_array_equal(cache[3], tiny_source.images["train"][3])


def test_cache_that_breaks_off_leaves_nothing(tiny_source, monkeypatch):
    def broken(split):
        yield {"hr": tiny_source.images["train"][0], "max_val": 255, "id": "a", "patient": 0}
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space") as caught:
        patch.setattr(tiny_source, "examples", broken)
        pipeline.cache_of(tiny_source, "train")
    assert str(tiny_source.folder) in caught.value.filename
    assert list((tiny_source.folder / "tfmisr_pixels").iterdir()) == []
    assert len(pipeline.cache_of(tiny_source, "train")) == 12


def test_image_smaller_than_a_patch_is_named_with_a_size_that_would_do(tmp_path):
    images = [np.zeros((64, 64, 1), np.uint8), np.zeros((30, 64, 1), np.uint8)]
    with pytest.raises(InputError, match="at least 48x48 .* train_1 with 30x64 .*--patch_size 15"):
        sampler(ArraySource(tmp_path, {"train": images}), patch_size=24)


def test_empty_split_is_an_error(tmp_path):
    source = ArraySource(tmp_path, {"train": [np.zeros((8, 8, 1), np.uint8)]})
    source.images["train"] = []
    with pytest.raises(InputError, match="expected images in the train split"):
        pipeline.cache_of(source, "train")


def test_training_data_starts_at_the_step_it_is_told(tiny_source):
    patches = sampler(tiny_source)
    batches = list(pipeline.training_data(patches, 3, 6).as_numpy_iterator())
    assert len(batches) == 3
    for step, (lr, hr) in enumerate(batches, 3):
        np.testing.assert_array_equal(lr, patches.batch(step)[0])
        np.testing.assert_array_equal(hr, patches.batch(step)[1])


def test_judged_pairs_do_not_depend_on_their_order(tiny_source):
    degradation = degradations.make(2, noise_std=0.05)
    cache = pipeline.cache_of(tiny_source, "test")
    by_name = {name: lr for name, _, _, lr, _ in pipeline.pairs(cache, 2, degradation)}
    (name, _, _, lr, _) = next(pipeline.pairs(cache, 2, degradation, [2]))
    np.testing.assert_array_equal(lr, by_name[name])


def test_high_resolution_is_cut_to_a_multiple_of_the_scale(tmp_path):
    source = ArraySource(tmp_path, {"test": [np.zeros((37, 50, 1), np.uint8)]})
    _, _, _, lr, hr = next(pipeline.pairs(pipeline.cache_of(source, "test"), 4, degradations.make(4)))
    assert hr.shape == (36, 48, 1)
    assert lr.shape == (9, 12, 1)


def test_validation_crops_are_central_and_aligned(tmp_path):
    image = np.zeros((64, 64, 1), np.uint8)
    image[16:48, 16:48] = 200
    source = ArraySource(tmp_path, {"validation": [image]})
    lr, hr = pipeline.validation_crops(pipeline.cache_of(source, "validation"), 4, degradations.make(4), 8, 32)
    assert lr.shape == (1, 8, 8, 1)
    assert hr.shape == (1, 32, 32, 1)
    np.testing.assert_allclose(hr, 200 / 255)


def test_noise_of_training_and_of_judging_are_one_degradation():
    hr = np.zeros((32, 32, 1), np.float32)
    hr[:, 16:] = 1.0  # bicubic overshoots on both sides
    degradation = degradations.make(2, noise_std=0.05)
    once, rest = degradation.split()
    in_two = rest(once(hr, 255), 255, np.random.default_rng(0))
    np.testing.assert_array_equal(in_two, degradation(hr, 255, np.random.default_rng(0)))


def test_cache_that_another_process_finished_first_is_taken(tiny_source, monkeypatch):
    examples = tiny_source.examples

    def overtaken(split):
        monkeypatch.setattr(tiny_source, "examples", examples)
        pipeline.cache_of(tiny_source, split)
        yield from examples(split)

    monkeypatch.setattr(tiny_source, "examples", overtaken)
    monkeypatch.setattr(pixel_cache.os, "getpid", iter(range(1, 100)).__next__)
    assert len(pipeline.cache_of(tiny_source, "train")) == 12
    names = sorted(path.name for path in (tiny_source.folder / "tfmisr_pixels").iterdir())
    assert names == ["source.json", "train"]


def test_what_a_killed_decoding_left_goes_after_a_day(tiny_source):
    import os
    import time

    old, new = (tiny_source.folder / "tfmisr_pixels" / name for name in (".train.1", ".train.2"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 90_000,) * 2)
    pipeline.cache_of(tiny_source, "train")
    assert not old.exists()
    assert new.exists()


def spotted(tmp_path):
    """Flat images of 96x96 with one checkered square of 8x8 in the third quarter."""
    image = np.full((96, 96, 1), 100, np.uint8)
    image[56:64, 60:68] = 50 + 150 * (np.indices((8, 8)).sum(0) % 2)[..., None]
    return ArraySource(tmp_path, {"train": [image] * 3})


def share_with_the_spot(patches, steps=60):
    shown = [np.ptp(hr) > 0.1 for step in range(steps) for hr in patches.batch(step)[1]]
    return np.mean(shown)


def test_hard_patches_are_where_interpolation_loses_most(tmp_path):
    source = spotted(tmp_path)
    assert share_with_the_spot(sampler(source, hard_patches=1.0)) > 0.95
    # Of 41 x 41 places of a 16x16 patch, counted in steps of two pixels, 12 x 12 show some of the spot.
    assert share_with_the_spot(sampler(source)) == pytest.approx(0.09, abs=0.06)
    assert share_with_the_spot(sampler(source, hard_patches=0.5)) == pytest.approx(0.55, abs=0.1)


def test_hard_patches_are_aligned_and_inside_the_image_and_the_same_for_the_same_step(tmp_path):
    patches = sampler(spotted(tmp_path), 2, hard_patches=1.0, patch_size=11)
    for step in range(20):
        lr, hr = patches.batch(step)
        assert lr.shape == (6, 11, 11, 1) and hr.shape == (6, 22, 22, 1)
        np.testing.assert_allclose(lr.mean((1, 2)), hr.mean((1, 2)), atol=0.02)
        np.testing.assert_array_equal(lr, patches.batch(step)[0])


def test_flat_images_have_no_hard_places_and_are_drawn_from_all_the_same(tmp_path):
    source = ArraySource(tmp_path, {"train": [np.full((32, 32, 1), value, np.uint8) for value in (0, 90, 255)]})
    lr, _ = sampler(source, hard_patches=1.0).batch(0)
    assert np.isfinite(lr).all()


def test_share_of_hard_patches_does_not_change_the_images_of_a_step(tmp_path):
    images = [np.full((32, 32, 1), value, np.uint8) for value in range(0, 250, 10)]
    source = ArraySource(tmp_path, {"train": images})
    evenly, hard = (sampler(source, hard_patches=share).batch(3)[1].mean((1, 2, 3)) for share in (0.0, 0.7))
    np.testing.assert_array_equal(evenly, hard)
