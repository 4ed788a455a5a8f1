"""Penalties on a discriminator's gradient."""

import tensorflow as tf


def r1(discriminator, images, factor=1.0):
    """Returns R1: the mean over real images of the squared norm of the logit's gradient by the image's pixels.

    Batch normalisation takes its running statistics here, so that an image's gradient is its own. Where there is a
    logit for each part of an image, their mean is taken.

    Args:
        discriminator: Network with the outputs of `tfmisr.models.discriminators.create`.
        images: Real images, `(batch, height, width, channels)`.
        factor: Of the gradient while it is worked out, against underflow in float16; the result does not change.

    Reference:
        Mescheder et al., Which Training Methods for GANs do actually Converge?, ICML 2018,
        https://arxiv.org/abs/1801.04406
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = tf.cast(discriminator(images, training=False)[-1], tf.float32)
        # The images do not share anything: the gradient of the sum holds each one's own.
        total = factor * tf.reduce_sum(tf.reduce_mean(tf.reshape(logits, (tf.shape(logits)[0], -1)), axis=1))
    gradient = tf.cast(tape.gradient(total, images), tf.float32) / factor
    return tf.reduce_mean(tf.reduce_sum(tf.square(gradient), axis=(1, 2, 3)))


def lazy_r1(discriminator, images, step, weight: float, interval: int, factor=1.0):
    """Returns what R1 adds to the discriminator's loss: `interval * weight / 2 * r1` every `interval` steps, else 0.

    Reference:
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, section 3.1,
        https://arxiv.org/abs/1912.04958
    """

    def penalty():
        return interval * weight / 2 * r1(discriminator, images, factor)

    return penalty() if interval == 1 else tf.cond(step % interval == 0, penalty, lambda: tf.constant(0.0))
