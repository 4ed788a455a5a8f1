"""Iterative back-projection: the enlarged image is corrected until its reduction is the image at hand.

Irani and Peleg, Improving Resolution by Image Registration, CVGIP: Graphical Models and Image Processing 1991,
https://doi.org/10.1016/1049-9652(91)90045-L

Departures: one image, not several registered ones; the reduction is the run's own degradation, and bicubic
interpolation, which is also the start, carries the error back. It stops where the error is as small as the noise that
the degradation is known to add, which more corrections would only enlarge.
"""

from collections.abc import Callable

import numpy as np

from tfmisr.classical.operators import back_project
from tfmisr.edge import resize

ITERATIONS = 10


def upscaler(scale: int, degradation) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from float32 (height, width, channels) in [0, 1] to the enlarged image, not clipped.

    Args:
        scale: Upsampling factor.
        degradation: `tfmisr.degradations.Degradation` that made the low-resolution image.
    """
    return lambda lr: back_project(resize.upscale(lr, scale), lr, degradation, ITERATIONS)
