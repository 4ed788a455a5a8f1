"""Quantization-aware training, and cross-layer equalization of plain networks; imported when used."""

from tfmisr import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    old={
        "aware_training": (
            "aware",
            "bounded",
            "fitted",
            "REACH",
            "MAGNIFIED",
            "RoundedConv2D",
        )
    },
    aware_training=(
        "ACTIVATION_CLIP",
        "FINE_SCALE",
        "clip_activations",
        "scale_to_clip_range",
        "fake_quantize",
        "FakeQuantConv2D",
    ),
    graph_training=("insert_ranges", "calibrate", "has_ranges"),
    preparation=("prepare",),
)
