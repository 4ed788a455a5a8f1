"""Exponential moving average of a network's weights."""

import contextlib
from collections.abc import Iterator

import keras
from keras import ops


class WeightAverage(keras.callbacks.Callback):
    """Keeps `average = decay * average + (1 - decay) * weight` for each trainable weight, updated every step.

    In the first steps the decay is at most `(1 + step) / (10 + step)`, so that the initial weights are soon forgotten.
    The average of Keras belongs to the one optimizer of a model and cannot be combined with loss scaling or a GAN. The
    statistics of batch normalization, which are averages themselves, are not averaged again.

    Args:
        network: The network whose weights are averaged.
        decay: Decay per step, in [0, 1).
    """

    def __init__(self, network: keras.Model, decay: float):
        super().__init__()
        self.network, self.decay = network, decay
        self.weights = network.trainable_variables
        self.average = [
            keras.Variable(w.numpy(), trainable=False, name=f"average_{i}") for i, w in enumerate(self.weights)
        ]
        self.step = keras.Variable(0, dtype="int32", trainable=False, name="average_step")
        self._update = self._compiled()

    @property
    def variables(self) -> list:
        """The averages and the count of steps, for a checkpoint."""
        return [*self.average, self.step]

    def _compiled(self):
        if keras.backend.backend() != "tensorflow":
            return self._assign
        import tensorflow as tf

        return tf.function(self._assign)

    def _assign(self):
        self.step.assign(self.step.value + 1)
        step = ops.cast(self.step.value, "float32")
        rate = 1.0 - ops.minimum(self.decay, (1.0 + step) / (10.0 + step))
        for average, weight in zip(self.average, self.weights, strict=True):
            average.assign(average.value + rate * (weight.value - average.value))

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # with JAX, Keras updates the variables only when asked to
        self._update()

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Gives the network the averaged weights while the block runs, then its trained weights again."""
        trained = [weight.numpy() for weight in self.weights]
        self._assign_all([average.numpy() for average in self.average])
        try:
            yield
        finally:
            self._assign_all(trained)

    def _assign_all(self, values):
        for weight, value in zip(self.weights, values, strict=True):
            weight.assign(value)

    def on_test_begin(self, logs=None):
        self._applied = self.applied()
        self._applied.__enter__()

    def on_test_end(self, logs=None):
        self._applied.__exit__(None, None, None)
