"""Unpaired training: its batches, its pool, its losses, and runs of it."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from synthetic import ArraySource, smooth_images
from training_runs import cut_run, equal, mirrored_weights

from tfmisr import config, degradations, fit, losses, models, upscale
from tfmisr.config.fields import Config
from tfmisr.data import pipeline
from tfmisr.edge import images
from tfmisr.edge.dihedral import apply_dihedral
from tfmisr.edge.errors import InputError
from tfmisr.models.discriminators import patch
from tfmisr.training import cycle, image_pool, metrics, run_directory, unpaired

TINY = {
    **{k: v for k, v in config.preset("cyclegan").items() if k != "epochs"},
    "model": "edsr/num_filters=4,num_blocks=1",
    "scale": 2,
    "patch_size": 8,
    "batch_size": 2,
    "image_pool": 4,
    "steps": 6,
    "save_every": 3,
    "validate_every": 6,
}


@pytest.fixture(autouse=True)
def few_filters(monkeypatch):
    monkeypatch.setattr(patch.build, "__defaults__", (1, 4))
    monkeypatch.setattr(cycle.degradation_model, "__defaults__", (1, 4, 1))


def lr_source(folder, side=32, channels=1, count=6):
    """Low-resolution images of their own, of another brightness than the others."""
    pixels = [(image // 2).repeat(channels, 2) for image in smooth_images(count, side, 9)]
    return ArraySource(folder / "lr", {"train": pixels})


def sampler(source, lr=None, **fields):
    chosen = Config(**{**TINY, **fields})
    return unpaired.sampler(chosen, source, lr, degradations.of(chosen.identity()))


def test_halves_share_no_patient(tmp_path):
    class Pairs(ArraySource):
        def examples(self, split):
            for i, example in enumerate(super().examples(split)):
                yield {**example, "patient": 100 + i // 3}

    source = Pairs(tmp_path, {"train": smooth_images(9, 32, 0)})
    cache = pipeline.cache_of(source, "train")
    even, odd = unpaired.halves(cache)
    assert (sorted(set(even.patients)), sorted(set(odd.patients))) == ([100, 102], [101])
    assert sorted(even.ids + odd.ids) == sorted(cache.ids)
    np.testing.assert_array_equal(odd[1], cache[4])


def test_batch_is_a_pure_function_of_seed_and_step(tiny_source):
    one, other = sampler(tiny_source), sampler(tiny_source)
    other.batch(0)
    for a, b in zip(one.batch(5), other.batch(5), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b, c in zip(one.batch(5), one.batch(6), sampler(tiny_source, seed=1).batch(5), strict=True):
        assert not np.array_equal(a, b) and not np.array_equal(a, c)


def test_images_of_the_two_sides_come_from_other_patients(tmp_path):
    # Every image has one value of its own, which no reduction changes.
    source = ArraySource(tmp_path, {"train": [np.full((32, 32, 1), 10 * i, np.uint8) for i in range(10)]})
    patches = sampler(source, noise_std=0.0)
    lr, reduced, hr = (
        {int(v) for step in range(9) for v in np.rint(patches.batch(step)[i].mean((1, 2, 3)) * 255)} for i in range(3)
    )
    assert lr == {10, 30, 50, 70, 90} and reduced == hr == {0, 20, 40, 60, 80}


def test_reduced_images_are_the_bicubic_reductions_of_the_others(tmp_path):
    source = ArraySource(tmp_path, {"train": smooth_images(4, 16, 0)})
    _, reduced, hr = sampler(source, patch_size=8).batch(0)
    for small, large in zip(reduced, hr, strict=True):
        np.testing.assert_allclose(degradations.make(2)(large, 255), small, atol=1e-6)


def test_low_resolution_images_of_a_dataset_are_taken_as_they_are(tiny_source, tmp_path):
    own = lr_source(tmp_path, side=8)
    lr, _, hr = sampler(tiny_source, own).batch(0)
    turned = [apply_dihedral(image, way) / np.float32(255) for image in own.images["train"] for way in range(8)]
    assert all(any(np.array_equal(patch, image) for image in turned) for patch in lr)
    assert hr.shape == (2, 16, 16, 1)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"channels": 3}, r"must have images of 1 channel, as arrays has. Received: arrays with 3"),
        ({"side": 6}, "images must be at least 8x8 pixels for patch_size 8 at scale 1"),
    ],
)
def test_low_resolution_images_that_do_not_go_with_the_others_are_refused(tiny_source, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        sampler(tiny_source, lr_source(tmp_path, **change))


def test_one_patient_alone_cannot_be_halved(tmp_path):
    with pytest.raises(InputError, match="at least 2 patients"):
        sampler(ArraySource(tmp_path, {"train": smooth_images(1, 32, 0)}))


def test_untrained_degradation_model_is_the_mean_of_each_area():
    hr = np.random.default_rng(0).random((1, 12, 16, 1), np.float32)
    lr = cycle.degradation_model(4)(hr)
    np.testing.assert_allclose(lr[0, ..., 0], hr.reshape(3, 4, 4, 4).mean((1, 3)), atol=1e-6)


@pytest.mark.parametrize("scale", models.SCALES)
def test_first_convolution_of_the_degradation_model_is_centered_on_each_area(scale):
    network = cycle.degradation_model(scale)
    kernel = network.get_layer("reduce_conv").kernel
    inner = keras.Model(network.input, network.get_layer("reduce_conv").output)
    kernel.assign(np.ones(kernel.shape))
    place = np.arange(6 * scale, dtype=np.float32)  # a ramp: the mean of a window is the place of its centre
    ramp = np.broadcast_to(place[None, :, None], (6 * scale, 6 * scale, 1))[None]
    found = np.asarray(inner(ramp))[0, 2, :, 0] / kernel.shape[0] ** 2
    np.testing.assert_allclose(found[1:-1], (np.arange(1, 5) + 0.5) * scale - 0.5, rtol=1e-5)


def pool_steps(count, seed=0, size=4, batch=2):
    """Shows a pool images that are all of the value of their number; returns what it gives and keeps."""
    pool = image_pool.ImagePool(size, (1, 1, 1), seed)
    given, exchange = [], tf.function(pool.exchange)
    for step in range(count):
        new = np.arange(step * batch, (step + 1) * batch, dtype=np.float32).reshape(-1, 1, 1, 1)
        given.append(np.ravel(exchange(tf.constant(new), tf.constant(step, tf.int64))))
    return np.array(given), np.ravel(pool.images.numpy())


def test_pool_gives_new_images_until_it_is_full():
    given, kept = pool_steps(2)
    np.testing.assert_array_equal(given, [[0, 1], [2, 3]])
    np.testing.assert_array_equal(kept, [0, 1, 2, 3])


def test_pool_gives_an_old_image_half_of_the_time_and_loses_none():
    given, kept = pool_steps(300)
    new = np.arange(600).reshape(300, 2)
    old = given[2:] != new[2:]
    assert 0.43 < old.mean() < 0.57  # 596 coins: 3.4 standard deviations
    assert (given[2:][old] < new[2:][old]).all()
    # Each image was given at once, or is kept and will be given once: those given twice are the first four alone.
    values, times = np.unique(np.concatenate([given.ravel(), kept]), return_counts=True)
    np.testing.assert_array_equal(values, np.arange(600))
    assert times.sum() == 604 and set(values[times == 2]) <= set(range(600))


def test_pool_is_a_pure_function_of_seed_and_step():
    np.testing.assert_array_equal(pool_steps(20, seed=2**32 - 1)[0], pool_steps(20, seed=2**32 - 1)[0])
    assert not np.array_equal(pool_steps(20)[0], pool_steps(20, seed=1)[0])


def repeating(scale=2):
    low = keras.Input((None, None, 1))
    return keras.Model(low, keras.layers.UpSampling2D(scale)(low))


def averaging(scale=2):
    high = keras.Input((None, None, 1))
    return keras.Model(high, keras.layers.AveragePooling2D(scale)(high))


def constant_logit(value):
    image = keras.Input((None, None, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    dense = keras.layers.Dense(1, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(value))
    return keras.Model(image, [pooled, dense(pooled)])


def test_losses_by_hand():
    networks = (repeating(), averaging(), constant_logit(0.25), constant_logit(-1.0))
    trainer = cycle.CycleGAN(*networks, 2.0, 10.0, 5.0, adversarial_loss="lsgan")
    adam = [keras.optimizers.Adam(), keras.optimizers.Adam()]
    trainer.compile(*adam, losses.get("mae", reduction="none"), metrics.psnr())
    lr = np.full((1, 4, 4, 1), 0.5, np.float32)
    hr = np.tile(np.float32([[0, 1], [0, 1]]), (4, 4))[None, ..., None]
    reduced = np.full((1, 4, 4, 1), 0.75, np.float32)
    _, found = trainer.losses_of(*map(tf.constant, (lr, reduced, hr)), training=False)
    found = {name: float(value) for name, value in found.items()}
    # Repeated and averaged, LR is itself; averaged and repeated, every stripe of HR is 0.5.
    assert found["cycle_lr"] == pytest.approx(0.0, abs=1e-6) and found["cycle_hr"] == pytest.approx(0.5)
    # 0.75 is 0.75 from 0 and 0.25 from 1, and the even LR stays itself when it is enlarged and averaged.
    assert found["identity"] == pytest.approx(0.5, abs=1e-6)
    assert found["adversarial"] == pytest.approx(0.75**2 + 2.0**2)
    assert found["loss"] == pytest.approx(2 * (0.75**2 + 4) + 10 * 0.5 + 5 * 0.5, rel=1e-5)
    judged = trainer._discriminator_losses((hr, lr), (hr, lr), training=False)
    assert float(judged["discriminator"]) == pytest.approx(0.5 * (0.75**2 + 0.25**2) + 0.5 * (4 + 1))


def test_unpaired_run_goes_on_bit_for_bit_from_a_pool_that_is_full(tiny_source, tmp_path):
    whole, cut = cut_run({**TINY, "ema_decay": 0.9}, tiny_source, tmp_path, lr_source=lr_source(tmp_path))
    assert equal(whole, cut)
    states = []
    for name in ("whole", "cut"):
        with np.load(tmp_path / name / "checkpoints" / "step-00000006.npz") as state:
            states.append({key: state[key] for key in state.files})
    assert {"pool_hr/00000", "pool_lr/00000", "step/00000", "degrader/00000"} <= set(states[0])
    assert states[0]["pool_hr/00000"].shape == (4, 16, 16, 1) and states[0]["pool_hr/00000"].any((1, 2, 3)).all()
    for key, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][key], err_msg=key)
    header = (tmp_path / "whole" / "history.csv").read_text().splitlines()[0]
    assert {"cycle_lr", "cycle_hr", "identity", "val_psnr", "val_cycle_lr"} <= set(header.split(","))


@pytest.mark.large
@pytest.mark.parametrize(
    "fields",
    [
        {"mixed_precision": "mixed_float16"},
        {"adversarial_loss": "relativistic"},
        {"spectral_normalization": True, "r1_weight": 1.0, "r1_interval": 2},
    ],
)
def test_variants_of_unpaired_runs_go_on_bit_for_bit(tiny_source, tmp_path, fields):
    whole, cut = cut_run({**TINY, **fields}, tiny_source, tmp_path)
    assert equal(whole, cut)


@pytest.mark.large
def test_two_devices_give_the_state_of_one_pools_included(tmp_path):
    one, two = mirrored_weights({**TINY, "optimizer": "sgd", "batch_size": 4, "image_pool": 8}, tmp_path)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


def test_other_low_resolution_images_are_another_run(tiny_source, tmp_path):
    chosen = Config(**{**TINY, "steps": 3}, lr_dataset="lr", workdir=str(tmp_path / "run"))
    run_directory.initialize_run_directory(chosen.folder, chosen, tiny_source, lr_source(tmp_path / "a"))
    (chosen.folder / "model.keras").touch()
    run_directory.initialize_run_directory(chosen.folder, chosen, tiny_source, lr_source(tmp_path / "b"))
    with pytest.raises(InputError, match="another configuration: lr_data is"):
        run_directory.initialize_run_directory(chosen.folder, chosen, tiny_source, lr_source(tmp_path / "c", count=7))


@pytest.mark.parametrize(
    "fields,message",
    [
        ({"image_pool": 1}, "image_pool must be 0 or at least batch_size. Received: 1"),
        ({"cycle_weight": -1.0}, "cycle_weight must not be negative"),
        ({"discriminator": None, "adversarial_loss": "vanilla"}, "--unpaired needs --discriminator"),
        ({"feature_discriminator": "srfeat"}, "--feature_discriminator needs paired images"),
        ({"unpaired": False, "lr_dataset": "scans"}, "--lr_dataset needs --unpaired, or --preset cyclegan"),
    ],
)
def test_mistake_is_told_in_one_line(fields, message):
    with pytest.raises(InputError, match=message):
        Config(**{**TINY, **fields})


def folder_of(path, pixels):
    for i, image in enumerate(pixels):
        target = path / f"patient{i:02d}" / "image.png"
        target.parent.mkdir(parents=True)
        images.write_image(target, image, 255)
    return str(path)


@pytest.mark.large
def test_two_folders_become_a_judged_super_resolver(tmp_path, capsys):
    hr = folder_of(tmp_path / "hr", smooth_images(20, 64, 3))
    lr = folder_of(tmp_path / "lr", [image[::2, ::2] for image in smooth_images(20, 64, 4)])
    flags = ["--preset", "cyclegan", "--dataset", hr, "--lr_dataset", lr, "--data_dir", str(tmp_path / "data")]
    flags += ["--workdir", str(tmp_path / "run")]
    for name in ("model", "scale", "patch_size", "batch_size", "image_pool", "steps", "save_every", "validate_every"):
        flags += [f"--{name}", str(TINY[name])]
    fit.main(flags)
    judged = json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text())
    assert "run" in judged["models"]
    source = pathlib.Path(lr) / "patient00" / "image.png"
    upscale.main(["--model", str(tmp_path / "run"), str(source), "--output", str(tmp_path / "out.png")])
    assert images.read_images(tmp_path / "out.png")[0].pixels.shape[:2] == (64, 64)
