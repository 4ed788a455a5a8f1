"""The network of `balanced-x4`, which comes with the package: twelve layers, grown from the eight of `eight_x4`.

    python -m tfmisr.fit --preset balanced_x4 --initial_weights runs/eight-x4 --workdir runs/balanced-x4

The last steps are those of the preset `finish_int8`.
"""

from tfmisr.presets import eight_x4

CONFIG = {
    **eight_x4.CONFIG,
    "model": "plain/balanced",
    "optimizer": "muon",
    "momentum": 0.95,
    "batch_size": 4,
    "steps": 5000,
    "learning_rate": 5e-4,
    "hard_patches": 0.7,
}
