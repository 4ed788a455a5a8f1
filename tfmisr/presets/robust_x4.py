"""The network of the shipped model `robust-x4`: sixteen layers, from those of `balanced-x4`, for any acquisition.

    python -m tfmisr.fit --preset robust_x4 --learning_rate 4e-4 --steps 14000 --workdir runs/first
    python -m tfmisr.fit --preset robust_x4 --initial_weights runs/first --learning_rate 2e-4 --burned_in 0.05 \\
        --hard_patches 0.7 --steps 9000 --workdir runs/second
    python -m tfmisr.fit --preset robust_x4 --initial_weights runs/second --degradation "blind_xray(bicubic=0.4)" \\
        --learning_rate 3e-4 --burned_in 0.05 --hard_patches 0.7 --steps 20000 --workdir runs/third
    python -m tfmisr.fit --preset robust_x4 --initial_weights runs/third --degradation "blind_xray(bicubic=0.45)" \\
        --learning_rate 1e-4 --burned_in 0.05 --hard_patches 0.7 --quantization_aware --steps 2500 \\
        --workdir runs/fourth
    python -m tfmisr.fit --preset robust_x4 --initial_weights runs/fourth --degradation "blind_xray(bicubic=0.6)" \\
        --loss "psnr(epsilon=1e-3)" --learning_rate 2e-4 --burned_in 0.05 --hard_patches 0.7 --quantization_aware \\
        --steps 17000 --workdir runs/robust-x4
    python -m tfmisr.export runs/robust-x4 --output exported --formats int8 --tile 256 --max_tile 440 \\
        --name robust-x4 --license Apache-2.0
"""

from tfmisr.presets import deep_x4

CONFIG = {
    **deep_x4.CONFIG,
    "initial_weights": "balanced-x4",
    "degradation": "blind_xray(bicubic=0.5)",
    "quantize_lr": False,
    "loss": "psnr",
    "hard_patches": 0.6,
    "burned_in": 0.1,
    "intensity_augmentation": 0.3,
    "steps": 20000,
}
