"""Discriminators by name: each file here is one, with `build(channels, **kwargs)`."""

import importlib
import typing

from tfmisr._lazy import modules_of
from tfmisr.edge.errors import check_name

if typing.TYPE_CHECKING:
    import keras


def names() -> list[str]:
    """Returns the names of all discriminators, from file names alone."""
    return modules_of(__path__)


def create(name: str, channels: int = 1) -> "keras.Model":
    """Returns an untrained discriminator.

    Args:
        name: One of `names()`.
        channels: Channels of the images, 1 or 3; of a feature discriminator, channels of the features.

    Returns:
        `keras.Model` with input `(batch, height, width, channels)` in [0, 1] and a list of outputs: the features of
        each convolution, first to last, then the logits `(batch, 1)` of "this image is real".

    Raises:
        InputError: No such discriminator.
    """
    check_name("discriminator", name, names())
    return importlib.import_module(f"{__name__}.{name}").build(channels)
