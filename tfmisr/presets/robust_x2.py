"""The network of the shipped model `robust-x2`: sixteen layers, from those of `balanced-x2`, for any acquisition.

    python -m tfmisr.fit --preset robust_x2 --steps 9000 --workdir runs/robust-x2
    python -m tfmisr.export runs/robust-x2 --output exported --formats int8 --tile 256 --max_tile 440 \\
        --name robust-x2 --license Apache-2.0
"""

from tfmisr.presets import robust_x4

CONFIG = {**robust_x4.CONFIG, "scale": 2, "initial_weights": "balanced-x2"}
