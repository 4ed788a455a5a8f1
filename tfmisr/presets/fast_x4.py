"""The network of the shipped model `fast-x4`: eight layers, trained from scratch. The larger networks deepen it.

It takes 20 to 30 minutes on two cores with bfloat16 instructions (AVX512-BF16); then it is fine-tuned for 8 bits:

    python -m tfmisr.fit --preset fast_x4 --workdir runs/first
    python -m tfmisr.fit --preset finetune_mse --model plain/fast --initial_weights runs/first --burned_in 0.25 \\
        --workdir runs/second
    python -m tfmisr.fit --preset finetune_int8 --model plain/fast --initial_weights runs/second --steps 2500 \\
        --workdir runs/third
    python -m tfmisr.fit --preset finetune_int8 --model plain/fast --initial_weights runs/third --steps 36000 \\
        --learning_rate 2e-4 --workdir runs/fast-x4
    python -m tfmisr.export runs/fast-x4 --output exported --formats int8 --calibration_images 96 \\
        --name fast-x4 --license Apache-2.0
"""

CONFIG = {
    "dataset": "chest_xray14/512",
    "model": "plain/fast",
    "scale": 4,
    "patch_size": 48,
    "batch_size": 8,
    "steps": 16000,
    "loss": "mae",
    "learning_rate": 1e-3,
    "warmup_steps": 200,
    "auto_warmup": False,
    "hard_patches": 0.5,
    "ema_decay": 0.999,
    "mixed_precision": "mixed_bfloat16",
    "save_every": 500,
    "validate_every": 2000,
}
