"""The model `fast-x2` that comes with the package: chest radiographs, twice. It starts from the features of `fast-x4`.

The last steps are those of the preset `finish`; the file is then written by

    python -m tfmisr.fit --preset finish --scale 2 --model plain/fast --initial_weights runs/fast-x2 \\
        --workdir runs/fast-x2-finished
    python -m tfmisr.export runs/fast-x2-finished --output exported --formats int8 --tile 256 --name fast-x2 \\
        --licence Apache-2.0
"""

from tfmisr.presets import fast_x4

CONFIG = {
    **fast_x4.CONFIG,
    "scale": 2,
    "initial_weights": "fast-x4",
    "batch_size": 4,
    "steps": 12000,
    "hard_patches": 0.7,
}
