"""Channels of like size: a network whose tensors lose less where all channels of one share 256 levels."""

import keras
import numpy as np

from tfmisr.edge.deprecation import renamed

_WIDEST = 64.0  # a channel is enlarged at most so many times; one that is always 0 has no size


def equalize(network: keras.Model, images: list[np.ndarray], reach: float | None = None) -> keras.Model:
    """Returns a network that computes the same, in which every channel behind a ReLU reaches as far as the others.

    One scale of 8 bits holds all channels of a tensor, so the largest takes the levels of the others away. A ReLU
    passes on any positive factor: what makes a channel is multiplied by it, and what reads it is divided by it. Weights
    have a scale for each output channel and lose nothing. Only tensors that one convolution alone reads are changed.

    Args:
        network: Keras network; it stays as it is.
        images: float32 arrays (height, width, channels) that show how far the channels reach.
        reach: What all shall reach; by default what the farthest channel of a tensor does.

    Reference:
        Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019,
        https://arxiv.org/abs/1906.04721; here with the ranges of data, and no correction of biases.
    """
    clone = keras.models.clone_model(network)
    clone.set_weights(network.get_weights())
    places = [place for layer in clone.layers if (place := _between(layer))]
    if not places:
        return clone
    watched = keras.Model(clone.input, [reader.input for _, reader in places])
    found = [np.zeros(reader.input.shape[-1], np.float32) for _, reader in places]
    for image in images:
        tensors = watched(image[None], training=False)
        for own, tensor in zip(found, tensors if len(places) > 1 else [tensors], strict=True):
            np.maximum(own, np.asarray(tensor).max((0, 1, 2)), out=own)
    for (maker, reader), own in zip(places, found, strict=True):
        if own.max() > 0:
            _scale(maker, reader, np.maximum(own, own.max() / _WIDEST) / (reach or own.max()))
    return clone


def _between(reader) -> tuple | None:
    """Returns the layer whose weights make the channels that a convolution reads behind a ReLU, and the convolution."""
    if type(reader) is not keras.layers.Conv2D or reader.groups > 1:
        return None
    relu = _only_source(reader)
    if type(relu) is not keras.layers.ReLU or relu.max_value is not None or relu.negative_slope or relu.threshold:
        return None
    maker = _only_source(relu)
    if type(maker) is keras.layers.BatchNormalization:
        return (maker, reader) if maker.scale and maker.center else None
    linear = type(maker) is keras.layers.Conv2D and maker.activation is keras.activations.linear
    return (maker, reader) if linear else None


def _only_source(layer):
    """Returns the layer that makes a layer's input, where nothing else reads what it makes."""
    if layer is None or len(layer._inbound_nodes) != 1 or isinstance(layer.input, list):
        return None
    source = layer.input._keras_history.operation
    return source if len(source._outbound_nodes) == 1 and len(source._inbound_nodes) == 1 else None


def _scale(maker, reader, share) -> None:
    kernel, *bias = reader.get_weights()
    reader.set_weights([kernel * share[:, None], *bias])
    if type(maker) is keras.layers.BatchNormalization:
        gamma, beta, *statistics = maker.get_weights()
        maker.set_weights([gamma / share, beta / share, *statistics])
    else:
        maker.set_weights([weights / share for weights in maker.get_weights()])


__getattr__ = renamed(__name__, equalized="equalize")
