"""Tiny trainers of each kind, for the tests of training with JAX: the same weights and batches under any backend."""

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


def _plain():
    return gan.GAN(generator(), discriminator(), adversarial_weight=0.5, feature_matching_weight=0.5)


def _cycle():
    pools = {name: image_pool.ImagePool(4, (side, side, 1), 7) for name, side in (("pool_hr", 16), ("pool_lr", 8))}
    networks = (generator(), degradation(), discriminator(), discriminator())
    return cycle.CycleGAN(*networks, adversarial_loss="lsgan", r1_weight=1.0, r1_interval=1, pools=pools)


TRAINERS = {"two": _two, "accumulated": _plain, "plain": _plain, "cycle": _cycle}


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


def batches(name, start=0):
    """Yields the batches of the steps from `start` on, each a pure function of its step."""
    sides = (8, 8, 16) if name == "cycle" else (8, 16)
    for i in range(start, 10**6):
        rng = np.random.default_rng(i)
        yield tuple(rng.random((2, side, side, 1), np.float32) for side in sides)


class Recorder(keras.callbacks.Callback):
    """Keeps the logs of each step."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def on_train_batch_end(self, batch, logs=None):
        self.rows.append({key: float(value) for key, value in logs.items()})


def fit(trainer, name, steps=STEPS, callbacks=None, data=None):
    """Trains with Keras's `fit`."""
    data = batches(name) if data is None else data
    trainer.fit(data, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False, callbacks=callbacks)


def state(trainer):
    """Returns the variables of a trainer by group, as in a checkpoint."""
    return {"network": trainer.generators[0].variables, "optimizer": trainer.optimizer.variables, **trainer.state()}


def values(groups):
    """Returns the values of variables by group and place."""
    return {f"{group}/{i}": v.numpy() for group, variables in groups.items() for i, v in enumerate(variables)}


def train(name):
    """Returns a trainer after some steps, and its state, running means of losses in each step, and averaged weights."""
    trainer, recorder = created(name, keras.backend.backend() == "jax"), Recorder()
    average = averaging.WeightAverage(trainer.generators[0], 0.9)
    fit(trainer, name, callbacks=[recorder, average])
    found = {f"log/{i}/{key}": value for i, row in enumerate(recorder.rows) for key, value in row.items()}
    return trainer, found | values({**state(trainer), "average": average.variables})


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
