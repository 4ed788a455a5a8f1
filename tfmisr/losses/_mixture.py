"""Weighted sums of losses."""

import keras

from tfmisr.losses._images import image_mean


@keras.saving.register_keras_serializable("tfmisr")
class LossSum(keras.losses.Loss):
    """Weighted sum of losses, each reduced to one value per image first, so that the weights are comparable.

    Args:
        members: Pairs of a weight and a loss whose reduction is `none`.
    """

    def __init__(
        self, members: list, reduction: str = "sum_over_batch_size", name: str = "loss_sum", dtype: str = "float32"
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.members = [(float(weight), keras.losses.get(loss)) for weight, loss in members]

    def call(self, y_true, y_pred):
        return sum(weight * image_mean(loss(y_true, y_pred)) for weight, loss in self.members)

    def get_config(self):
        members = [[weight, keras.losses.serialize(loss)] for weight, loss in self.members]
        return {**super().get_config(), "members": members}
