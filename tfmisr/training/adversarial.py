"""Adversarial losses on logits, as pairs of a generator loss and a discriminator loss.

Each function takes the logits of real and of restored images, `(batch, 1)` or `(batch, height, width, 1)`, and returns
a float32 scalar, the mean over them. With r and f for real and fake logits, E for the mean and s for the sigmoid:

| name         | discriminator                             | generator                              |
|--------------|-------------------------------------------|----------------------------------------|
| vanilla      | (-E log s(r) - E log(1 - s(f))) / 2       | -E log s(f)                            |
| lsgan        | (E (r - 1)^2 + E f^2) / 2                 | E (f - 1)^2                            |
| hinge        | E max(0, 1 - r) + E max(0, 1 + f)         | -E f                                   |
| relativistic | (-E log s(r - Ef) - E log(1 - s(f - Er))) / 2 | (-E log s(f - Er) - E log(1 - s(r - Ef))) / 2 |

References:
    vanilla, the non-saturating form: Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014,
    https://arxiv.org/abs/1406.2661
    lsgan: Mao et al., Least Squares Generative Adversarial Networks, ICCV 2017, https://arxiv.org/abs/1611.04076;
    the generator loss without the factor 1/2, as in Zhu et al., CycleGAN, ICCV 2017, https://arxiv.org/abs/1703.10593
    hinge: Lim and Ye, Geometric GAN, https://arxiv.org/abs/1705.02894; Zhang et al., SAGAN, ICML 2019,
    https://arxiv.org/abs/1805.08318
    relativistic average: Jolicoeur-Martineau, ICLR 2019, https://arxiv.org/abs/1807.00734; Wang et al., ESRGAN, ECCV
    Workshops 2018, https://arxiv.org/abs/1809.00219, halved as in its published code
"""

import dataclasses
from collections.abc import Callable

import keras
from keras import ops

from tfmisr.training import backends


@dataclasses.dataclass(frozen=True)
class AdversarialLoss:
    """A pair of losses.

    Attributes:
        generator: Function of real and fake logits that returns a scalar; real may be `None` unless `relative`.
        discriminator: Function of real and fake logits that returns a scalar.
        relative: Whether the generator loss depends on the real logits too.
    """

    generator: Callable
    discriminator: Callable
    relative: bool = False


def cross_entropy(label: float, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the mean binary cross-entropy of logits with the same `label`, 0 or 1, as a float32 scalar."""
    labels = ops.full_like(logits, label)
    return ops.mean(ops.binary_crossentropy(labels, logits, from_logits=True))


def whole_batch_mean(x: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the mean of a tensor over the global batch, that is over all replicas, as a scalar."""
    return backends.adapter().replica_mean(ops.mean(x))


def _vanilla_generator(real, fake):
    return cross_entropy(1.0, fake)


def _vanilla_discriminator(real, fake):
    return 0.5 * (cross_entropy(1.0, real) + cross_entropy(0.0, fake))


def _lsgan_generator(real, fake):
    return ops.mean(ops.square(fake - 1.0))


def _lsgan_discriminator(real, fake):
    return 0.5 * (ops.mean(ops.square(real - 1.0)) + ops.mean(ops.square(fake)))


def _hinge_generator(real, fake):
    return -ops.mean(fake)


def _hinge_discriminator(real, fake):
    return ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + fake))


def _relativistic(winner, loser):
    above, below = winner - whole_batch_mean(loser), loser - whole_batch_mean(winner)
    return 0.5 * (cross_entropy(1.0, above) + cross_entropy(0.0, below))


def _relativistic_generator(real, fake):
    return _relativistic(fake, real)


def _relativistic_discriminator(real, fake):
    return _relativistic(real, fake)


LOSSES = {
    "vanilla": AdversarialLoss(_vanilla_generator, _vanilla_discriminator),
    "lsgan": AdversarialLoss(_lsgan_generator, _lsgan_discriminator),
    "hinge": AdversarialLoss(_hinge_generator, _hinge_discriminator),
    "relativistic": AdversarialLoss(_relativistic_generator, _relativistic_discriminator, relative=True),
}
