"""Color images with a network for gray images: the network upscales the luma, chroma is interpolated (bicubic).

The usual practice of super-resolution papers since Yang et al., IEEE TIP 2010, with Y of ITU-R BT.601.
"""

import dataclasses

import numpy as np

from tfmisr.edge import resize
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.upscaler import Upscaler

WEIGHTS = (0.299, 0.587, 0.114)  # of R, G and B in Y (ITU-R BT.601), full range as in JPEG (JFIF) and Pillow


def luma_upscaler(upscaler: Upscaler) -> Upscaler:
    """Returns an upscaler for gray and RGB images from one for gray images; results for gray images do not change.

    With Y from the network and Cb and Cr from bicubic interpolation, R is Y + 1.402 Cr. The interpolation is linear
    and has R' = Y' + 1.402 Cr as well, so R = R' + (Y - Y'), and likewise for G and B: chroma is never computed, and
    nothing is rounded in between.

    Args:
        upscaler: An upscaler with `channels == 1`.
    """

    # The luma of a rounded color is off by at most half a level too: the weights add up to 1.
    def upscale(lr, scale, convert=None, dtype=np.float32, *levels):
        if lr.shape[-1] == 1:
            return upscaler.function(lr, scale, convert, dtype, *levels)
        y = lr @ np.array(WEIGHTS, np.float32)[:, np.newaxis]
        sr = resize.upscale(lr, scale)
        further = (None, np.float32, *levels) if levels else ()
        sr += upscaler.function(y, scale, *further) - resize.upscale(y, scale)
        return convert(sr).astype(dtype, copy=False) if convert else sr

    return dataclasses.replace(upscaler, name=f"{upscaler.name} (luma)", function=upscale, channels=None, operator=None)


__getattr__ = renamed(__name__, of_color="luma_upscaler")
