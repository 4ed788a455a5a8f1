"""The network of `best-x2`, which comes with the package: 24 layers, grown from the 16 of `deep_x2`.

    python -m tfmisr.fit --preset best_x2 --initial_weights runs/deep-x2 --workdir runs/best-x2
    python -m tfmisr.fit --preset finish_int8 --model plain/best --scale 2 --initial_weights runs/best-x2 \\
        --workdir runs/best-x2-finished
"""

from tfmisr.presets import deep_x2

CONFIG = {
    **deep_x2.CONFIG,
    "model": "plain/best",
    "optimizer": "muon",
    "momentum": 0.95,
    "learning_rate": 3e-4,
    "hard_patches": 0.5,
    "steps": 7000,
}
