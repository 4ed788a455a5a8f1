"""The eight dihedral transforms of an image (flips and 90-degree rotations), for augmentation and self-ensemble."""

from collections.abc import Callable

import numpy as np

from tfmisr.edge.deprecation import renamed

# Transforms that keep height and width come first: a runtime then reallocates for the other shape only once.
TRANSFORMS = (0, 2, 4, 6, 1, 3, 5, 7)
# Direction of the rows and columns of each transform, after its transposition where the index is odd.
_STEPS = ((1, 1), (-1, 1), (-1, -1), (1, -1), (1, -1), (-1, -1), (-1, 1), (1, 1))


def apply_dihedral(image: np.ndarray, transform_index: int) -> np.ndarray:
    """Returns a transformed image.

    Args:
        image: Array (height, width, ...).
        transform_index: 0 to 7: the number of counterclockwise quarter turns, plus 4 for a horizontal flip after them.
    """
    # Slices and one swap of axes: the checks of np.rot90 take longer than copying a patch of a batch.
    rows, columns = _STEPS[transform_index]
    image = image.swapaxes(0, 1) if transform_index % 2 else image
    return image[::rows, ::columns]


def invert_dihedral(image: np.ndarray, transform_index: int) -> np.ndarray:
    """Returns the image with the transform of `apply_dihedral` inverted."""
    image = image[:, ::-1] if transform_index >= 4 else image
    return np.rot90(image, -(transform_index % 4))


def self_ensemble(upscale: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that averages the upscaled image over the eight dihedral transforms.

    The geometric self-ensemble (test-time augmentation) takes eight times as long as one pass. The output of a network
    depends slightly on the orientation of the image; the mean does not.

    Args:
        upscale: Maps a float32 array (height, width, channels) to the upscaled array.

    Reference:
        Timofte, Rothe and Van Gool, Seven Ways to Improve Example-Based Single Image Super Resolution, CVPR 2016,
        https://arxiv.org/abs/1511.02228; named "+" as by Lim et al., EDSR, CVPR Workshops 2017.
    """

    def mean(image: np.ndarray) -> np.ndarray:
        total: np.ndarray | float = 0.0
        for index in TRANSFORMS:
            total = total + invert_dihedral(upscale(np.ascontiguousarray(apply_dihedral(image, index))), index)
        return total / np.float32(len(TRANSFORMS))

    return mean


__getattr__ = renamed(__name__, turned="apply_dihedral", turned_back="invert_dihedral", WAYS="TRANSFORMS")
