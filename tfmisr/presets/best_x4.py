"""The network of `best-x4`, which comes with the package: 24 layers, grown from the 16 of `deep_x4`.

python -m tfmisr.fit --preset best_x4 --initial_weights runs/deep-x4-finished --workdir runs/best-x4
"""

from tfmisr.presets import deep_x4

CONFIG = {
    **deep_x4.CONFIG,
    "model": "plain/best",
    "initial_weights": None,
    "optimizer": "muon",
    "momentum": 0.95,
    "learning_rate": 3e-4,
    "loss": "mse",
    "steps": 7000,
    "warmup_steps": 200,
}
