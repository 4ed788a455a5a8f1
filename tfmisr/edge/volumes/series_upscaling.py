"""One thick series to a derived series of thin slices, without TensorFlow, as the gateway calls it.

Reading, interpolation or a network of planes, consistency with the acquired slices, and writing, each with the defaults
of `python -m tfmisr.volume`. Anything that cannot be done without doubt is refused before a file is written.
"""

import os

from tfmisr.edge import card, plane_card
from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.volumes import resampling
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.volume import Volume

NETWORK_SUFFIX = ".tflite"
_LEAST_RATIO = 1.01  # of the spacings: below it there is nothing to upscale
_DESCRIPTIONS = {"spline": "cubic spline", "lanczos": "Lanczos with 3 lobes", "linear": "linear"}


def check_method(method: str) -> None:
    """Checks that a method exists, without opening its network.

    Args:
        method: `spline`, `lanczos`, `linear`, or the path of a `.tflite` file of a network of planes.

    Raises:
        InputError: It does not exist, or is a network of another kind.
    """
    if method in resampling.METHODS:
        return
    if method == "self":
        raise InputError("a method that trains needs python -m tfmisr.volume; export its network and name that file")
    if not method.endswith(NETWORK_SUFFIX) or not os.path.isfile(method):
        names = ", ".join(resampling.METHODS)
        raise InputError(
            f"expected {names} or the .tflite file of a through-plane network. Received: "
            f"{method}{hint(method, resampling.METHODS)}"
        )
    card.read(method, plane_card.KIND)


def check_spacing(spacing: float | str) -> None:
    """Checks a spacing: `iso`, or mm above 0.

    Raises:
        InputError: It is neither.
    """
    if spacing != "iso" and (isinstance(spacing, str) or not 0 < spacing < float("inf")):
        raise InputError(f"expected iso or a distance in mm above 0 as spacing. Received: {spacing}")


def weights_sha256(method: str) -> str:
    """Opens a method and returns the SHA-256 of its weights; an empty string for an interpolation.

    Raises:
        InputError: As of `check_method`, or the network cannot be opened.
    """
    check_method(method)
    if not method.endswith(NETWORK_SUFFIX):
        return ""
    from tfmisr.edge.volumes.plane_model import PlaneModel

    return PlaneModel(method).card["weights_sha256"]


def target_grid(volume: Volume, spacing: float | str) -> VolumeGrid:
    """Returns the grid of the new slices.

    Args:
        volume: The acquired slices.
        spacing: `iso`, the smaller of the distances of rows and columns, or mm.

    Raises:
        InputError: The slices are not farther apart already.
    """
    check_spacing(spacing)
    goal = float(min(volume.grid.spacing[1:]) if spacing == "iso" else spacing)
    if volume.grid.spacing[0] < _LEAST_RATIO * goal:
        raise InputError(f"the slices are {volume.grid.spacing[0]:.4g} mm apart, not more than {goal:.4g} mm already")
    return volume.grid.with_slice_spacing(goal)
