"""Sixteen layers for x4, deepened from `fast_x4` (Net2Net): after `finetune_mse` the initial weights of `best_x4`.

python -m tfmisr.fit --preset deep_x4 --initial_weights fast-x4 --workdir runs/deep-x4
python -m tfmisr.fit --preset finetune_mse --initial_weights runs/deep-x4 --workdir runs/deep-x4-finished
"""

from tfmisr.presets import fast_x4

CONFIG = {
    **fast_x4.CONFIG,
    "model": "plain/best",
    "batch_size": 4,
    "learning_rate": 5e-4,
    "hard_patches": 0.7,
}
