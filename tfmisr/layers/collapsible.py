"""Collapsible linear blocks: convolutions that are wide in training and small in inference."""

import keras
import numpy as np
from keras import ops

from tfmisr.layers.receptive_field import ReceptiveField


@keras.saving.register_keras_serializable("tfmisr")
class CollapsibleConv2D(keras.layers.Layer):
    """A wide convolution followed by a 1x1 one without activation between them, equal to one small convolution.

    The two kernels are multiplied before they are applied, in training too, which costs a twentieth of the wide
    convolution. `collapsed` replaces the layers of a trained network by small convolutions.

    Args:
        filters: Filters of the 1x1 convolution and of the small one.
        kernel_size: Side of the kernel in pixels, odd.
        expansion: Filters of the wide convolution.
        residual: Add the input to the output; it has `filters` channels then.
        projection_initializer: Of the 1x1 kernel.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, height, width, filters)`.

    Reference:
        Bhardwaj et al., Collapsible Linear Blocks for Super-Efficient Super Resolution, MLSys 2022,
        https://arxiv.org/abs/2103.09404
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        expansion: int = 256,
        residual: bool = False,
        projection_initializer: str | keras.initializers.Initializer = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.expansion = filters, kernel_size, expansion
        self.residual = residual
        self.projection_initializer = keras.initializers.get(projection_initializer)

    def build(self, input_shape):
        side, channels = self.kernel_size, input_shape[-1]
        if self.residual and channels != self.filters:
            raise ValueError(
                f"a residual needs as many channels as filters. Received: channels={channels}, filters={self.filters}"
            )
        self.wide = self.add_weight((side, side, channels, self.expansion), "glorot_uniform", name="wide")
        self.projection = self.add_weight(
            (self.expansion, self.filters), self.projection_initializer, name="projection"
        )
        self.bias = self.add_weight((self.filters,), "zeros", name="bias")
        self.identity = np.zeros((side, side, channels, self.filters), np.float32)
        if self.residual:
            self.identity[side // 2, side // 2] = np.eye(channels)

    def call(self, inputs):
        return ops.conv(inputs, self.small_kernel(), padding="same") + self.bias

    def small_kernel(self) -> keras.KerasTensor:
        """Returns the kernel (height, width, in, out) of the equal small convolution, with its gradients."""
        kernel = ops.tensordot(self.wide, self.projection, 1)
        return kernel + ops.cast(self.identity, kernel.dtype)

    def small_weights(self) -> list[np.ndarray]:
        """Returns float32 kernel (height, width, in, out) and bias of the equal small convolution."""
        wide, projection, bias = (np.asarray(weight, np.float64) for weight in self.get_weights())
        return [(np.tensordot(wide, projection, 1) + self.identity).astype(np.float32), bias.astype(np.float32)]

    def multiply_adds(self, input_shape: tuple) -> int:
        """Returns the multiply-adds of one image, by the small convolution; see `tfmisr.models._cost`."""
        return self.identity.size * input_shape[1] * input_shape[2]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:3], self.filters)

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField:
        """Returns that of the small convolution."""
        return inputs.grow(self.kernel_size // 2)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "expansion": self.expansion,
            "residual": self.residual,
            "projection_initializer": keras.initializers.serialize(self.projection_initializer),
        }


def collapsed(network: keras.Model) -> keras.Model:
    """Returns an equal network of plain convolutions; the network itself where it has no `CollapsibleConv2D`.

    Layers keep their names. Sums are taken in another order, so results differ by the rounding of float32.
    """
    if not any(isinstance(layer, CollapsibleConv2D) for layer in network.layers):
        return network

    def small(layer):
        if not isinstance(layer, CollapsibleConv2D):
            return type(layer).from_config(layer.get_config())
        return keras.layers.Conv2D(
            layer.filters, layer.kernel_size, padding="same", dtype=layer.dtype_policy, name=layer.name
        )

    clone = keras.models.clone_model(network, clone_function=small)
    for layer in network.layers:
        wide = isinstance(layer, CollapsibleConv2D)
        clone.get_layer(layer.name).set_weights(layer.small_weights() if wide else layer.get_weights())
    return clone
