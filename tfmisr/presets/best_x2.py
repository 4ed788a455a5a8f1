"""The network of `best-x2`, which comes with the package: `fast_x2` grown to twice the layers.

It starts from the run of `fast_x2`, with eight layers more that begin as the identity:

    python -m tfmisr.fit --preset best_x2 --initial_weights runs/fast-x2 --workdir runs/best-x2
"""

from tfmisr.presets import best_x4

CONFIG = {**best_x4.CONFIG, "scale": 2, "initial_weights": "fast-x2"}
