"""The network of the shipped model `best-x2`: quantization-aware fine-tuning of `deep_x2` for its int8 file.

python -m tfmisr.fit --preset best_x2 --initial_weights runs/deep-x2 --workdir runs/best-x2
"""

from tfmisr.presets import best_x4

CONFIG = {**best_x4.CONFIG, "scale": 2, "loss": "mae", "steps": 2500}
