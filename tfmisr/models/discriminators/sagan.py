"""SAGAN's discriminator: residual blocks with self-attention, which relates distant parts of an image.

Zhang et al., Self-Attention Generative Adversarial Networks, ICML 2019, https://arxiv.org/abs/1805.08318, with the
authors' code (https://github.com/brain-research/self-attention-gan): blocks of two 3x3 convolutions that halve the
image, attention whose keys and values are pooled 2x2, one logit. It is meant for `--spectral_normalization`, as in the
paper.

Departures: four halvings, not five, and attention after the second of them, where a patch of 96 pixels has 24x24
positions; features are averaged over the image, not summed, so that the logit does not grow with the patch; no class
is given, so there is no projection.
"""

import keras
from keras import ops

from tfmisr import layers
from tfmisr.layers.receptive_field import ReceptiveField

_START = "glorot_uniform"


class Attend(keras.layers.Layer):
    """Self-attention: averages the values of all positions, weighted by the softmax of query times key.

    Inputs: queries `(batch, height, width, d)`, keys `(batch, h, w, d)`, values `(batch, h, w, channels)`.
    Output shape: `(batch, height, width, channels)`.
    """

    def call(self, inputs):
        queries, _keys, values = inputs
        batch, height, width, _ = ops.shape(queries)
        flat = [ops.reshape(x, (batch, -1, x.shape[-1])) for x in inputs]
        scores = ops.cast(ops.matmul(flat[0], ops.transpose(flat[1], (0, 2, 1))), "float32")
        # Keras's softmax warns of a single position, which is all that a small patch has.
        probabilities = ops.exp(scores - ops.logsumexp(scores, axis=-1, keepdims=True))
        weights = ops.cast(probabilities, values.dtype)
        return ops.reshape(ops.matmul(weights, flat[2]), (batch, height, width, values.shape[-1]))

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:3], input_shape[2][-1])

    def receptive_field(self, inputs: ReceptiveField) -> None:
        """Returns `None`, the whole image."""
        return None


class Gate(keras.layers.Layer):
    """Multiplies by one learned scalar, initialized to 0."""

    def build(self, input_shape):
        self.gamma = self.add_weight(shape=(), initializer="zeros", name="gamma")

    def call(self, inputs):
        return self.gamma * inputs

    def receptive_field(self, inputs: ReceptiveField) -> ReceptiveField:
        """Returns `inputs`: each pixel is processed alone."""
        return inputs


def build(channels: int = 1, num_filters: int = 64) -> keras.Model:
    """Returns the discriminator; see `tfmisr.models.discriminators.create`.

    Args:
        channels: 1 or 3.
        num_filters: Filters of the first block; each next one has twice as many, the last as many as the one before.
    """
    image = keras.Input((None, None, channels), name="image")
    x, features = image, []
    for i, factor in enumerate((1, 2, 4, 8, 8), 1):
        x = _block(x, num_filters * factor, f"block{i}", halve=i < 5, first=i == 1)
        x = _attention(x, "attention") if i == 2 else x
        features.append(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    logits = keras.layers.Dense(1, dtype="float32", kernel_initializer=_START, name="logits")(x)
    return keras.Model(image, [*features, logits], name="sagan")


def _block(x, num_filters, name, halve, first):
    y = x if first else keras.layers.ReLU(name=f"{name}_relu1")(x)
    y = layers.conv(num_filters, f"{name}_conv1", kernel_initializer=_START)(y)
    y = keras.layers.ReLU(name=f"{name}_relu2")(y)
    y = layers.conv(num_filters, f"{name}_conv2", kernel_initializer=_START)(y)
    if halve or x.shape[-1] != num_filters:
        x = layers.conv(num_filters, f"{name}_shortcut", kernel_size=1, kernel_initializer=_START)(x)
    if halve:
        y = keras.layers.AveragePooling2D(2, padding="same", name=f"{name}_pool")(y)
        x = keras.layers.AveragePooling2D(2, padding="same", name=f"{name}_shortcut_pool")(x)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def _attention(x, name):
    filters = x.shape[-1]

    def point(inputs, count, part):
        kernel = {"kernel_size": 1, "use_bias": False, "kernel_initializer": _START}
        return layers.conv(count, f"{name}_{part}", **kernel)(inputs)

    def pooled(inputs, part):
        return keras.layers.MaxPooling2D(2, padding="same", name=f"{name}_{part}_pool")(inputs)

    queries = point(x, max(filters // 8, 1), "queries")
    keys = pooled(point(x, max(filters // 8, 1), "keys"), "keys")
    values = pooled(point(x, max(filters // 2, 1), "values"), "values")
    attended = point(Attend(name=f"{name}_attend")([queries, keys, values]), filters, "output")
    return keras.layers.Add(name=f"{name}_add")([x, Gate(name=f"{name}_gate")(attended)])
