"""Muon's steps, against singular values worked out by NumPy, and Adam's where an image is read or made."""

import csv

import keras
import numpy as np
import pytest
from training_runs import needs_muon

from tfmisr import models
from tfmisr.config.fields import Config
from tfmisr.edge.errors import InputError
from tfmisr.training import loop, optimizers

RATE = 1e-3


def step_of(optimizer, variable, *gradients):
    """Returns what the last of some steps takes away from a variable."""
    optimizer.build([variable])
    for gradient in gradients:
        before = variable.numpy()
        optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    return before - variable.numpy()


def orthogonal(matrix, iterations=5):
    """Returns the matrix with its singular values led to about 1 by the polynomial of Jordan et al."""
    u, s, v = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    s = s / np.linalg.norm(s)
    for _ in range(iterations):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u * s @ v


@needs_muon
@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (1, 1, 6, 24), (20, 12)], ids=["conv", "wide", "dense"])
def test_step_of_a_kernel_has_all_directions_of_its_matrix(shape):
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    kernel = keras.Variable(np.zeros(shape, np.float32), name="kernel")
    found = step_of(optimizers.Muon(RATE, momentum=0.9), kernel, first, second)
    momentum = 0.9 * first + second  # and Nesterov's look ahead
    matrix = (second + 0.9 * momentum).reshape(-1, shape[-1])
    expected = RATE * 0.2 * np.sqrt(max(matrix.shape)) * orthogonal(matrix)
    np.testing.assert_allclose(found.reshape(matrix.shape), expected, atol=2e-3 * np.abs(expected).max())


@needs_muon
@pytest.mark.parametrize("name", ["conv1/kernel", "output_conv/kernel", "conv2/bias"])
def test_layers_of_the_image_and_biases_take_adams_first_step(name):
    network = models.create("plain/num_filters=8,num_layers=2", 2, 1)
    variable = next(v for v in network.trainable_variables if v.path == name)
    gradient = np.random.default_rng(0).normal(size=variable.shape).astype(np.float32)
    found = step_of(optimizers.Muon(RATE), variable, gradient)
    np.testing.assert_allclose(found, RATE * np.sign(gradient), rtol=1e-3)


@needs_muon
def test_without_gradient_nothing_decays():
    kernel = keras.Variable(np.ones((3, 3, 8, 8), np.float32), name="kernel")
    assert np.abs(step_of(optimizers.Muon(RATE), kernel, np.zeros((3, 3, 8, 8), np.float32))).max() < 1e-6


@needs_muon
def test_a_run_with_muon_learns(tiny_source, tmp_path):
    fields = {"model": "plain/num_filters=16,num_layers=4", "scale": 2, "patch_size": 16, "batch_size": 8}
    config = Config(
        **fields, steps=60, save_every=20, validate_every=20, optimizer="muon", auto_warmup=False, workdir=str(tmp_path)
    )
    loop.train(config, tiny_source)
    with open(tmp_path / "history.csv", encoding="utf-8") as file:
        psnr = [float(row["val_psnr"]) for row in csv.DictReader(file)]
    assert psnr == sorted(psnr) and psnr[-1] > psnr[0] + 0.1


def test_older_keras_is_told(monkeypatch):
    monkeypatch.delattr(keras.optimizers.Muon, "lr_adjust", raising=False)
    with pytest.raises(InputError, match="optimizer muon needs Keras 3.13 or later, which needs Python 3.11"):
        optimizers.Muon(RATE)
