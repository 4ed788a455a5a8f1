"""The network of the shipped model `fast-x3`: eight layers, initialized from the features of `fast-x4`.

    python -m tfmisr.fit --preset fast_x3 --workdir runs/fast-x3
    python -m tfmisr.export runs/fast-x3 --output exported --formats int8 --tile 256 --max_tile 256 --name fast-x3 \\
        --license Apache-2.0
"""

from tfmisr.presets import eight_x2

CONFIG = {**eight_x2.CONFIG, "scale": 3, "loss": "mse", "learning_rate": 5e-4, "steps": 10000}
