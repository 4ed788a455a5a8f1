"""Training of an uncertainty head: loss, data, resumption, refusals, and the packed file against the Keras network."""

import argparse
import csv
import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
from synthetic import ArraySource, smooth_images
from tiny_network import tiny_network, write_tflite
from training_runs import equal

from tfmisr import config, degradations, fit, models
from tfmisr.config import Config
from tfmisr.edge import card, resize, shipped, uncertainty
from tfmisr.edge import uncertainty_inputs as inputs
from tfmisr.edge.errors import InputError
from tfmisr.edge.upscaler import Upscaler
from tfmisr.inference import upscalers
from tfmisr.training import uncertainty as training
from tfmisr.training import uncertainty_data, uncertainty_network

FIELDS = {
    **config.uncertainty.RECIPE,
    "scale": 2,
    "patch_size": 12,
    "batch_size": 4,
    "steps": 6,
    "warmup_steps": 0,
    "save_every": 3,
    "validate_every": 3,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A `.tflite` file of a tiny network."""
    return write_tflite(tmp_path_factory.mktemp("model") / "tiny.tflite", tiny_network())


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    images = {"train": smooth_images(6, 48, 0), "validation": smooth_images(3, 48, 1)}
    return ArraySource(tmp_path_factory.mktemp("source"), images)


def train(model, source, folder, **fields):
    run = Config(**{**FIELDS, "uncertainty": str(model), "workdir": str(folder), **fields})
    return training.train(run, source, upscalers.load(str(model)))


@pytest.fixture(scope="module")
def run(model, source, tmp_path_factory):
    """The folder of a finished run of the command."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    small = ("patch_size", "batch_size", "steps", "warmup_steps", "save_every", "validate_every")
    flags = [flag for name in small for flag in (f"--{name}", str(FIELDS[name]))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfmisr.training.run_data.load", lambda *_: (source, None))
        printed = str(
            fit.run(fit._parser().parse_args(["--uncertainty", str(model), "--workdir", str(folder), *flags]))
        )
    assert "val_coverage" in printed and f"python -m tfmisr.export {folder}" in printed
    return folder


def test_pinball_loss_by_hand():
    """T-10: 0.9 of an excess and 0.1 of a surplus, in levels of 8 bits."""
    low, high = uncertainty_network.LOG_RANGE
    output = 2 * (math.log(4 / 255) - low) / (high - low) - 1  # s is 4 levels
    loss = uncertainty_network.PinballLoss()
    found = loss(np.array([[[[6.0]]], [[[1.0]]]]), np.full((2, 1, 1, 1), output))
    assert float(found) == pytest.approx((0.9 * 2 + 0.1 * 3) / 2, rel=1e-5)
    assert float(uncertainty_network.coverage(np.array([6.0, 1.0]), np.full(2, output))) == 0.5


def test_pinball_loss_is_least_at_the_quantile():
    """T-10: of all constants, the 0.9 quantile of the errors (Koenker and Bassett 1978) has the least loss."""
    low, high = uncertainty_network.LOG_RANGE
    errors = np.random.default_rng(0).gamma(1.5, 2.0, (1, 50, 50, 1)).astype(np.float32)
    sizes = np.linspace(1, 20, 96)
    outputs = 2 * (np.log(sizes / 255) - low) / (high - low) - 1
    losses = [float(uncertainty_network.PinballLoss()(errors, np.full_like(errors, each))) for each in outputs]
    assert sizes[np.argmin(losses)] == pytest.approx(np.quantile(errors, 0.9), abs=0.2)


def bicubic(scale):
    return Upscaler("bicubic", upscalers.load("bicubic").function, scale, 1, weights_sha256="0" * 64)


def test_batch_holds_the_final_image_and_its_error(tmp_path):
    """T-10: the image that is stored, rounded, and not the network's output; residual and error by hand."""
    source = ArraySource(tmp_path, {"train": smooth_images(2, 48, 0)})
    made = uncertainty_data.Results(source, "train", bicubic(2), 2, degradations.make(2))
    lr = np.asarray(made.lr[1], np.float32) / 255
    interpolated = resize.upscale(lr, 2)
    assert np.abs(made.sr[1] - 255 * interpolated).max() <= 0.5 + 1e-3
    sampler = uncertainty_data.HeadSampler(made, 2, 8, 4, seed=0)
    patch, error = sampler.patch(1, 16, 0, 0)
    hr = source.images["train"][1].astype(float)
    expected = np.abs(hr - made.sr[1])[32:48, :16]
    np.testing.assert_allclose(error, inputs.space_to_depth(expected, 2), atol=1e-4)
    np.testing.assert_allclose(patch[..., 0], 2 * lr[16:24, :8, 0] - 1, atol=1e-6)
    rounding = (made.sr[1] / 255 - inputs.interpolation.bicubic(lr, 2))[32:48, :16]
    np.testing.assert_allclose(patch[..., 1:], inputs.space_to_depth(16 * rounding, 2), atol=1e-5)


def test_batches_are_a_function_of_seed_and_step(tmp_path):
    source = ArraySource(tmp_path, {"train": smooth_images(5, 48, 0)})
    made = uncertainty_data.Results(source, "train", bicubic(2), 2, degradations.make(2))
    first, again, other = (uncertainty_data.HeadSampler(made, 2, 8, 4, seed) for seed in (0, 0, 1))
    (patches, context), errors = first.batch(3)
    assert patches.shape == (4, 8, 8, 5) and context.shape == (4, 1, 1, 17) and errors.shape == (4, 8, 8, 4)
    (same, _), _ = again.batch(3)
    (different, _), _ = other.batch(3)
    np.testing.assert_array_equal(patches, same)
    assert not np.array_equal(patches, different)


def test_run_leaves_what_other_runs_leave(run):
    """T-10: config.json, history.csv, checkpoints; and what the export needs."""
    with open(run / "history.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3", "6"] and float(rows[1]["val_loss"]) > 0
    assert json.loads((run / "config.json").read_text())["model"] == "uncertainty_head"
    assert (run / "checkpoints" / "step-00000006.npz").is_file() and (run / "calibration.npz").is_file()


def test_resumed_run_is_the_uninterrupted_one(model, source, run, tmp_path):
    """T-10: bit for bit, from the checkpoint of step 3."""
    cut = shutil.copytree(run, tmp_path / "cut")
    for name in ("model.keras", "head.json", "checkpoints/step-00000006.npz"):
        (cut / name).unlink()
    assert equal(run, train(model, source, cut)) and (cut / "head.json").read_text() == (run / "head.json").read_text()


def test_finished_run_of_another_model_is_refused(run, source, tmp_path):
    """The model is part of the run's identity by the hash of its weights."""
    other = write_tflite(tmp_path / "tiny.tflite", tiny_network(seed=1))
    with pytest.raises(InputError, match="uncertainty"):
        train(other, source, run)


def test_training_reduces_the_loss_below_the_best_constant(tmp_path):
    """T-10: s follows the error: images that are noise on one side and smooth on the other."""
    rng = np.random.default_rng(0)
    images = [np.full((48, 48, 1), 128, np.uint8) for _ in range(4)]
    for image in images:
        image[:, :24] += rng.integers(0, 24, (48, 24, 1), np.uint8)
    source = ArraySource(tmp_path, {"train": images})
    fields = {**FIELDS, "uncertainty": "fast-x2", "steps": 200, "save_every": 200, "validate_every": 200}
    run = Config(**{**fields, "learning_rate": 0.005, "workdir": str(tmp_path / "run")})
    folder = training.train(run, source, bicubic(2)).parent
    made = uncertainty_data.Results(source, "train", bicubic(2), 2, degradations.make(2))
    (patches, context), errors = uncertainty_data.HeadSampler(made, 2, 24, 4, seed=7).batch(0)
    loss, constant = uncertainty_network.PinballLoss(), np.quantile(errors, 0.9)
    low, high = uncertainty_network.LOG_RANGE
    output = np.full_like(errors, 2 * (np.log(constant / 255) - low) / (high - low) - 1)
    trained = models.load(folder)([patches, context], training=False)
    assert float(loss(errors, trained)) < 0.8 * float(loss(errors, output))


@pytest.fixture(scope="module")
def packed(run, tmp_path_factory):
    """The head's file, exported beside its model."""
    from tfmisr.export import __main__ as export

    output = tmp_path_factory.mktemp("packed")
    assert export.main([str(run), "--output", str(output), "--name", "mine"]) == 0
    return output / "mine.uncertainty.tflite"


def test_export_packs_head_and_model(packed, model):
    """T-10: the model's weights keep their hash, and both cards name the other file."""
    head, main = uncertainty.of(packed.with_name("mine.tflite")), card.read(packed.with_name("mine.tflite"))
    assert main["weights_sha256"] == card.read(model)["weights_sha256"] == head.card["model_sha256"]
    assert main["uncertainty"] == {"head": {"weights_sha256": head.card["weights_sha256"]}}
    assert head.card["training"]["dataset"] == "chest_phantom" and head.card["overlap"] == 8


def test_int8_file_gives_the_map_of_the_keras_network(packed, run, model, source):
    """T-10: int8 costs little: the map of the file is that of the network in float32, within some percent."""
    made = uncertainty_data.Results(source, "train", upscalers.load(str(model)), 2, degradations.make(2))
    lr, sr = (np.asarray(planes[0], np.float32) / 255 for planes in (made.lr, made.sr))
    head, described = uncertainty.Head(packed), json.loads((run / "head.json").read_text())["context"]
    context = inputs.standardized(inputs.statistics(lr, sr, 2), described["mean"], described["deviation"])
    values = inputs.network_input(lr, inputs.residual(lr, sr, 2), 2)
    output = np.asarray(models.load(run)([values[None], context[None, None, None]], training=False))[0]
    low, high = uncertainty_network.LOG_RANGE
    ratio = inputs.space_to_depth(head.scale_map(lr, sr), 2) / np.exp(low + (output + 1) / 2 * (high - low))
    assert np.abs(np.log(ratio)).mean() < 0.03


def test_export_of_a_head_refuses_another_model(run, tmp_path):
    from tfmisr.export import __main__ as export

    for file, message in ((shipped.path("fast-x2"), "was trained on tiny"), (run, "expected uncertainty_of")):
        with pytest.raises(InputError, match=message):
            export.run(
                argparse.Namespace(
                    **vars(export.parse([str(run), "--output", str(tmp_path / "new")])) | {"uncertainty_of": str(file)}
                )
            )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "mse"}, "its own loss"),
        ({"model": "espcn"}, "its own model"),
        ({"discriminator": "dcgan"}, "--discriminator cannot be combined"),
        ({"mixed_precision": "mixed_bfloat16"}, "--mixed_precision cannot be combined"),
    ],
)
def test_fields_that_a_head_does_not_have_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Config(**{**FIELDS, "uncertainty": "fast-x2", **fields})


