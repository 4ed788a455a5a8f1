"""Gradient penalties of a discriminator."""

import keras
import tensorflow as tf


def r1(discriminator: keras.Model, images: tf.Tensor, factor: float = 1.0) -> tf.Tensor:
    """Returns R1: the mean over real images of the squared norm of the gradient of the logit by the pixels.

    Batch normalization uses its running statistics here, so that the gradient of an image does not depend on the
    others. A patch discriminator's logits are averaged over each image.

    Args:
        discriminator: Network with the outputs of `tfmisr.models.discriminators.create`.
        images: Real images, `(batch, height, width, channels)`.
        factor: Scale of the gradient during its computation, against underflow in float16; it cancels in the result.

    Reference:
        Mescheder et al., Which Training Methods for GANs do actually Converge?, ICML 2018,
        https://arxiv.org/abs/1801.04406
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = tf.cast(discriminator(images, training=False)[-1], tf.float32)
        # Images do not interact, so the gradient of the sum contains the gradient of each.
        total = factor * tf.reduce_sum(tf.reduce_mean(tf.reshape(logits, (tf.shape(logits)[0], -1)), axis=1))
    gradient = tf.cast(tape.gradient(total, images), tf.float32) / factor
    return tf.reduce_mean(tf.reduce_sum(tf.square(gradient), axis=(1, 2, 3)))


def lazy_r1(
    discriminator: keras.Model,
    images: tf.Tensor,
    step: tf.Tensor | int,
    weight: float,
    interval: int,
    factor: float = 1.0,
) -> tf.Tensor:
    """Returns the R1 term of the discriminator loss: `interval * weight / 2 * r1` every `interval` steps, else 0.

    Args:
        discriminator: As of `r1`.
        images: As of `r1`.
        step: Steps that were done: int64 scalar.
        weight: Weight (gamma) of the penalty.
        interval: Steps between two penalties.
        factor: As of `r1`.

    Reference:
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, section 3.1,
        https://arxiv.org/abs/1912.04958
    """

    def penalty():
        return interval * weight / 2 * r1(discriminator, images, factor)

    return penalty() if interval == 1 else tf.cond(step % interval == 0, penalty, lambda: tf.constant(0.0))
