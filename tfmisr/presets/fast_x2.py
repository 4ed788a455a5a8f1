"""The model `fast-x2` that comes with the package: chest radiographs, twice; as `fast_x4` but for the scale.

On two cores with bfloat16 instructions (AVX512-BF16) some 20 minutes; the file is then written by

    python -m tfmisr.export runs/fast-x2 --output exported --formats int8 --name fast-x2 --licence Apache-2.0
"""

from tfmisr.presets import fast_x4

CONFIG = {**fast_x4.CONFIG, "scale": 2, "steps": 12000}
