"""The network of the shipped model `fast-x8`: eight layers, initialized from the features of `fast-x4`.

    python -m tfmisr.fit --preset fast_x8 --workdir runs/fast-x8
    python -m tfmisr.export runs/fast-x8 --output exported --formats int8 --tile 256 --max_tile 256 --name fast-x8 \\
        --license Apache-2.0

`best-x8` is the same network with `--orientations 3 --calibration_images 96 --max_tile 440`.
"""

from tfmisr.presets import fast_x3

CONFIG = {**fast_x3.CONFIG, "scale": 8, "patch_size": 32, "batch_size": 8}
