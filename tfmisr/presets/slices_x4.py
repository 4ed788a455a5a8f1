"""Fine-tuning of the shipped `fast-x4` on slices of CT or MR, where there are few: `--dataset` is a folder of them.

A low learning rate keeps what the network learned from chest radiographs. 600 steps take about half a minute on one
core with bfloat16 instructions (AVX512-BF16). What it reaches for patients that it was not trained on, and where it is
no better than the shipped networks: docs/results/modalities.md.

    python -m tfmisr.fit --preset slices_x4 --dataset ./slices --workdir runs/slices-x4
"""

CONFIG = {
    "model": "plain/fast",
    "scale": 4,
    "initial_weights": "fast-x4",
    "patch_size": 48,
    "batch_size": 4,
    "steps": 600,
    "loss": "mse",
    "learning_rate": 1e-4,
    "warmup_steps": 50,
    "auto_warmup": False,
    "hard_patches": 0.5,
    "ema_decay": 0.99,
    "mixed_precision": "mixed_bfloat16",
    "save_every": 200,
    "validate_every": 600,
}
