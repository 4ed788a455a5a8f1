"""What a training step needs of TensorFlow; see `tfmisr.training.backends`.

Keras with TensorFlow updates variables in place, in a replica context of the distribution strategy.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf


def run(trainer: keras.Model, step: Callable, data: tuple) -> dict:
    """Returns `step(data)`, the logs: variables are updated in place."""
    return step(data)


def gradients(trainer: keras.Model, function: Callable, *groups: Sequence[keras.Variable]) -> tuple:
    """Returns what a function returns, and the gradient of each of its losses by the variables of one group.

    Args:
        trainer: The model that is trained.
        function: Function without arguments that returns any outputs, and a list of losses, one per group.
        *groups: Variables of each loss.

    Returns:
        The outputs, and a list of gradients for each group. All come from one forward pass.
    """
    with tf.GradientTape(persistent=len(groups) > 1) as tape:
        outputs, losses = function()
    return outputs, [tape.gradient(loss, group) for loss, group in zip(losses, groups, strict=True)]


def apply(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]
) -> None:
    """Updates the variables, for which the optimizer was built, by the gradients of a scaled loss."""
    optimizer.apply_gradients(zip(gradients, variables, strict=True))


def input_gradient(function: Callable, images: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of a scalar function of `images` by `images`; it can be differentiated again."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = function(images)
    return tape.gradient(total, images)


def num_replicas() -> int:
    """Returns over how many replicas Keras sums the gradients."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_mean(x: tf.Tensor) -> tf.Tensor:
    """Returns the mean of a tensor over all replicas."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return x
    return replica.all_reduce(tf.distribute.ReduceOp.MEAN, x)


def gathered(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | int]:
    """Returns the images of all replicas, `(global batch, height, width, channels)`, and where this replica's start."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return images, 0
    return replica.all_gather(images, axis=0), replica.replica_id_in_sync_group * tf.shape(images)[0]


def uniform(seed: int, step: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """Returns `count` uniform random numbers in [0, 1), float32, a pure function of the integers `seed` and `step`."""
    return tf.random.stateless_uniform((count,), tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)]))
