"""The network of the shipped model `best-x4`: quantization-aware fine-tuning of `deep_x4` for its int8 file.

    python -m tfmisr.fit --preset best_x4 --initial_weights runs/deep-x4-finished --workdir runs/first
    python -m tfmisr.fit --preset best_x4 --initial_weights runs/first --learning_rate 2e-4 --steps 14000 \\
        --workdir runs/best-x4
    python -m tfmisr.export runs/best-x4 --output exported --formats int8 --tile 256 --orientations 3 \\
        --max_tile 440 --name best-x4 --license Apache-2.0
"""

from tfmisr.presets import finetune_mse

CONFIG = {**finetune_mse.CONFIG, "quantization_aware": True, "steps": 4000}
