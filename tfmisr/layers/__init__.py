"""Keras layers and blocks of super-resolution networks; imported when used."""

from tfmisr import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    old={
        "upsampling": (
            "image_conv",
            "gentle_conv",
            "interpolation_plus_shuffled",
            "interpolation_plus",
            "anchor_plus",
            "shuffled_image",
            "shuffle_upsampling",
        )
    },
    upsampling=("DepthToSpace", "BicubicUpsampling", "UnitRange", "SymmetricPadding", "NearIdentity"),
    blocks=(
        "batch_normalization",
        "conv",
        "small_variance_conv",
        "output_conv",
        "prelu",
        "stages",
        "pixel_shuffle_upsampling",
        "residual_block",
        "global_residual",
        "global_residual_shuffled",
        "pixel_shuffle_output",
        "anchor_residual",
    ),
)
