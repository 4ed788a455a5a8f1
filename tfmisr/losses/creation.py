"""Creates a loss, or a weighted sum of losses, from an expression."""

import keras

from tfmisr.losses import expression
from tfmisr.losses.frequency import Frequency
from tfmisr.losses.mixture import LossSum
from tfmisr.losses.perceptual import NetworkPerceptual, VGG19Perceptual
from tfmisr.losses.pixel import Charbonnier, Gradient, TotalVariation
from tfmisr.losses.structure import SSIM, MultiScaleSSIM

_CLASSES = {
    "mse": keras.losses.MeanSquaredError,
    "mae": keras.losses.MeanAbsoluteError,
    "charbonnier": Charbonnier,
    "ssim": SSIM,
    "ms_ssim": MultiScaleSSIM,
    "gradient": Gradient,
    "frequency": Frequency,
    "total_variation": TotalVariation,
    "perceptual": VGG19Perceptual,
}


def get(loss: str, reduction: str = "sum_over_batch_size") -> keras.losses.Loss:
    """Returns a loss of images `(batch, height, width, channels)` in [0, 1], in float32 whatever the policy.

    Every loss is a mean over pixels (or coefficients, or features) and over images, so its size does not depend on
    the patch or the batch. With `none` a loss gives one value an image, `mse`, `mae` and `charbonnier` alone one a
    pixel; the mean of these is what the other reduction gives.

    Args:
        loss: A name, or a weighted sum, such as `charbonnier + 0.1*ms_ssim`; see `tfmisr.losses.expression`.
        reduction: `sum_over_batch_size`, a mean that Keras divides by the replicas of a strategy, or `none`.

    Raises:
        InputError: No such loss, or its network or weights cannot be had.
    """
    terms = expression.parse(loss)
    if len(terms) == 1 and terms[0].weight == 1:
        return _create(terms[0], reduction)
    members = [(term.weight, _create(term, "none")) for term in terms]
    return LossSum(members, reduction=reduction)


def _create(term, reduction):
    kind = NetworkPerceptual if "network" in term.options else _CLASSES[term.name]
    return kind(**term.options, reduction=reduction, dtype="float32")
