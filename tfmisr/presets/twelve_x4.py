"""Twelve layers grown from the eight of `fast-x4`, with squared errors and 8 bits: what `perceptual_x4` starts from.

It was to be `balanced-x4`, and is no better than `fast-x4` by squared errors; see docs/frontier.md.
"""

from tfmisr.presets import best_x4

CONFIG = {**best_x4.CONFIG, "model": "plain/num_filters=64,num_layers=12", "learning_rate": 2e-4, "steps": 4000}
