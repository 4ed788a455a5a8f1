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


def batch_size(x: tf.Tensor) -> tf.Tensor:
    """Returns the length of the first axis, as a tensor."""
    return tf.shape(x)[0]


def num_replicas() -> int:
    """Returns over how many replicas Keras sums the gradients."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_mean(x: tf.Tensor) -> tf.Tensor:
    """Returns the mean of a tensor over all replicas."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return x
    return replica.all_reduce(tf.distribute.ReduceOp.MEAN, x)


def exchange(pool: tf.Tensor, seed: int, images: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Exchanges images with those of a pool; see `tfmisr.training.image_pool.ImagePool`.

    Args:
        pool: The pool's images, `(size, height, width, channels)`.
        seed: Seed of the draws.
        images: New images of this replica, `(batch, height, width, channels)`.
        step: Steps that were done: int64 scalar.

    Returns:
        The images for the discriminator, like `images`, and the pool's images afterwards.
    """
    new, start = _gathered(images)
    size, count = pool.shape[0], tf.shape(new)[0]
    slots, replaced = _draw(size, seed, count, step)
    old = tf.gather(pool, slots)
    replaced = replaced[:, None, None, None]
    exchanged = tf.where(replaced, old, new)
    pool = _kept(pool, slots, tf.where(replaced | _filling(size, count, step), new, old))
    return exchanged[start : start + tf.shape(images)[0]], pool


def _filling(size, count, step):
    return (step + 1) * tf.cast(count, tf.int64) <= size


def _draw(size, seed, count, step):
    """Returns a distinct slot of the pool for each image, and whether the slot's old image replaces it."""
    seed = tf.stack([tf.constant(seed, tf.int64), step])
    order = tf.argsort(tf.random.stateless_uniform((size,), seed), stable=True)[:count]
    coins = tf.random.stateless_uniform((count,), -1 - seed) < 0.5
    filling = _filling(size, count, step)
    free = tf.cast(step, tf.int32) * count + tf.range(count)
    return tf.where(filling, free, order), coins & ~filling


def _kept(pool, slots, images):
    # Gathering instead of scattering, whose order is not deterministic on a GPU.
    matches = slots[None, :] == tf.range(pool.shape[0])[:, None]
    new = tf.gather(images, tf.argmax(tf.cast(matches, tf.int32), axis=1))
    written = tf.reduce_any(matches, axis=1)[:, None, None, None]
    return tf.where(written, new, pool)


def _gathered(images):
    """Returns the images of all replicas, whose pools are the same, and where this replica's start."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return images, 0
    gathered = replica.all_gather(images, axis=0)
    return gathered, replica.replica_id_in_sync_group * tf.shape(images)[0]
