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
        backend = keras.backend.backend()
        if backend == "jax":
            import jax

            return self._assigned_by(jax.jit(self._next))
        assign = self._assigned_by(self._next)
        if backend != "tensorflow":
            return assign
        import tensorflow as tf

        return tf.function(assign)

    def _next(self, step, averages, weights):
        """Returns the count of steps and the averages after a step, as tensors."""
        step = step + 1
        done = ops.cast(step, "float32")
        rate = 1.0 - ops.minimum(self.decay, (1.0 + done) / (10.0 + done))
        return step, [average + rate * (weight - average) for average, weight in zip(averages, weights, strict=True)]

    def _assigned_by(self, function):
        def assign():
            averages = [average.value for average in self.average]
            step, averages = function(self.step.value, averages, self._weight_values())
            for variable, value in zip(self.variables, [*averages, step], strict=True):
                variable.assign(value)

        return assign

    def _weight_values(self):
        state = self._jax_state()
        if state is None:
            return [weight.value for weight in self.weights]
        positions = {id(variable): i for i, variable in enumerate(self.model.trainable_variables)}
        return [state[positions[id(weight)]] for weight in self.weights]

    def _jax_state(self):
        """Returns the values of the model's trainable variables where these are out of date; otherwise `None`.

        With JAX, Keras keeps the values of a running epoch outside of the variables. To assign all of them takes longer
        than the average, and Keras has to collect them again for the next step.
        """
        if keras.backend.backend() != "jax":
            return None
        state = getattr(self.model, "_jax_state", None)
        if state is None:  # the attribute is no part of Keras's interface
            self.model.jax_state_sync()
            return None
        return state["trainable_variables"]

    def on_train_batch_end(self, batch, logs=None):
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
