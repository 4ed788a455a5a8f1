"""Keras layers and blocks of super-resolution networks; imported when used."""

from tfmisr import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    upsampling=(
        "DepthToSpace",
        "BicubicUpsampling",
        "UnitRange",
        "SymmetricPadding",
        "NearIdentity",
        "batch_normalization",
        "conv",
        "gentle_conv",
        "image_conv",
        "prelu",
        "stages",
        "shuffle_upsampling",
        "residual_block",
        "interpolation_plus",
        "interpolation_plus_shuffled",
        "shuffled_image",
        "anchor_plus",
    ),
)
