"""The network of `best-x2`, which comes with the package: 24 layers, grown from the 16 of `deep_x2`.

python -m tfmisr.fit --preset best_x2 --initial_weights runs/deep-x2 --workdir runs/best-x2
"""

from tfmisr.presets import best_x4

CONFIG = {**best_x4.CONFIG, "scale": 2, "loss": "mae", "hard_patches": 0.5}
