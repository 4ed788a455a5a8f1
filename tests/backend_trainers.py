"""Tiny trainers of each kind, for the tests of training with JAX: the same weights and batches under any backend.

Run as a program with a folder and names of trainers, it writes what `train` returns of each to `NAME.npz`.
"""

import os
import pathlib
import sys

if os.environ.get("KERAS_BACKEND") == "jax":
    sys.modules["tensorflow"] = None  # as where it is not installed: to import it raises

import keras
import numpy as np

from tfmisr import layers, losses, quantization
from tfmisr.models import plain
from tfmisr.training import averaging, cycle, gan, image_pool, metrics, spectral

STEPS = 4


def generator(scale=2):
    """Returns a network of two convolutions that doubles an image."""
    low = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(low)
    return keras.Model(low, layers.DepthToSpace(scale, dtype="float32")(keras.layers.Conv2D(4, 3, padding="same")(x)))


def degradation():
    """Returns a network of a convolution that halves an image."""
    high = keras.Input((None, None, 1))
    return keras.Model(high, keras.layers.Conv2D(1, 2, 2, dtype="float32")(high))


def discriminator(channels=1):
    """Returns a discriminator with batch normalization, and logits of patches."""
    image = keras.Input((None, None, channels))
    x = keras.layers.Conv2D(4, 3, 2, padding="same")(image)
    x = keras.layers.LeakyReLU(0.2)(keras.layers.BatchNormalization(momentum=0.5)(x))
    return keras.Model(image, [x, keras.layers.Conv2D(1, 3, padding="same", dtype="float32")(x)])


def features():
    """Returns a frozen network of one convolution."""
    image = keras.Input((None, None, 1))
    network = keras.Model(image, keras.layers.Conv2D(3, 3, 2, padding="same", activation="relu")(image))
    network.trainable = False
    return network


def _two():
    network = features()
    trainer = gan.GAN(
        generator(),
        spectral.normalized(discriminator()),
        adversarial_weight=0.5,
        features=network,
        feature_discriminator=spectral.normalized(discriminator(3)),
        adversarial_loss="relativistic",
        r1_weight=1.0,
        r1_interval=2,
    )
    trainer.feature_networks = [network]
    return trainer


def _accumulated():
    return gan.GAN(generator(), discriminator(), adversarial_weight=0.5, feature_matching_weight=0.5)


def _cycle():
    pools = {name: image_pool.ImagePool(4, (side, side, 1), 7) for name, side in (("pool_hr", 16), ("pool_lr", 8))}
    networks = (generator(), degradation(), discriminator(), discriminator())
    return cycle.CycleGAN(*networks, adversarial_loss="lsgan", r1_weight=1.0, r1_interval=1, pools=pools)


TRAINERS = {"two": _two, "accumulated": _accumulated, "cycle": _cycle}


def sgd(name):
    """Returns an optimizer whose update is proportional to the gradient: rounding stays rounding."""
    return keras.optimizers.SGD(0.05, momentum=0.5, gradient_accumulation_steps=2 if name == "accumulated" else None)


def created(name, jit_compile=False):
    """Returns a compiled trainer with weights that depend on nothing but its name."""
    trainer = TRAINERS[name]()
    rng = np.random.default_rng(len(name))
    for variable in trainer.variables:
        if variable.name in ("kernel", "direction"):
            variable.assign(rng.normal(0, 0.4, variable.shape))
    trainer.compile(sgd(name), sgd(name), losses.get("mae", reduction="none"), metrics.psnr(), jit_compile)
    return trainer


def batches(name):
    """Yields batches without end, each a pure function of its place."""
    sides = (8, 8, 16) if name == "cycle" else (8, 16)
    for i in range(10**6):
        rng = np.random.default_rng(i)
        yield tuple(rng.random((2, side, side, 1), np.float32) for side in sides)


class Recorder(keras.callbacks.Callback):
    """Keeps the logs of each step."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def on_train_batch_end(self, batch, logs=None):
        self.rows.append({key: float(value) for key, value in logs.items()})


def fit(trainer, name, steps=STEPS, callbacks=(), data=None):
    """Trains with Keras's `fit`."""
    data = batches(name) if data is None else data
    trainer.fit(data, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False, callbacks=list(callbacks))


def train(name):
    """Returns the state after some steps, the running means of the losses in each, and the averaged weights."""
    compiled = keras.backend.backend() == "jax"
    trainer, recorder = created(name, compiled), Recorder()
    average = averaging.WeightAverage(trainer.generators[0], 0.9)
    fit(trainer, name, callbacks=[recorder, average])
    found = {f"log/{i}/{key}": value for i, row in enumerate(recorder.rows) for key, value in row.items()}
    groups = {"generators": [v for network in trainer.generators for v in network.variables], **trainer.state()}
    groups |= {"optimizer": trainer.optimizer.variables, "average": average.variables}
    for group, variables in groups.items():
        found |= {f"{group}/{i}": variable.numpy() for i, variable in enumerate(variables)}
    return found


def train_quantized():
    """Returns the weights of a fake-quantized network after two steps."""
    network = quantization.clip_activations(plain.build(2, 1, num_filters=4, num_layers=2))
    rng = np.random.default_rng(3)
    for variable in network.variables:
        variable.assign(rng.normal(0, 0.2, variable.shape))
    trained = quantization.fake_quantize(network)
    trained.compile(keras.optimizers.SGD(0.01), losses.get("mae"), jit_compile=keras.backend.backend() == "jax")
    trained.optimizer.build(network.trainable_variables)
    fit(trained, "plain", 2)
    return {str(i): variable.numpy() for i, variable in enumerate(network.variables)}


if __name__ == "__main__":
    for name in sys.argv[2:]:
        found = train_quantized() if name == "quantized" else train(name)
        np.savez(pathlib.Path(sys.argv[1]) / f"{name}.npz", **found)
