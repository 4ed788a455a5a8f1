"""Discriminators by name: a file here is one, with `build(channels, **kwargs)`."""

import importlib

from tfmisr._lazy import modules_of
from tfmisr.edge.errors import check_name


def names() -> list[str]:
    """Returns the names of all discriminators, from file names alone."""
    return modules_of(__path__)


def create(name: str, channels: int = 1):
    """Returns an untrained discriminator.

    Returns:
        `keras.Model` with input `(batch, height, width, channels)` in [0, 1] and a list of outputs: the features of
        each convolution, first to last, then the logits `(batch, 1)` of "this image is real".
    """
    check_name("discriminator", name, names())
    return importlib.import_module(f"{__name__}.{name}").build(channels)
