"""The network of `best-x4`, which comes with the package: `fast-x4` grown to twice the layers.

It starts from the shipped `fast-x4`, with eight layers more that begin as the identity.
"""

from tfmisr.presets import fast_x4

CONFIG = {
    **fast_x4.CONFIG,
    "model": "plain/best",
    "initial_weights": "fast-x4",
    "batch_size": 4,
    "steps": 16000,
    "learning_rate": 5e-4,
    "hard_patches": 0.7,
}
