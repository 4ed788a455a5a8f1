"""Quantization-aware training and cross-layer equalization of plain networks; imported when used."""

from tfmisr import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    aware_training=(
        "REACH",
        "MAGNIFIED",
        "bounded",
        "fitted",
        "aware",
        "RoundedConv2D",
    ),
)
