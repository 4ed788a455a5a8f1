"""Prepares the network of a run for quantization-aware training: chains by ReLU6, others by learned ranges."""

import keras
import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.quantization import aware_training, graph_training, plain_network


def prepare(network: keras.Model, images: np.ndarray | None = None, clip_fraction: float = 1.0) -> keras.Model:
    """Returns the network that a run trains and saves.

    A plain network keeps its layers, with ReLUs that saturate at `aware_training.ACTIVATION_CLIP`; another one gets an
    `ActivationRange` behind each quantized tensor (`graph_training.insert_ranges`).

    Args:
        network: As `models.create` returns it.
        images: float32 (batch, height, width, channels) in [0, 1] on which ranges are measured; `None`: the layers
            alone, for weights that are read from a checkpoint.
        clip_fraction: Fraction of the maximum of a channel of a plain network, at which it is clipped.

    Raises:
        InputError: The network has a layer that cannot be trained so, or learns its ranges, which no fraction clips.
    """
    if plain_network.convolutions(network) is None:
        if clip_fraction != 1:
            raise InputError(
                f"clip_fraction must be 1 for {network.name}, which learns its ranges; plain networks are clipped. "
                f"Received: {clip_fraction}"
            )
        ranged = graph_training.insert_ranges(network)
        if images is not None:
            graph_training.calibrate(ranged, images)
        return ranged
    clipped = aware_training.clip_activations(network)
    if images is not None:
        clipped.set_weights(aware_training.scale_to_clip_range(network, images, clip_fraction))
    return clipped


def fake_quantize(network: keras.Model) -> keras.Model:
    """Returns the model that is trained in place of what `prepare` returns, with the rounding of its int8 file."""
    if graph_training.has_ranges(network):
        return graph_training.fake_quantize(network)
    return aware_training.fake_quantize(network)
