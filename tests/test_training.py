"""Runs that are cut off and go on, GANs, averages, precision and strategies."""

import argparse
import csv
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from training_runs import needs_muon

from tfmisr import models
from tfmisr.config.fields import Config
from tfmisr.edge.errors import InputError, Terminated
from tfmisr.training import callbacks, checkpoints, loop, run_directory

ROOT = pathlib.Path(__file__).resolve().parent.parent
CNN = {"model": "cnn5", "scale": 2, "patch_size": 8, "batch_size": 4, "steps": 12, "save_every": 4, "validate_every": 4}
GAN = {**CNN, "model": "resnet6", "discriminator": "dcgan", "feature_matching_weight": 0.1, "ema_decay": 0.9}


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """The paper's networks with few filters: the code is the same, the tests are fast."""
    for name in ("cnn5", "resnet6"):
        module, arguments = models.module(name)
        monkeypatch.setitem(module.VARIANTS, "baseline", {**arguments, "num_filters": 8})
    from tfmisr.models.discriminators import dcgan

    monkeypatch.setattr(dcgan.build, "__defaults__", (1, 8))


def weights(path) -> list[np.ndarray]:
    return models.load(path).get_weights()


def equal(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


class Cut(Exception):
    pass


def cut_after(monkeypatch, step):
    """Lets the process die, as by `kill -9`, when that checkpoint has been written."""
    save = checkpoints.save

    def save_and_die(folder, done, groups, **kwargs):
        save(folder, done, groups, **kwargs)
        if done == step:
            raise Cut

    monkeypatch.setattr(checkpoints, "save", save_and_die)


@pytest.mark.parametrize(
    "fields",
    [
        CNN,
        {**CNN, "ema_decay": 0.9, "optimizer": "sgd"},
        pytest.param({**CNN, "optimizer": "muon"}, marks=needs_muon),
        {**CNN, "gradient_accumulation_steps": 3, "noise_std": 0.05},
        GAN,
        {**GAN, "mixed_precision": "mixed_float16"},
    ],
    ids=["cnn", "ema", "muon", "accumulation", "gan", "gan_float16"],
)
def test_run_that_was_cut_off_ends_with_the_weights_of_one_that_was_not(tiny_source, tmp_path, monkeypatch, fields):
    whole = loop.train(Config(**fields, workdir=str(tmp_path / "whole")), tiny_source)
    config = Config(**fields, workdir=str(tmp_path / "cut"))
    with monkeypatch.context() as patch, pytest.raises(Cut):
        cut_after(patch, 8)
        loop.train(config, tiny_source)
    assert equal(whole, loop.train(config, tiny_source))
    histories = [(tmp_path / name / "history.csv").read_text() for name in ("whole", "cut")]
    assert histories[0] == histories[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize("fields", [CNN, GAN], ids=["cnn", "gan"])
def test_sigterm_keeps_the_step_where_it_came(tiny_source, tmp_path, monkeypatch, fields):
    whole = loop.train(Config(**fields, workdir=str(tmp_path / "whole")), tiny_source)
    config = Config(**fields, workdir=str(tmp_path / "cut"))
    count, handler = callbacks.StepCounter.on_train_batch_end, signal.getsignal(signal.SIGTERM)

    def terminate(self, batch, logs=None):
        count(self, batch, logs)
        if self.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Terminated, match="SIGTERM at step 6"):
        patch.setattr(callbacks.StepCounter, "on_train_batch_end", terminate)
        loop.train(config, tiny_source)
    assert checkpoints._steps(tmp_path / "cut" / "checkpoints") == [4, 6]
    assert signal.getsignal(signal.SIGTERM) == handler
    assert equal(whole, loop.train(config, tiny_source))
    with open(tmp_path / "cut" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["4", "8", "12"] and all(row["val_psnr"] for row in rows)


def test_weights_depend_on_the_seed(tiny_source, tmp_path):
    paths = [
        loop.train(Config(**{**CNN, "steps": 4}, seed=seed, workdir=str(tmp_path / name)), tiny_source)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert equal(paths[0], paths[1])
    assert not equal(paths[0], paths[2])


def test_steps_that_are_no_multiple_of_save_every_are_all_done(tiny_source, tmp_path):
    loop.train(Config(**{**CNN, "steps": 10}, workdir=str(tmp_path / "run")), tiny_source)
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["4", "8", "10"]
    assert rows[-1]["val_psnr"]


def test_damaged_last_checkpoint_falls_back_to_the_one_before(tiny_source, tmp_path, monkeypatch, capsys):
    whole = loop.train(Config(**CNN, workdir=str(tmp_path / "whole")), tiny_source)
    config = Config(**CNN, workdir=str(tmp_path / "cut"))
    with monkeypatch.context() as patch, pytest.raises(Cut):
        cut_after(patch, 8)
        loop.train(config, tiny_source)
    last = tmp_path / "cut" / "checkpoints" / "step-00000008.npz"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 255
    last.write_bytes(content)
    assert equal(whole, loop.train(config, tiny_source))
    assert "going back to the one before" in capsys.readouterr().out


def test_run_whose_checkpoints_are_all_damaged_says_so(tiny_source, tmp_path):
    config = Config(**CNN, workdir=str(tmp_path / "run"))
    run_directory.initialize_run_directory(config.folder, config, tiny_source)
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "step-00000004.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match="every checkpoint .* is damaged"):
        loop.train(config, tiny_source)


def test_nan_stops_the_run_and_keeps_the_checkpoint_before_it(tiny_source, tmp_path):
    config = Config(
        **{**CNN, "learning_rate": 1e30, "save_every": 1, "validate_every": 1}, workdir=str(tmp_path / "run")
    )
    with pytest.raises(InputError, match="became (nan|inf|NaN or infinite) at step .*lower --learning_rate"):
        loop.train(config, tiny_source)
    found = sorted((tmp_path / "run" / "checkpoints").glob("*.npz"))
    assert found
    for path in found:
        with np.load(path) as state:
            assert all(np.isfinite(state[key]).all() for key in state.files)


def test_divergence_without_nan_stops_the_run(tiny_source, tmp_path):
    config = Config(**{**CNN, "learning_rate": 1e4, "warmup_steps": 0}, workdir=str(tmp_path / "run"))
    with pytest.raises(InputError, match=r"times that of the first step and the validation [\d.]+ dB below"):
        loop.train(config, tiny_source)
    assert not (tmp_path / "run" / "model.keras").exists()


@pytest.mark.parametrize("loss,psnr", [(50.0, -9.0), (1e6, -2.9), (1e6, 1.0)])
def test_high_loss_or_low_psnr_alone_is_no_divergence(loss, psnr):
    """GAN losses may rise, and a short run may not have reached the interpolation yet."""
    hr = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    check = callbacks.DivergenceCheck(callbacks.StepCounter(0), (hr[:, ::2, ::2], hr), 2)
    check.on_train_batch_end(0, {"loss": 1.0})
    check.on_train_batch_end(1, {"loss": loss})
    check.on_epoch_end(0, {"val_psnr": check.bicubic + psnr})
    check.on_train_batch_end(2, {"loss": 1e6})
    with pytest.raises(InputError, match="1,000,000 times"):
        check.on_epoch_end(0, {"val_psnr": check.bicubic - 3.1})


class _Loss:
    """A loss on a device: to read it waits for its step."""

    def __init__(self, value, read):
        self.value, self.read = value, read

    def __float__(self):
        self.read.append(self.value)
        return self.value


@pytest.mark.parametrize("event", ["on_test_begin", "on_epoch_end", "on_train_batch_end"])
def test_losses_of_a_gpu_are_read_some_steps_later_but_before_a_checkpoint(monkeypatch, event):
    """S-24: the host does not wait for each step; the step that is named is that of the loss, however late it is."""
    from tfmisr.training import callbacks

    monkeypatch.setattr(callbacks, "steps_behind", lambda: 3)
    counter, read = callbacks.StepCounter(10), []
    check = callbacks.DivergenceCheck(counter)
    for value in (1.0, 2.0, float("nan"), 4.0, 5.0):
        counter.on_train_batch_end(0)
        check.on_train_batch_end(0, {"loss": _Loss(value, read)})
    assert read == [1.0, 2.0]
    counter.on_train_batch_end(0)
    with pytest.raises(InputError, match="the loss became nan at step 13; the last checkpoint before it is kept"):
        getattr(check, event)(*([0] if event != "on_test_begin" else []), logs={"loss": _Loss(6.0, read)})
    assert 4.0 not in read


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    from tfmisr.training import callbacks

    weight = keras.Variable([1.0, 2.0])
    saver = callbacks.Checkpoints(tmp_path, callbacks.StepCounter(4), {"network": [weight]})
    saver.on_epoch_end(0)
    weight.assign([1.0, np.nan])
    saver.counter.step = 8
    with pytest.raises(InputError, match="a weight became NaN or infinite at step 8; the last checkpoint"):
        saver.on_epoch_end(1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000004.npz"]


def test_checkpoint_damaged_in_any_byte_is_passed_over_without_a_traceback(tmp_path, capsys):
    weight = keras.Variable(np.arange(6.0).reshape(2, 3))
    groups = {"network": [weight]}
    checkpoints.save(tmp_path, 4, groups)
    checkpoints.save(tmp_path, 8, groups)
    last = tmp_path / "step-00000008.npz"
    sound = last.read_bytes()
    for position in range(len(sound)):
        content = bytearray(sound)
        content[position] ^= 8 if position % 2 else 255
        last.write_bytes(content)
        assert checkpoints.restore(tmp_path, groups) in (4, 8)
        np.testing.assert_array_equal(weight.numpy(), np.arange(6.0).reshape(2, 3))


def test_pictures_of_tensorboard_are_made_with_the_averaged_weights(tiny_source, tmp_path, monkeypatch):
    from tfmisr.training import callbacks

    used = []

    class Spy(callbacks.TensorBoard):
        def on_test_end(self, logs=None):
            used.append(self.network.get_layer("output_conv").get_weights()[0])
            super().on_test_end(logs)

    monkeypatch.setattr(callbacks, "TensorBoard", Spy)
    path = loop.train(Config(**{**CNN, "ema_decay": 0.9}, workdir=str(tmp_path / "run")), tiny_source)
    np.testing.assert_array_equal(used[-1], models.load(path).get_layer("output_conv").get_weights()[0])


def test_workdir_of_another_configuration_is_refused_by_the_field(tiny_source, tmp_path):
    config = Config(**{**CNN, "steps": 4}, workdir=str(tmp_path / "run"))
    loop.train(config, tiny_source)
    with pytest.raises(InputError, match="scale is 2 there and 4 here"):
        loop.train(dataclasses.replace(config, scale=4), tiny_source)


def test_workdir_where_nothing_was_trained_takes_another_configuration(tiny_source, tmp_path):
    config = Config(**{**CNN, "steps": 4, "patch_size": 60}, workdir=str(tmp_path / "run"))
    with pytest.raises(InputError, match="--patch_size 32"):
        loop.train(config, tiny_source)
    loop.train(dataclasses.replace(config, patch_size=8), tiny_source)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["patch_size"] == 8


def test_config_of_a_workdir_that_is_no_object_is_told_in_one_line(tiny_source, tmp_path):
    config = Config(**{**CNN, "steps": 4}, workdir=str(tmp_path / "run"))
    loop.train(config, tiny_source)
    (tmp_path / "run" / "config.json").write_text("[1]")
    with pytest.raises(InputError, match="config.json cannot be read"):
        loop.train(config, tiny_source)


def test_run_without_a_train_split_says_what_is_needed(tmp_path):
    from synthetic import ArraySource, smooth_images

    source = ArraySource(tmp_path, {"test": smooth_images(1, 64, 0)})
    with pytest.raises(InputError, match="expected a train split in arrays, found only test"):
        loop.train(Config(**CNN, workdir=str(tmp_path / "run")), source)


def test_workdir_of_other_data_is_refused(tiny_source, tmp_path):
    config = Config(**{**CNN, "steps": 4}, workdir=str(tmp_path / "run"))
    loop.train(config, tiny_source)
    tiny_source.builder.info.splits["train"].num_examples = 13
    with pytest.raises(InputError, match="another configuration: data is"):
        loop.train(config, tiny_source)


def test_config_of_a_run_repeats_it(tiny_source, tmp_path):
    from tfmisr import config as configuration

    first = Config(**{**CNN, "steps": 4}, workdir=str(tmp_path / "run"))
    path = loop.train(first, tiny_source)
    fields = configuration.read(tmp_path / "run" / "config.json")
    again = configuration.from_dict({**fields, "workdir": str(tmp_path / "again")}, "file")
    assert equal(path, loop.train(again, tiny_source))


def test_run_of_an_earlier_version_goes_on_without_a_warm_up(tiny_source, tmp_path):
    from tfmisr import config as configuration

    fields, folder = {**CNN, "steps": 8}, tmp_path / "cut"
    whole = loop.train(Config(**fields, auto_warmup=False, workdir=str(tmp_path / "whole")), tiny_source)
    loop.train(Config(**fields, auto_warmup=False, workdir=str(folder)), tiny_source, until=4)
    written = json.loads((folder / "config.json").read_text())
    del written["auto_warmup"]
    (folder / "config.json").write_text(json.dumps(written))
    again = configuration.parse(argparse.Namespace(**fields, workdir=str(folder)))
    assert equal(whole, loop.train(again, tiny_source))
    with pytest.raises(InputError, match="auto_warmup is False there and True here"):
        loop.train(Config(**fields, workdir=str(folder)), tiny_source)


def test_few_steps_do_not_end_below_the_interpolation_that_the_network_begins_at(tiny_source, tmp_path):
    from tfmisr import degradations, metrics
    from tfmisr.data import exact_images, pipeline
    from tfmisr.edge.resize import upscale

    def psnr(name, **fields):
        fields = {**CNN, "steps": 4, "learning_rate": 0.01, **fields}
        loop.train(Config(**fields, workdir=str(tmp_path / name)), tiny_source)
        with open(tmp_path / name / "history.csv", newline="") as file:
            return float(list(csv.DictReader(file))[-1]["val_psnr"])

    lr, hr = exact_images.validation_crops(pipeline.cache_of(tiny_source, "validation"), 2, degradations.make(2), 4, 64)
    bicubic = np.mean([metrics.psnr(b, np.clip(upscale(a, 2), 0, 1), 1.0) for a, b in zip(lr, hr, strict=True)])
    assert psnr("warm") > bicubic - 0.05 > psnr("cold", auto_warmup=False) + 0.5


@pytest.mark.parametrize("steps,moved", [(3, False), (4, True)])
def test_gradient_accumulation_updates_after_its_steps_and_not_before(tiny_source, tmp_path, steps, moved):
    fields = {**CNN, "steps": steps, "optimizer": "sgd", "schedule": "constant", "gradient_accumulation_steps": 4}
    network = models.load(loop.train(Config(**fields, workdir=str(tmp_path / "run")), tiny_source))
    assert bool(np.abs(network.get_layer("output_conv").get_weights()[0]).max() > 0) is moved


def test_learning_rate_falls_over_the_whole_run_also_under_accumulation(tiny_source, tmp_path):
    fields = {**CNN, "schedule": "linear", "auto_warmup": False, "gradient_accumulation_steps": 2}
    loop.train(Config(**fields, workdir=str(tmp_path / "run")), tiny_source)
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(rates, [1e-3 * 8 / 12, 1e-3 * 4 / 12, 0.0], atol=1e-9)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("fields", [CNN, GAN], ids=["cnn", "gan"])
def test_mixed_precision_trains_and_is_written_in_float32(tiny_source, tmp_path, fields, policy):
    config = Config(**{**fields, "steps": 8}, mixed_precision=policy, workdir=str(tmp_path / "run"))
    network = models.load(loop.train(config, tiny_source))
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert np.abs(network.get_layer("output_conv").get_weights()[0]).max() > 0


def test_both_optimizers_of_a_gan_scale_their_loss_in_float16(tiny_source):
    from tfmisr import losses
    from tfmisr.models import discriminators
    from tfmisr.training import gan, metrics

    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = gan.GAN(models.create("resnet6", 2), discriminators.create("dcgan"))
        adam = [keras.optimizers.Adam(), keras.optimizers.Adam()]
        model.compile(*adam, losses.get("mae", reduction="none"), metrics.psnr())
        optimizers = (model.optimizer, model.discriminator_optimizer)
        assert [type(o).__name__ for o in optimizers] == ["LossScaleOptimizer"] * 2
        assert all(o.built for o in optimizers)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def test_average_of_constant_weights_is_those_weights():
    from tfmisr.training.averaging import WeightAverage

    network = models.create("cnn5", 2)
    average = WeightAverage(network, 0.9)
    before = network.get_weights()
    for weight in network.trainable_variables:
        weight.assign(weight + 1.0)
    average._update()  # the decay of the first step is 1.1 / 11 at most: (1 + 1) / (10 + 1)
    with average.applied():
        moved = network.trainable_variables[0].numpy() - before[0]
        np.testing.assert_allclose(moved, 9 / 11, rtol=1e-5)
    np.testing.assert_allclose(network.trainable_variables[0].numpy() - before[0], 1.0, rtol=1e-5)


def test_training_beats_bicubic(tiny_source, tmp_path):
    fields = {**CNN, "steps": 150, "save_every": 50, "validate_every": 50, "learning_rate": 3e-3}
    loop.train(Config(**fields, workdir=str(tmp_path / "run")), tiny_source)
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    from tfmisr import degradations
    from tfmisr.data import pipeline
    from tfmisr.edge.resize import upscale

    lr, hr = pipeline.validation_crops(pipeline.cache_of(tiny_source, "validation"), 2, degradations.make(2), 4, 64)
    errors = [np.mean((np.clip(upscale(a, 2), 0, 1) - b) ** 2) for a, b in zip(lr, hr, strict=True)]
    bicubic = float(np.mean(-10 * np.log10(errors)))
    assert float(rows[-1]["val_psnr"]) > bicubic + 0.5


MIRRORED = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1]))
sys.path.insert(0, {tests!r})
import pathlib
from synthetic import ArraySource, smooth_images
from tfmisr import models
from tfmisr.models.discriminators import dcgan
from tfmisr.config import Config
from tfmisr.training import loop
for name in ("cnn5", "resnet6"):
    models.module(name)[0].VARIANTS["baseline"]["num_filters"] = 8
dcgan.build.__defaults__ = (1, 8)
folder = pathlib.Path(sys.argv[2])
source = ArraySource(folder, {{"train": smooth_images(12, 64, 0), "validation": smooth_images(4, 64, 1)}})
loop.train(Config(**json.loads(sys.argv[3]), workdir=str(folder / "run")), source)
"""


@pytest.mark.large
@pytest.mark.parametrize("fields", [{**CNN, "optimizer": "sgd"}, {**GAN, "optimizer": "sgd"}], ids=["cnn", "gan"])
def test_two_devices_give_the_weights_of_one(tmp_path, fields):
    found = []
    for devices, distribute in ((1, "none"), (2, "mirrored")):
        folder = tmp_path / str(devices)
        script = MIRRORED.format(tests=str(ROOT / "tests"))
        arguments = [str(devices), str(folder), json.dumps({**fields, "distribute": distribute})]
        subprocess.run([sys.executable, "-c", script, *arguments], check=True, cwd=ROOT)
        found.append(weights(folder / "run"))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)


@pytest.mark.large
@pytest.mark.parametrize("preset", ["paper_cnn5", "paper_gan"])
def test_command_killed_by_sigkill_goes_on_to_the_same_weights(tmp_path, phantoms, preset):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    flags = ["--preset", preset, "--dataset", "chest_phantom", "--data_dir", phantoms, "--steps", "16"]
    flags += ["--patch_size", "8", "--batch_size", "4", "--save_every", "2", "--validate_every", "8"]
    command = [sys.executable, "-m", "tfmisr.fit", *flags, "--workdir"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, cwd=ROOT, env=environment)
    process = subprocess.Popen([*command, str(tmp_path / "killed")], cwd=ROOT, env=environment)
    folder = tmp_path / "killed" / "checkpoints"
    while len(list(folder.glob("step-*.npz"))) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.keras").exists()
    subprocess.run([*command, str(tmp_path / "killed")], check=True, cwd=ROOT, env=environment)
    assert equal(tmp_path / "whole" / "model.keras", tmp_path / "killed" / "model.keras")
