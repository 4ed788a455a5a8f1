"""Training with another library under Keras than TensorFlow: the file that comes out is the same kind of file."""

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


@pytest.mark.parametrize("flags", [["--preset", "paper_gan"], ["--distribute", "mirrored"]])
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
