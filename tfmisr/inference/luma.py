"""Color images through a network for gray ones: it enlarges the luma, the colors are interpolated."""

import dataclasses

import numpy as np

from tfmisr.edge import resize
from tfmisr.edge.upscaler import Upscaler

WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue in Y (ITU-R BT.601), full range, as JPEG and Pillow have it


def of_color(upscaler: Upscaler) -> Upscaler:
    """Returns an upscaler for gray and RGB images, made of one for gray images; a gray image is what it was.

    With Y from the network and Cb and Cr from the bicubic interpolation, R is Y + 1.402 Cr. The interpolation is
    linear and has R' = Y' + 1.402 Cr as well, so R = R' + (Y - Y'), and G and B alike: no chroma is ever made, and
    nothing is rounded in between.
    """

    def upscale(lr, scale, convert=None, dtype=np.float32):
        if lr.shape[-1] == 1:
            return upscaler.function(lr, scale, convert, dtype)
        y = lr @ np.array(WEIGHTS, np.float32)[:, np.newaxis]
        sr = resize.upscale(lr, scale)
        sr += upscaler.function(y, scale) - resize.upscale(y, scale)
        return convert(sr).astype(dtype, copy=False) if convert else sr

    return dataclasses.replace(upscaler, name=f"{upscaler.name} (luma)", function=upscale, channels=None)
