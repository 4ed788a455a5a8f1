"""Spectral normalization: every convolution and dense layer of a discriminator has spectral norm 1.

Keras's wrapper overwrites the kernel with the divided kernel in every training call, so the gradient does not pass
through the division, a GAN step projects twice, and the discriminator differs between training and inference.
Here a call has no side effects, and `refine` updates the estimate of the norm once per step.

Reference:
    Miyato et al., Spectral Normalization for Generative Adversarial Networks, ICLR 2018,
    https://arxiv.org/abs/1802.05957
"""

import keras
from keras import ops

_FIRST_ITERATIONS = 20


class SpectralNormalization(keras.layers.Wrapper):
    """Calls a layer with its kernel divided by the current estimate of the kernel's largest singular value.

    The kernel is reshaped to a matrix `(inputs, filters)`.

    Args:
        layer: Layer with a `kernel` whose last axis is the filters.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs):
        # The norm is computed in float32 under any dtype policy; the layer itself casts.
        super().__init__(layer, autocast=False, dtype="float32", **kwargs)

    def build(self, input_shape=None):
        super().build(input_shape)
        self.direction = self.add_weight(
            shape=(self.layer.kernel.shape[-1],),
            initializer=keras.initializers.RandomNormal(),
            trainable=False,
            dtype="float32",
            aggregation="only_first_replica",
            name="direction",
        )

    def call(self, inputs):
        kernel = self.layer.kernel
        values = [(v, self.normalized_kernel() if v is kernel else v.value) for v in self.layer.variables]
        # `stateless_call` would bypass the layer's casts of mixed precision.
        with keras.StatelessScope(values):
            return self.layer(inputs)

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)

    def normalized_kernel(self) -> keras.KerasTensor:
        """Returns the kernel divided by the estimate of its norm; the gradient passes through both."""
        # |W u| for the unit vector u: its gradient is v u^T, as in equation 10 of the paper.
        norm = ops.norm(ops.matmul(self._matrix(), _unit(self.direction.value)))
        return self.layer.kernel.value / ops.maximum(norm, 1e-12)

    def refine(self, iterations: int = 1) -> None:
        """Updates the estimate by power iteration towards the first right singular vector."""
        matrix, direction = ops.stop_gradient(self._matrix()), _unit(self.direction.value)
        for _ in range(iterations):
            direction = _unit(ops.matmul(ops.transpose(matrix), _unit(ops.matmul(matrix, direction))))
        self.direction.assign(direction)

    def _matrix(self):
        kernel = self.layer.kernel.value
        return ops.reshape(kernel, (-1, kernel.shape[-1]))


def _unit(vector):
    return vector / ops.maximum(ops.norm(vector), 1e-12)


def normalized(network: keras.Model) -> keras.Model:
    """Returns an untrained copy of a functional network in which every layer with a kernel is normalized."""

    def wrap(layer):
        copy = layer.__class__.from_config(layer.get_config())
        return SpectralNormalization(copy, name=layer.name) if hasattr(layer, "kernel") else copy

    copy = keras.models.clone_model(network, clone_function=wrap)
    refine(copy, _FIRST_ITERATIONS)
    return copy


def refine(network: keras.Model, iterations: int = 1) -> None:
    """Updates the estimate of every normalized layer; does nothing to a network without any."""
    for layer in network.layers:
        if isinstance(layer, SpectralNormalization):
            layer.refine(iterations)
