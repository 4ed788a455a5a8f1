"""Last steps as those of `finish`, with the 8 bits of an int8 file: what its rounding would cost is learned around.

Model and scale are those of the run that it starts from:

    python -m tfmisr.fit --preset finish_int8 --scale 2 --initial_weights runs/fast-x2 --workdir runs/fast-x2-finished
"""

from tfmisr.presets import finish

CONFIG = {**finish.CONFIG, "model": "plain/num_filters=64,num_layers=6", "quantization_aware": True, "steps": 2000}
