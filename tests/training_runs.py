"""Runs that are cut off and go on, and runs on two devices, for the tests of training."""

import json
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfmisr import models
from tfmisr.config.fields import Config
from tfmisr.training import loop

ROOT = pathlib.Path(__file__).resolve().parent.parent
needs_muon = pytest.mark.skipif(
    not hasattr(keras.optimizers.Muon, "lr_adjust"), reason="Keras 3.12 has a Muon that TensorFlow cannot run"
)


def weights(path) -> list[np.ndarray]:
    """Returns the weights of a run's network."""
    return models.load(path).get_weights()


def equal(a, b) -> bool:
    """Returns whether two networks have the same weights, bit for bit."""
    return all(np.array_equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def cut_run(fields, source, folder, step=3, **sources):
    """Trains, then once more from the checkpoint of `step`, as after `kill -9`; returns both `model.keras`."""
    whole = loop.train(Config(**fields, workdir=str(folder / "whole")), source, **sources)
    killed = pathlib.Path(shutil.copytree(folder / "whole", folder / "cut"))
    (killed / "model.keras").unlink()
    for path in (killed / "checkpoints").iterdir():
        if path.name != f"step-{step:08d}.npz":
            path.unlink()
    assert len(list((killed / "checkpoints").iterdir())) == 1
    return whole, loop.train(Config(**fields, workdir=str(killed)), source, **sources)


_MIRRORED = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1]))
sys.path.insert(0, {tests!r})
import pathlib
from synthetic import ArraySource, smooth_images
from tfmisr.models.discriminators import dcgan, patch, srfeat
from tfmisr.config import Config
from tfmisr.training import loop
dcgan.build.__defaults__ = patch.build.__defaults__ = (1, 4)
srfeat.build.__defaults__ = (512, 4, 8)
folder = pathlib.Path(sys.argv[2])
source = ArraySource(folder, {{"train": smooth_images(12, 64, 0), "validation": smooth_images(4, 64, 1)}})
loop.train(Config(**json.loads(sys.argv[3]), workdir=str(folder / "run")), source)
"""


def mirrored_weights(fields, folder) -> list[list[np.ndarray]]:
    """Returns a run's state on one device and on two: all arrays of its last checkpoint."""
    found = []
    for devices, distribute in ((1, "none"), (2, "mirrored")):
        own = folder / str(devices)
        script = _MIRRORED.format(tests=str(ROOT / "tests"))
        arguments = [str(devices), str(own), json.dumps({**fields, "distribute": distribute})]
        subprocess.run([sys.executable, "-c", script, *arguments], check=True, cwd=ROOT)
        last = max((own / "run" / "checkpoints").glob("step-*.npz"))
        with np.load(last) as state:
            found.append([state[key] for key in sorted(state.files)])
    return found
