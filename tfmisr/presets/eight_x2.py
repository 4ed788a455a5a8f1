"""Eight layers that enlarge twice, from the features of `eight_x4`:

python -m tfmisr.fit --preset eight_x2 --initial_weights runs/eight-x4 --workdir runs/eight-x2
"""

from tfmisr.presets import eight_x4

CONFIG = {**eight_x4.CONFIG, "scale": 2, "batch_size": 4, "steps": 12000, "hard_patches": 0.7}
