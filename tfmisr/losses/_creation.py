"""Creates a loss, or a weighted sum of losses, from an expression."""

import keras

from tfmisr.losses import _loss, expression
from tfmisr.losses._mixture import LossSum


def get(loss: str, reduction: str = "sum_over_batch_size") -> keras.losses.Loss:
    """Returns a loss of images `(batch, height, width, channels)` in [0, 1], computed in float32.

    The dtype policy of Keras does not apply. Every loss is a mean over pixels (or coefficients, or features) and over
    images, so its size does not depend on the patch or the batch. With `none` a loss returns one value per image; only
    `mse`, `mae` and `charbonnier` return one per pixel. The mean of these values is what the other reduction returns.

    Args:
        loss: A name, or a weighted sum, such as `charbonnier + 0.1*ms_ssim`; see `tfmisr.losses.expression`.
        reduction: `sum_over_batch_size`, a mean that Keras divides by the replicas of a strategy, or `none`.

    Raises:
        InputError: There is no such loss, or its network or weights are not available.
    """
    terms = expression.parse(loss)
    if len(terms) == 1 and terms[0].weight == 1:
        return _create(terms[0], reduction)
    members = [(term.weight, _create(term, "none")) for term in terms]
    return LossSum(members, reduction=reduction)


def _create(term, reduction):
    row = _loss.find(term.name, term.options)
    return row.loss(**term.options, reduction=reduction, dtype="float32")
