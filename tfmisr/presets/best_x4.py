"""The network of `best-x4`, which comes with the package: the last steps of `deep_x4`, with the 8 bits of its file.

    python -m tfmisr.fit --preset best_x4 --initial_weights runs/deep-x4-finished --workdir runs/best-x4
    python -m tfmisr.export runs/best-x4 --output exported --formats int8 --tile 256 --orientations 3 \\
        --max_tile 440 --name best-x4 --license Apache-2.0
"""

from tfmisr.presets import finish

CONFIG = {**finish.CONFIG, "quantization_aware": True, "steps": 2500}
