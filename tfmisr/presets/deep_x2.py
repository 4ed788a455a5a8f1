"""Sixteen layers for x2, deepened from `eight_x2` (Net2Net): the initial weights of `best_x2`.

python -m tfmisr.fit --preset deep_x2 --initial_weights runs/eight-x2 --workdir runs/deep-x2
"""

from tfmisr.presets import deep_x4

CONFIG = {**deep_x4.CONFIG, "scale": 2}
