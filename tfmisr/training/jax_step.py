"""What a training step needs of JAX; see `tfmisr.training.backends`.

Keras with JAX passes the values of all variables into a step and takes the new ones from it
(https://keras.io/guides/custom_train_step_in_jax). Inside the step, a `keras.StatelessScope` holds them: variables are
read and assigned as with TensorFlow, and nothing but the scope changes. Under `keras.distribution` the arrays of a
step are global: a mean is the mean of the global batch, and no replica needs another one's images.
"""

from collections.abc import Callable, Sequence

import jax
import keras

from tfmisr.training.philox import uniform

__all__ = ["apply", "gathered", "gradients", "input_gradient", "num_replicas", "replica_mean", "run", "uniform"]


def run(trainer: keras.Model, step: Callable, state: tuple[list, ...], data: tuple) -> tuple[dict, tuple[list, ...]]:
    """Calls `step(data)` on a state.

    Args:
        trainer: The model that is trained.
        step: Function of a batch that assigns variables and returns the logs.
        state: Values of the trainable, the other, in training the optimizer's, and the metrics' variables.
        data: The batch.

    Returns:
        The logs, and the new state.
    """
    groups = [trainer.trainable_variables, trainer.non_trainable_variables, trainer.metrics_variables]
    if len(state) == 4:
        groups.insert(2, trainer.optimizer.variables)
    pairs = zip(groups, state, strict=True)
    mapping = [pair for variables, values in pairs for pair in zip(variables, values, strict=True)]
    with keras.StatelessScope(mapping) as scope:
        logs = step(data)
    return logs, tuple([scope.get_current_value(variable) for variable in variables] for variables in groups)


class _Constants(keras.StatelessScope):
    """A scope in which assigned values have no gradient, as the values of variables of TensorFlow have none.

    Otherwise a gradient would pass from the R1 penalty, which uses the statistics of batch normalization, through their
    update to the weights before it.
    """

    def add_update(self, update):
        variable, value = update
        super().add_update((variable, jax.lax.stop_gradient(value)))


def gradients(trainer: keras.Model, function: Callable, *groups: Sequence[keras.Variable]) -> tuple:
    """Returns what a function returns, and the gradient of each of its losses by the variables of one group.

    The function is traced once per group, because a common pass backwards would add zero times the gradient of the
    other losses, and a loss that overflows would spoil them. XLA merges the equal passes forwards.

    Args:
        trainer: The model that is trained.
        function: Function without arguments that returns any outputs, and a list of losses, one per group.
        *groups: Variables of each loss.

    Returns:
        The outputs, and a list of gradients for each group.
    """
    others = [*trainer.non_trainable_variables, *trainer.optimizer.variables]
    mapping = [(variable, variable.value) for variable in (*trainer.trainable_variables, *others)]

    def loss(values, i):
        with _Constants([*mapping, *zip(groups[i], values, strict=True)]) as scope:
            outputs, losses = function()
        return losses[i], (outputs, [scope.get_current_value(variable) for variable in others])

    found = []
    for i, group in enumerate(groups):
        gradient, (outputs, updated) = jax.grad(loss, has_aux=True)([variable.value for variable in group], i)
        found.append(gradient)
    # Such as the statistics of batch normalization.
    _assign(others, updated)
    return outputs, found


def apply(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[jax.Array], variables: Sequence[keras.Variable]
) -> None:
    """Updates the variables, for which the optimizer was built, by the gradients of a scaled loss."""
    state = [variable.value for variable in optimizer.variables]
    values, state = optimizer.stateless_apply(state, gradients, [variable.value for variable in variables])
    _assign([*variables, *optimizer.variables], [*values, *state])


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def input_gradient(function: Callable, images: jax.Array) -> jax.Array:
    """Returns the gradient of a scalar function of `images` by `images`; it can be differentiated again."""
    return jax.grad(function)(images)


def num_replicas() -> int:
    """Returns 1: gradients are those of the global batch."""
    return 1


def replica_mean(x: jax.Array) -> jax.Array:
    """Returns `x`, which is of the global batch."""
    return x


def gathered(images: jax.Array) -> tuple[jax.Array, int]:
    """Returns the images, which are those of the global batch, and 0, where they start."""
    return images, 0
