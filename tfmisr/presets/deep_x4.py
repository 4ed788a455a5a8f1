"""Sixteen layers grown from `fast-x4`: with the last steps of `finish` what `best_x4` starts from.

It starts from the shipped `fast-x4`, with eight layers more that begin as the identity:

    python -m tfmisr.fit --preset deep_x4 --workdir runs/deep-x4
    python -m tfmisr.fit --preset finish --initial_weights runs/deep-x4 --workdir runs/deep-x4-finished
"""

from tfmisr.presets import fast_x4

CONFIG = {
    **fast_x4.CONFIG,
    "model": "plain/num_filters=64,num_layers=16",
    "initial_weights": "fast-x4",
    "batch_size": 4,
    "steps": 16000,
    "learning_rate": 5e-4,
    "hard_patches": 0.7,
}