def test_scale_and_kind_of_the_model_are_checked(source, tmp_path):
    run = Config(**{**FIELDS, "uncertainty": "fast-x4", "workdir": str(tmp_path / "run")})
    with pytest.raises(InputError, match="expected scale 4"):
        training.train(run, source, upscalers.load("fast-x4"))
    with pytest.raises(InputError, match="expected a model with weights"):
        training.train(run, source, upscalers.load("bicubic"))
    assert not (tmp_path / "run").exists()


def test_recipe_takes_scale_and_data_from_the_model(model, run, monkeypatch):
    """T-10: for a model that comes with tfmisr, a file, and a run."""
    shipped_recipe = config.uncertainty.recipe("fast-x2")
    assert shipped_recipe["scale"] == 2 and shipped_recipe["dataset"] == "chest_xray14/512"
    assert "dataset" not in config.uncertainty.recipe(model)
    monkeypatch.setattr(card, "read", lambda path: {"scale": 4, "training": {"degradation": "area", "seed": 3}})
    assert config.uncertainty.recipe("fast-x4")["degradation"] == "area"
    monkeypatch.undo()
    with pytest.raises(InputError, match="uncertainty must be a finished run"):
        config.uncertainty.recipe("no-such-run")


def test_run_names_of_other_runs_are_unchanged_and_the_model_enters_its_own():
    """The field enters the key only where it is set, by the hash of the weights, not by the path."""
    default = {**dataclasses.asdict(Config()), "uncertainty": None}
    assert Config(**default).key == Config().key and "uncertainty" not in Config().identity()
    keys = {Config(**{**FIELDS, "uncertainty": name}).key for name in ("fast-x2", str(shipped.path("fast-x2")))}
    assert len(keys) == 1 and Config(**{**FIELDS, "uncertainty": "balanced-x2"}).key not in keys
