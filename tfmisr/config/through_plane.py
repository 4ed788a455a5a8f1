"""Checks of the configuration of a through-plane network, which refines interpolated planes of a volume (V-05).

The degradation `through_plane` returns a plane of the size that it takes, thickened and interpolated along one axis, so
the scale is 1. What scales an image or needs another kind of pair is refused.
"""

import typing

from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    from tfmisr.config.fields import Config

NAME = "through_plane"
_REFUSED = {
    "hard_patches": "measures the error of bicubic interpolation by the scale",
    "burned_in": "draws what radiographs have, not slices of a volume",
    "intensity_augmentation": "changes gray levels within patches of the plane",
    "subpixel_shifts": "moves patches by less than a pixel of a reduced image, which this degradation does not make",
    "uncertainty": "trains a head for a model that upscales",
    "unpaired": "learns a degradation, which is given here",
}


def check(config: "Config") -> None:
    """Checks the fields of a run of scale 1, or with this degradation.

    Raises:
        InputError: One of the two without the other, or a field that does not apply.
    """
    name = config.degradation.partition("(")[0].strip()
    if (config.scale == 1) != (name == NAME):
        raise InputError(
            f"--scale 1 and --degradation {NAME} belong together, as in --preset {NAME}. "
            f"Received: scale {config.scale} and {config.degradation}"
        )
    for field, reason in _REFUSED.items():
        if getattr(config, field):
            raise InputError(f"--{field} {reason}; leave it out with --degradation {NAME}")
