"""Twelve layers deepened from `fast-x4` (Net2Net), quantization-aware, MSE: the initial weights of `perceptual_x4`.

Its mean squared error is no lower than that of `fast-x4`; see docs/frontier.md.
"""

from tfmisr.presets import best_x4

CONFIG = {**best_x4.CONFIG, "model": "plain/num_filters=64,num_layers=12", "learning_rate": 2e-4, "steps": 4000}
