"""Quantization-aware fine-tuning stage for an int8 file, otherwise as `finetune_mse`.

Model and scale must be those of the initial weights:

    python -m tfmisr.fit --preset finetune_int8 --scale 2 --initial_weights runs/fast-x2 --workdir runs/fast-x2-finished
"""

from tfmisr.presets import finetune_mse

CONFIG = {
    **finetune_mse.CONFIG,
    "model": "plain/num_filters=64,num_layers=6",
    "quantization_aware": True,
    "steps": 2000,
}
