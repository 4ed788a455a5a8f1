"""The network of the shipped model `best-x8`: sixteen layers, deepened from `fast-x8` (Net2Net).

    python -m tfmisr.fit --preset best_x8 --initial_weights runs/fast-x8 --workdir runs/best-x8
    python -m tfmisr.export runs/best-x8 --output exported --formats int8 --tile 256 --orientations 3 --max_tile 440 \\
        --name best-x8 --license Apache-2.0
"""

from tfmisr.presets import fast_x8

CONFIG = {**fast_x8.CONFIG, "model": "plain/best", "initial_weights": "fast-x8", "batch_size": 4}
