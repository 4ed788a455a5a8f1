"""Fits classical methods, such as sparse coding, to the training images of a dataset before they are evaluated."""

import dataclasses
import typing

from tfmisr import classical, degradations
from tfmisr.edge.upscaler import Upscaler
from tfmisr.inference import upscalers

if typing.TYPE_CHECKING:
    from tfmisr.data.sources import Source


def fitted(upscaler: Upscaler, source: "Source", fields: dict, seed: int = 0) -> Upscaler:
    """Returns an upscaler for one scale and degradation; a method that learns is fitted to training images first.

    Args:
        upscaler: Of `tfmisr.classical.named`; any other is returned as it is.
        source: Dataset whose train split it may learn from.
        fields: `scale` and those of `tfmisr.degradations.FIELDS`.
        seed: Start of the random draws of learning.

    Raises:
        InputError: There are no training images.
    """
    method = upscaler.function
    if not isinstance(method, classical.Method) or method.degradation:
        return upscaler
    if method.name in classical.LEARNING and method.fitted is None:
        path = classical.fitted_file(method.name, source, fields, seed)
        upscaler = dataclasses.replace(upscalers.load(str(path)), name=upscaler.name)
    if isinstance(upscaler.function, classical.Method):
        bound = dataclasses.replace(upscaler.function, degradation=degradations.of(fields))
        upscaler = dataclasses.replace(upscaler, function=bound)
    return upscaler
