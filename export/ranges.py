"""Chooses the outlier-trimming fraction for post-training calibration."""

import pathlib
import tempfile
import typing
from collections.abc import Callable

from tfmisr.edge.deprecation import renamed

if typing.TYPE_CHECKING:
    import keras

    from tfmisr.data import Source
    from tfmisr.degradations import Degradation

CALIBRATION_FRACTIONS = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15)
_IMAGES = 12


def choose_calibration_fraction(attempt: Callable, drop_of: Callable, enough: float) -> tuple[object, dict]:
    """Returns the file calibrated on the largest fraction of the crops that is precise enough, else the best file.

    Fractions are tried from 1 downwards, until one is precise enough or worse than the best so far.

    Args:
        attempt: Converts with a fraction of the crops; returns a file.
        drop_of: Returns the loss of PSNR of a file, in dB.
        enough: Loss that is small enough, in dB.

    Returns:
        The file, and the losses of the fractions that were tried, in dB, by fraction.
    """
    best, losses = None, {}
    for fraction in CALIBRATION_FRACTIONS:
        file = attempt(fraction)
        losses[fraction] = drop_of(file)
        if losses[fraction] > min(losses.values()):
            break  # fewer crops no longer help
        best = file
        if losses[fraction] <= enough:
            break
    return best, losses


def training_drop(
    content: bytes, card: dict, network: "keras.Model", source: "Source", scale: int, degradation: "Degradation"
) -> float:
    """Returns the loss of PSNR of a file against its Keras network, in dB, on full training images.

    The images of the validation or test split, on which the report compares the files, must not choose the fraction.

    Args:
        content: The converted file, without a card.
        card: Its card.
        network: The Keras network.
        source: `tfmisr.data.Source` of the images.
        scale: Upsampling factor.
        degradation: `tfmisr.degradations.Degradation` that makes LR.
    """
    from tfmisr.edge import card as model_card
    from tfmisr.export import report

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "attempt.tflite")
        path.write_bytes(model_card.attach(content, card))
        scores = report.parity(network, [path], source, "train", scale, degradation, _IMAGES)
    return scores["files"][path.name]["psnr_drop"]


__getattr__ = renamed(__name__, SHARES="CALIBRATION_FRACTIONS", least_narrowed="choose_calibration_fraction")
