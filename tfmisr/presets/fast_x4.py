"""The network of `fast-x4`, which comes with the package: six layers, from the start.

The last steps are those of the preset `finish_int8`; the file is then written by

    python -m tfmisr.fit --preset finish_int8 --model plain/fast --initial_weights runs/fast-x4 \\
        --workdir runs/fast-x4-finished
    python -m tfmisr.export runs/fast-x4-finished --output exported --formats int8 --tile 256 --name fast-x4 \\
        --licence Apache-2.0
"""

from tfmisr.presets import eight_x4

CONFIG = {
    **eight_x4.CONFIG,
    "model": "plain/fast",
    "optimizer": "muon",
    "momentum": 0.95,
    "batch_size": 4,
    "steps": 8000,
}
