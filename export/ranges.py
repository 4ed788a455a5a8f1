"""How many of the calibration crops an integer file may take its ranges from."""

import pathlib
import tempfile
from collections.abc import Callable

SHARES = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15)
_IMAGES = 12


def least_narrowed(attempt: Callable, drop_of: Callable, enough: float):
    """Returns the file made with the largest share of the crops that is precise enough, else the most precise file.

    Shares are tried from all downwards, until one is precise enough or worse than the one before.

    Args:
        attempt: From a share of the crops to a file.
        drop_of: From a file to its loss of PSNR in dB.
        enough: Loss that is small enough.

    Returns:
        The file, and the losses of the shares that were tried, in dB, by share.
    """
    best, losses = None, {}
    for share in SHARES:
        file = attempt(share)
        losses[share] = drop_of(file)
        if losses[share] > min(losses.values()):
            break  # fewer crops no longer help
        best = file
        if losses[share] <= enough:
            break
    return best, losses


def training_drop(content: bytes, card: dict, network, source, scale: int, degradation) -> float:
    """Returns what a file loses against its Keras network in PSNR, in dB, on whole training images.

    The images that judge a file in the report, of the validation or test split, have no say in how it is made.
    """
    from tfmisr.edge import card as model_card
    from tfmisr.export import report

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "attempt.tflite")
        path.write_bytes(model_card.attach(content, card))
        found = report.parity(network, [path], source, "train", scale, degradation, _IMAGES)
    return found["files"][path.name]["psnr_drop"]
