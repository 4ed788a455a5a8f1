"""The network of `fast-x2`, which comes with the package: as `fast_x4`, twice."""

from tfmisr.presets import fast_x4

CONFIG = {**fast_x4.CONFIG, "scale": 2}
