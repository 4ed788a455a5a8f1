"""The eight orientations of the square: for augmentation, and for the mean over them that networks are judged by."""

from collections.abc import Callable

import numpy as np

from tfmisr.edge.deprecation import renamed

# Half a turn comes first, and those that keep height and width before the others: a runtime then allocates for another
# shape once and not seven times.
TRANSFORMS = (0, 2, 4, 6, 1, 3, 5, 7)


def apply_dihedral(image: np.ndarray, way: int) -> np.ndarray:
    """Returns the image `(height, width, ...)` in one of the eight orientations: `way` 0 to 7, 0 as it is."""
    image = np.rot90(image, way % 4)
    return image[:, ::-1] if way >= 4 else image


def invert_dihedral(image: np.ndarray, way: int) -> np.ndarray:
    """Returns the image that `apply_dihedral` has made this one of."""
    image = image[:, ::-1] if way >= 4 else image
    return np.rot90(image, -(way % 4))


def self_ensemble(enlarge: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that enlarges an image in all eight orientations and gives their mean.

    It takes eight times as long. What a network makes of an image depends a little on how it lies; the mean does not.

    Args:
        enlarge: From a float32 array `(height, width, channels)` to the enlarged one.

    Reference:
        Timofte, Rothe and Van Gool, Seven Ways to Improve Example-Based Single Image Super Resolution, CVPR 2016,
        https://arxiv.org/abs/1511.02228; named "+" as by Lim et al., EDSR, CVPR Workshops 2017.
    """

    def mean(image: np.ndarray) -> np.ndarray:
        total: np.ndarray | float = 0.0
        for way in TRANSFORMS:
            total = total + invert_dihedral(enlarge(np.ascontiguousarray(apply_dihedral(image, way))), way)
        return total / np.float32(len(TRANSFORMS))

    return mean


__getattr__ = renamed(__name__, turned="apply_dihedral", turned_back="invert_dihedral", WAYS="TRANSFORMS")
