"""The network of `best-x2`, which comes with the package: the last steps of `deep_x2`, with the 8 bits of its file.

python -m tfmisr.fit --preset best_x2 --initial_weights runs/deep-x2 --workdir runs/best-x2
"""

from tfmisr.presets import best_x4

CONFIG = {**best_x4.CONFIG, "scale": 2, "loss": "mae"}
