"""How near a restored image comes to the truth, and how sharp and noisy it is.

Images are arrays of shape `(height, width)` or `(height, width, channels)`, float or integer;
everything is computed in float64. `max_val` is the value of a full-scale pixel (255, 4095, 1.0).
A measure that is not defined on an image, as on one so small, is nan, never a variant of itself.

`METRICS` are those that need no weights; `windows` has those of CT slices. LPIPS, FID and KID look through networks:
see `lpips`, `features`, `sets` and `collection`.
"""

import functools

from tfmisr.metrics.detail import gmsd, laplacian, noise, sharpness
from tfmisr.metrics.haar import haarpsi
from tfmisr.metrics.information import VIF_MIN_SIDE, vif
from tfmisr.metrics.region import centre, shave
from tfmisr.metrics.similarity import MS_SSIM_MIN_SIDE, SSIM_MIN_SIDE, ms_ssim, psnr, ssim

METRICS = {
    "psnr": psnr,
    "ssim": ssim,
    "ms_ssim": ms_ssim,
    "haarpsi": haarpsi,
    "haarpsi_med": functools.partial(haarpsi, medical=True),
    "vif": vif,
    "gmsd": gmsd,
    "sharpness": sharpness,
    "laplacian": laplacian,
    "noise": noise,
}

# Why a measure may be nan on an image.
UNDEFINED = {
    "ssim": f"a side is below {SSIM_MIN_SIDE} pixels",
    "ms_ssim": f"a side is below {MS_SSIM_MIN_SIDE} pixels",
    "vif": f"blank, or a side is below {VIF_MIN_SIDE} pixels",
    "sharpness": "blank, or a side is below 3 pixels",
    **{
        f"psnr_{window}": "no CT slice in Hounsfield units, or the same in this window: no dB"
        for window in ("lung", "soft_tissue", "bone", "brain")
    },
    **{f"ssim_{window}": "no CT slice in Hounsfield units" for window in ("lung", "soft_tissue", "bone", "brain")},
}

__all__ = [
    "METRICS",
    "MS_SSIM_MIN_SIDE",
    "SSIM_MIN_SIDE",
    "UNDEFINED",
    "VIF_MIN_SIDE",
    "centre",
    "gmsd",
    "haarpsi",
    "laplacian",
    "ms_ssim",
    "noise",
    "psnr",
    "sharpness",
    "shave",
    "ssim",
    "vif",
]
