"""Fine-tuning stage with the mean squared error, which PSNR is defined by, at a low learning rate.

The mean absolute error is minimized by the median of the possible pixel values, the squared error by their mean:

    python -m tfmisr.fit --preset finetune_mse --initial_weights runs/deep-x4 --workdir runs/deep-x4-finished
"""

from tfmisr.presets import deep_x4

CONFIG = {**deep_x4.CONFIG, "loss": "mse", "steps": 6000, "learning_rate": 1e-4}
