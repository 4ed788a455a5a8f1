"""Last steps with squared errors, which PSNR counts, at a small rate.

The mean absolute error looks for the median of what a pixel can be, PSNR rewards the mean:

    python -m tfmisr.fit --preset finish --initial_weights runs/deep-x4 --workdir runs/deep-x4-finished
"""

from tfmisr.presets import deep_x4

CONFIG = {**deep_x4.CONFIG, "loss": "mse", "steps": 6000, "learning_rate": 1e-4}
