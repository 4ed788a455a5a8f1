"""`ActivationRange`: the range of an activation tensor that the int8 file of a network divides into 256 levels."""

import keras
from keras import ops

from tfmisr.layers.receptive_field import ReceptiveField

LEVELS = 255  # steps between the 256 levels


@keras.saving.register_keras_serializable("tfmisr")
class ActivationRange(keras.layers.Layer):
    """Clips to a range [minimum, maximum], which quantization-aware training learns.

    Args:
        minimum: Initial lower limit, at most 0.
        maximum: Initial upper limit, above 0.
        fixed: The limits are not trained: those of an image, or of an operation whose int8 range LiteRT prescribes.

    Input shape: any.
    Output shape: that of the input.
    """

    def __init__(self, minimum: float = 0.0, maximum: float = 1.0, fixed: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.minimum, self.maximum, self.fixed = float(minimum), float(maximum), fixed

    def build(self, input_shape):
        def initial(shape, dtype=None):
            return ops.convert_to_tensor([self.minimum, self.maximum], dtype)

        self.limits = self.add_weight((2,), initial, name="limits", trainable=not self.fixed)

    def call(self, inputs):
        step, zero_point = self.grid()
        low = -zero_point * step
        return ops.clip(inputs, low, low + LEVELS * step)

    def grid(self) -> tuple:
        """Returns the step between levels and the number of the level of 0, an integer from 0 to 255.

        The limits are moved by less than a step, so that 0 is a level: LiteRT pads with it (TensorFlow's
        `fake_quant_with_min_max_args` does the same).
        """
        limits = ops.convert_to_tensor(self.limits)
        low = ops.minimum(limits[0], 0.0)
        # A maximum of 0 or less would divide by 0; with its gradient, training can raise it again.
        high = limits[1] + ops.stop_gradient(ops.maximum(limits[1], 1e-6) - limits[1])
        step = (high - low) / LEVELS
        zero_point = -low / step
        return step, zero_point + ops.stop_gradient(ops.round(zero_point) - zero_point)

    def compute_output_shape(self, input_shape):
        return input_shape

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField:
        """Returns `inputs`: each pixel is processed alone."""
        return inputs

    def get_config(self):
        config = {"minimum": self.minimum, "maximum": self.maximum, "fixed": self.fixed}
        return {**super().get_config(), **config}
