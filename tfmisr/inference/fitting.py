"""Fits classical methods, such as sparse coding, to the training images of a dataset before evaluation."""

import dataclasses
import typing

from tfmisr import classical, degradations
from tfmisr.edge.upscaler import Upscaler
from tfmisr.inference import upscalers

if typing.TYPE_CHECKING:
    from tfmisr.data.sources import Source


def fit_upscaler(upscaler: Upscaler, source: "Source", fields: dict, seed: int = 0) -> Upscaler:
    """Returns an upscaler for one scale and degradation; a learning-based method is fitted to training images first.

    Args:
        upscaler: Result of `tfmisr.classical.create`; any other upscaler is returned unchanged.
        source: Dataset whose train split is used for fitting.
        fields: `scale` and the configuration fields in `tfmisr.degradations.FIELDS`.
        seed: Random seed of the fit.

    Raises:
        InputError: The dataset has no train split.
    """
    method = upscaler.function
    if not isinstance(method, classical.ClassicalMethod) or method.degradation:
        return upscaler
    if method.name in classical.LEARNING and method.fitted is None:
        path = classical.fitted_file(method.name, source, fields, seed)
        upscaler = dataclasses.replace(upscalers.load(str(path)), name=upscaler.name)
    if isinstance(upscaler.function, classical.ClassicalMethod):
        bound = dataclasses.replace(upscaler.function, degradation=degradations.of(fields))
        upscaler = dataclasses.replace(upscaler, function=bound)
    return upscaler
