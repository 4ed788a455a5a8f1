"""Training with another library under Keras than TensorFlow: the file that comes out is the same kind of file."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from tiny_network import picture

from tfmisr import models

pytestmark = [pytest.mark.large]

RUN = """
import sys
import numpy as np
from synthetic import ArraySource, smooth_images
from tfmisr import config, models, upscalers
from tfmisr.training import loop

folder = sys.argv[1]
images = {split: smooth_images(4, 64, i) for i, split in enumerate(("train", "validation", "test"))}
chosen = config.Config(
    model="resnet6/num_filters=8,num_blocks=1", scale=2, patch_size=16, batch_size=4, steps=40, save_every=20,
    validate_every=20, ema_decay=0.5, loss="charbonnier + 0.1*ssim", workdir=folder + "/run",
)
path = loop.train(chosen, ArraySource(__import__("pathlib").Path(folder), images))
np.save(folder + "/sr.npy", upscalers.load(str(path))(np.load(folder + "/lr.npy"), 2))
"""


def run(command, folder, backend):
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join([".", "tests"])}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=600)


def test_network_trained_with_jax_is_the_same_network_in_tensorflow(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    np.save(tmp_path / "lr.npy", picture(24, 20))
    done = run(["-c", RUN, str(tmp_path)], tmp_path, "jax")
    assert done.returncode == 0, done.stderr[-2000:]
    network = models.load(tmp_path / "run")
    lr, by_jax = np.load(tmp_path / "lr.npy"), np.load(tmp_path / "sr.npy")
    np.testing.assert_allclose(np.asarray(network(lr[None], training=False))[0], by_jax, atol=1e-5)
    untrained = models.create("resnet6/num_filters=8,num_blocks=1", 2)
    assert np.abs(np.asarray(untrained(lr[None], training=False))[0] - by_jax).max() > 1e-3
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert len(rows) == 3


ADVERSARIAL_RUNS = """
import json, pathlib, sys
import keras
from synthetic import ArraySource, smooth_images
from tfmisr.models.discriminators import dcgan, patch
from tfmisr.training import cycle
from training_runs import cut_run, equal

dcgan.build.__defaults__ = patch.build.__defaults__ = (1, 4)
cycle.degradation_model.__defaults__ = (1, 4, 1)
folder = pathlib.Path(sys.argv[1])
images = {"train": smooth_images(12, 64, 0), "validation": smooth_images(4, 64, 1)}
for name, fields in json.loads(sys.argv[2]).items():
    assert equal(*cut_run(fields, ArraySource(folder / name, images), folder / name)), name
"""
_FIELDS = {
    "model": "resnet6/num_filters=4,num_blocks=1",
    "scale": 2,
    "patch_size": 8,
    "batch_size": 2,
    "steps": 6,
    "save_every": 3,
    "validate_every": 6,
}
_GAN = {"discriminator": "dcgan", "mixed_precision": "mixed_float16", "ema_decay": 0.9, "spectral_normalization": True}
_CYCLE = {"unpaired": True, "discriminator": "patch", "mixed_precision": "mixed_bfloat16", "image_pool": 4}


def test_gans_train_with_jax_and_resume_bit_for_bit(tmp_path):
    """S-20, S-27: float16 with averaged weights, and CycleGAN with its pools in bfloat16, by the training loop."""
    pytest.importorskip("jax", reason="JAX is not installed")
    runs = {"gan": {**_FIELDS, **_GAN}, "cycle": {**_FIELDS, **_CYCLE}}
    done = run(["-c", ADVERSARIAL_RUNS, str(tmp_path), json.dumps(runs)], tmp_path, "jax")
    assert done.returncode == 0, done.stderr[-2000:]
    for name in runs:
        network = models.load(tmp_path / name / "cut" / "model.keras")
        assert all(np.isfinite(weight).all() for weight in network.get_weights())
        assert network.get_layer("output_conv").get_weights()[0].any()
        rows = (tmp_path / name / "cut" / "history.csv").read_text().splitlines()
        assert len(rows) == 3 and rows == (tmp_path / name / "whole" / "history.csv").read_text().splitlines()


@pytest.mark.parametrize("flags", [["--distribute", "mirrored"]])
def test_what_only_tensorflow_can_do_is_told_at_once(tmp_path, flags):
    pytest.importorskip("jax", reason="JAX is not installed")
    done = run(["-m", "tfmisr.fit", *flags, "--workdir", str(tmp_path / "run")], tmp_path, "jax")
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    assert "needs KERAS_BACKEND=tensorflow. Received: jax" in done.stderr.splitlines()[-1]


def test_export_with_jax_says_what_to_do(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    models.create("resnet6/num_filters=8,num_blocks=1", 2).save(tmp_path / "m.keras")
    done = run(["-m", "tfmisr.export", str(tmp_path / "m.keras"), "--output", str(tmp_path / "out")], tmp_path, "jax")
    assert done.returncode == 2 and "run this with KERAS_BACKEND=tensorflow" in done.stderr
    assert not (tmp_path / "out").exists()
