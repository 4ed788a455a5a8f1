"""The network of `balanced-x4`, which comes with the package: twelve layers, grown from the eight of `fast-x4`.

It learns with squared errors and with the 8 bits of its file from the start:

    python -m tfmisr.fit --preset balanced_x4 --initial_weights fast-x4 --workdir runs/balanced-x4
    python -m tfmisr.export runs/balanced-x4 --output exported --formats int8 --tile 256 --name balanced-x4 \\
        --licence Apache-2.0
"""

from tfmisr.presets import best_x4

CONFIG = {**best_x4.CONFIG, "model": "plain/balanced", "learning_rate": 2e-4, "steps": 4000}
