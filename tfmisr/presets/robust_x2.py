"""The network of the shipped model `robust-x2`: sixteen layers, from those of `balanced-x2`, for any acquisition.

    python -m tfmisr.fit --preset robust_x2 --steps 9000 --workdir runs/first
    python -m tfmisr.fit --preset robust_x2 --initial_weights runs/first --degradation "blind_xray(bicubic=0.65)" \\
        --learning_rate 4e-4 --burned_in 0.05 --hard_patches 0.7 --steps 20000 --workdir runs/second
    python -m tfmisr.fit --preset robust_x2 --initial_weights runs/second --degradation "blind_xray(bicubic=0.65)" \\
        --learning_rate 1e-4 --burned_in 0.05 --hard_patches 0.7 --quantization_aware --steps 3000 \\
        --workdir runs/robust-x2
    python -m tfmisr.export runs/robust-x2 --output exported --formats int8 --tile 256 --max_tile 440 \\
        --calibration_images 48 --name robust-x2 --license Apache-2.0
"""

from tfmisr.presets import robust_x4

CONFIG = {**robust_x4.CONFIG, "scale": 2, "initial_weights": "balanced-x2"}
