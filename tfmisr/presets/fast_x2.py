"""The network of the shipped model `fast-x2`: six layers, trained from scratch.

`finetune_int8` fine-tunes it; the file is then written by

    python -m tfmisr.fit --preset finetune_int8 --scale 2 --initial_weights runs/fast-x2 --workdir runs/fast-x2-finished
    python -m tfmisr.export runs/fast-x2-finished --output exported --formats int8 --tile 256 \\
        --max_tile 256 --name fast-x2 --license Apache-2.0
"""

from tfmisr.presets import fast_x4

CONFIG = {
    **fast_x4.CONFIG,
    "scale": 2,
    "model": "plain/num_filters=64,num_layers=6",
    "optimizer": "muon",
    "momentum": 0.95,
    "batch_size": 4,
    "steps": 8000,
}
