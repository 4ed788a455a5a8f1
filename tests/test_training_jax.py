"""S-20 and S-27: every trainer takes the same steps with JAX as with TensorFlow, and needs no TensorFlow for it."""

import json
import os
import pathlib
import subprocess
import sys

import backend_trainers
import numpy as np
import pytest
import tensorflow as tf
from shared import once

from tfmisr.config.fields import Config
from tfmisr.edge.errors import InputError
from tfmisr.training import backends, loop

pytestmark = [pytest.mark.large]
TESTS = pathlib.Path(__file__).resolve().parent


def _checked(folder):
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": paths}
    # To import TensorFlow raises ImportError, as where it is not installed.
    script = "import sys; sys.modules['tensorflow'] = None; import jax_checks; jax_checks.main(sys.argv[1])"
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def checked(tmp_path_factory) -> pathlib.Path:
    """The folder that `jax_checks.py` wrote."""
    pytest.importorskip("jax", reason="JAX is not installed")
    return once(tmp_path_factory, "jax_checks", _checked)


@pytest.mark.parametrize("name", ["two", "cycle", "accumulated", "quantized"])
def test_steps_with_jax_are_those_with_tensorflow(checked, name):
    """S-20: losses, weights, statistics, both optimizers, average and pools after some steps, from the same weights.

    Two discriminators with spectral normalization and lazy R1; CycleGAN with R1 and pools that are full; gradient
    accumulation of two optimizers with feature matching; quantization-aware training.
    """
    found = backend_trainers.train_quantized() if name == "quantized" else backend_trainers.train(name)[1]
    with np.load(checked / f"{name}.npz") as by_jax:
        assert set(by_jax.files) == set(found)
        for key, value in found.items():
            np.testing.assert_allclose(by_jax[key], value, rtol=1e-5, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("check", ["resume two", "resume cycle", "accumulation", "divergence", "waiting", "overflow"])
def test_check_in_a_process_without_tensorflow_passes(checked, check):
    """S-20: resume, gradient accumulation, divergence; S-24: no wait in each step; S-27: overflow of an optimizer."""
    assert json.loads((checked / "checks.json").read_text())[check] == ""


def test_pool_draws_the_numbers_of_tensorflow():
    """S-20: the random numbers of CycleGAN's image pool are the same under both."""
    pytest.importorskip("jax", reason="JAX is not installed")
    from tfmisr.training import philox

    for seed in (0, 42, 2**32 - 1, -1, -43, -(2**32)):
        for step in (0, 1, 1000, 2**31 - 1, -1, -1001, -(2**31)):
            expected = tf.random.stateless_uniform((6,), tf.constant([seed, step], tf.int64))
            np.testing.assert_array_equal(philox.uniform(seed, np.int32(step), 6), expected)


def test_other_backends_are_refused_by_name(monkeypatch):
    """S-20: training of GANs is refused with a backend that has no step."""
    monkeypatch.setattr("keras.backend.backend", lambda: "torch")
    with pytest.raises(InputError, match="--discriminator needs KERAS_BACKEND=tensorflow or jax. Received: torch"):
        loop.check_backend(Config(discriminator="dcgan"))
    with pytest.raises(InputError, match="needs KERAS_BACKEND=tensorflow or jax. Received: torch"):
        backends.adapter()
