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
    return load_fitted(upscaler, fitted_file(upscaler, source, fields, seed), fields)


def fitted_file(upscaler: Upscaler, source: "Source", fields: dict, seed: int = 0) -> str:
    """Returns the file of a learning-based method, fitted where there is none; empty for any other upscaler.

    Args:
        upscaler: As of `fit_upscaler`.
        source: As of `fit_upscaler`.
        fields: As of `fit_upscaler`.
        seed: As of `fit_upscaler`.

    Raises:
        InputError: The dataset has no train split.
    """
    method = upscaler.function
    if not isinstance(method, classical.ClassicalMethod) or method.degradation or method.fitted is not None:
        return ""
    return str(classical.fitted_file(method.name, source, fields, seed)) if method.name in classical.LEARNING else ""


def load_fitted(upscaler: Upscaler, file: str, fields: dict) -> Upscaler:
    """Returns an upscaler with its fitted arrays and its degradation, where it is a method that has them.

    Args:
        upscaler: As of `fit_upscaler`.
        file: Result of `fitted_file`.
        fields: As of `fit_upscaler`.
    """
    if file:
        upscaler = dataclasses.replace(upscalers.load(file), name=upscaler.name)
    method = upscaler.function
    if not isinstance(method, classical.ClassicalMethod) or (method.degradation and not file):
        return upscaler
    return dataclasses.replace(upscaler, function=dataclasses.replace(method, degradation=degradations.of(fields)))
