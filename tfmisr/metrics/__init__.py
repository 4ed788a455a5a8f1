"""Image quality metrics of a restored image: similarity to the reference, sharpness, noise, distances of image sets.

Images are arrays of shape `(height, width)` or `(height, width, channels)`, float or integer; metrics are computed in
float64. `max_val` is the value of a full-scale pixel (255, 4095, 1.0). A metric that is not defined on an image, such
as one of too few pixels, is nan.

A metric is one module here: a function, and a row `METRIC = Metric(...)` with its name, definition and column.
`names()` and the tables are read from these rows. LPIPS, FID and KID use networks with published weights.
"""

from tfmisr import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    old={"_old_names": ("METRICS", "UNDEFINED"), "_region": ("centre",)},
    _metric=("Metric", "default_names", "get", "names", "optional_names", "rows"),
    _region=("central_crop", "shave"),
    detail=("gmsd", "laplacian", "noise", "sharpness"),
    haar=("haarpsi",),
    information=("VIF_MIN_SIDE", "vif"),
    similarity=("MS_SSIM_MIN_SIDE", "SSIM_MIN_SIDE", "ms_ssim", "psnr", "ssim"),
)
