"""Gradient penalties of a discriminator."""

import keras
from keras import ops

from tfmisr.training import backends


def r1(discriminator: keras.Model, images: keras.KerasTensor, factor: float = 1.0) -> keras.KerasTensor:
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

    def total(images):
        logits = ops.cast(discriminator(images, training=False)[-1], "float32")
        # Images do not interact, so the gradient of the sum contains the gradient of each.
        return factor * ops.sum(ops.mean(ops.reshape(logits, (ops.shape(logits)[0], -1)), axis=1))

    gradient = ops.cast(backends.adapter().input_gradient(total, images), "float32") / factor
    return ops.mean(ops.sum(ops.square(gradient), axis=(1, 2, 3)))


def lazy_r1(
    discriminator: keras.Model,
    images: keras.KerasTensor,
    step: keras.KerasTensor | int,
    weight: float,
    interval: int,
    factor: float = 1.0,
) -> keras.KerasTensor:
    """Returns the R1 term of the discriminator loss: `interval * weight / 2 * r1` every `interval` steps, else 0.

    Args:
        discriminator: As of `r1`.
        images: As of `r1`.
        step: Steps that were done: integer scalar.
        weight: Weight (gamma) of the penalty.
        interval: Steps between two penalties.
        factor: As of `r1`.

    Reference:
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, section 3.1,
        https://arxiv.org/abs/1912.04958
    """

    def penalty():
        return interval * weight / 2 * r1(discriminator, images, factor)

    return penalty() if interval == 1 else ops.cond(step % interval == 0, penalty, lambda: ops.zeros(()))
