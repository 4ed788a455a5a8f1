"""The last steps of the models that come with the package: squared errors, which PSNR counts, at a small rate.

The mean absolute error looks for the median of what a pixel can be, PSNR rewards the mean:

    python -m tfmisr.fit --preset finish --initial_weights runs/best-x4 --workdir runs/best-x4-finished
"""

from tfmisr.presets import best_x4

CONFIG = {
    **best_x4.CONFIG,
    "initial_weights": None,
    "loss": "mse",
    "steps": 6000,
    "learning_rate": 1e-4,
}
