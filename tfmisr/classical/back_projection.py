"""Iterative back-projection: the upscaled image is corrected until downsampling it gives the input.

Irani and Peleg, Improving Resolution by Image Registration, CVGIP: Graphical Models and Image Processing 1991,
https://doi.org/10.1016/1049-9652(91)90045-L

Departures: one image, not several registered ones; the run's degradation is the forward model, and bicubic
interpolation, which is also the initial estimate, projects the error back. Iteration stops where the error is as small
as the noise that the degradation is known to add, which further corrections would only amplify.
"""

from collections.abc import Callable

import numpy as np

from tfmisr.classical.operators import back_project
from tfmisr.degradations import Degradation
from tfmisr.edge import resize

ITERATIONS = 10


def upscaler(scale: int, degradation: Degradation) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from float32 (height, width, channels) in [0, 1] to the upscaled image, not clipped.

    Args:
        scale: Upsampling factor.
        degradation: Degradation model of the low-resolution image.
    """
    return lambda lr: back_project(resize.upscale(lr, scale), lr, degradation, ITERATIONS)
