"""Cross-layer equalization: rescales channels so that per-tensor activation quantization loses less precision.

Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019,
https://arxiv.org/abs/1906.04721. Departures: activation ranges are measured on images, and biases are not corrected.
"""

import keras
import numpy as np

from tfmisr.edge.deprecation import renamed

_LARGEST_FACTOR = 64.0  # of a channel


def equalize(network: keras.Model, images: list[np.ndarray], target: float | None = None) -> keras.Model:
    """Returns a network that computes the same, in which all channels behind a ReLU have the same activation range.

    One 8-bit scale serves all channels of a tensor, so the channel with the largest range leaves few levels to the
    others. A ReLU passes on any positive factor: the layer that produces a channel is multiplied by it, and the
    convolution that reads the channel is divided by it. Weights have a scale for each output channel and lose nothing.
    Only tensors that a single convolution reads are changed.

    Args:
        network: Keras network; it stays as it is.
        images: float32 arrays (height, width, channels), on which the activation ranges are measured.
        target: Maximum that each channel gets; by default the largest maximum of its tensor.
    """
    clone = keras.models.clone_model(network)
    clone.set_weights(network.get_weights())
    layer_pairs = [pair for layer in clone.layers if (pair := _equalizable_pair(layer))]
    if not layer_pairs:
        return clone
    activations = keras.Model(clone.input, [reader.input for _, reader in layer_pairs])
    maxima = [np.zeros(reader.input.shape[-1], np.float32) for _, reader in layer_pairs]
    for image in images:
        tensors = activations(image[None], training=False)
        for maximum, tensor in zip(maxima, tensors if len(layer_pairs) > 1 else [tensors], strict=True):
            np.maximum(maximum, np.asarray(tensor).max((0, 1, 2)), out=maximum)
    for (producer, reader), maximum in zip(layer_pairs, maxima, strict=True):
        if maximum.max() > 0:
            ranges = np.maximum(maximum, maximum.max() / _LARGEST_FACTOR)
            ranges[maximum == 0] = maximum.max()  # a channel that is always 0 would grow with every fine-tuning
            _rescale(producer, reader, ranges / (target or maximum.max()))
    return clone


def _equalizable_pair(reader) -> tuple | None:
    """Returns the layer that scales the channels which a convolution reads behind a ReLU, and the convolution."""
    if type(reader) is not keras.layers.Conv2D or reader.groups > 1:
        return None
    relu = _only_source(reader)
    if type(relu) is not keras.layers.ReLU or relu.max_value is not None or relu.negative_slope or relu.threshold:
        return None
    producer = _only_source(relu)
    if type(producer) is keras.layers.BatchNormalization:
        return (producer, reader) if producer.scale and producer.center else None
    linear = type(producer) is keras.layers.Conv2D and producer.activation is keras.activations.linear
    return (producer, reader) if linear else None


def _only_source(layer):
    """Returns the layer that produces a layer's input, where no other layer reads its output."""
    if layer is None or len(layer._inbound_nodes) != 1 or isinstance(layer.input, list):
        return None
    source = layer.input._keras_history.operation
    return source if len(source._outbound_nodes) == 1 and len(source._inbound_nodes) == 1 else None


def _rescale(producer, reader, factors) -> None:
    """Divides the channels of a producer by `factors` and multiplies what the reader takes from them."""
    kernel, *bias = reader.get_weights()
    reader.set_weights([kernel * factors[:, None], *bias])
    if type(producer) is keras.layers.BatchNormalization:
        gamma, beta, *statistics = producer.get_weights()
        producer.set_weights([gamma / factors, beta / factors, *statistics])
    else:
        producer.set_weights([weights / factors for weights in producer.get_weights()])


__getattr__ = renamed(__name__, equalized="equalize")
