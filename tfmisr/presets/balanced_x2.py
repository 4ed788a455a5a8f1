"""The network of `balanced-x2`, which comes with the package: as `balanced_x4`, twice, from `eight_x2`."""

from tfmisr.presets import balanced_x4

CONFIG = {**balanced_x4.CONFIG, "scale": 2}
