"""The network of the shipped model `best-x2`: quantization-aware fine-tuning of `deep_x2` for its int8 file.

    python -m tfmisr.fit --preset best_x2 --initial_weights runs/deep-x2 --workdir runs/first
    python -m tfmisr.fit --preset best_x2 --initial_weights runs/first --degradation "bicubic(rounding=pillow8)" \\
        --steps 4000 --workdir runs/second
    python -m tfmisr.fit --preset best_x2 --initial_weights runs/second --degradation "bicubic(rounding=pillow8)" \\
        --learning_rate 2e-4 --hard_patches 0.5 --steps 15000 --workdir runs/third
    python -m tfmisr.fit --preset best_x2 --initial_weights runs/third --clip_fraction 0.5 \\
        --learning_rate 2e-4 --hard_patches 0.5 --steps 12000 --workdir runs/best-x2
    python -m tfmisr.export runs/best-x2 --output exported --formats int8 --tile 256 --orientations 3 \\
        --max_tile 440 --calibration_images 16 --name best-x2 --license Apache-2.0
"""

from tfmisr.presets import best_x4

CONFIG = {**best_x4.CONFIG, "scale": 2, "loss": "mae", "steps": 2500}
