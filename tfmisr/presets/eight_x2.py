"""Eight layers for x2, initialized from the features of `fast-x4`; `deep_x2` deepens it."""

from tfmisr.presets import fast_x4

CONFIG = {
    **fast_x4.CONFIG,
    "scale": 2,
    "initial_weights": "fast-x4",
    "batch_size": 4,
    "steps": 12000,
    "hard_patches": 0.7,
}
