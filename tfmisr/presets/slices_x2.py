"""Fine-tuning of the shipped `fast-x2` on slices of CT or MR, otherwise as `slices_x4`."""

from tfmisr.presets import slices_x4

CONFIG = {
    **slices_x4.CONFIG,
    "model": "plain/num_filters=64,num_layers=6",
    "scale": 2,
    "initial_weights": "fast-x2",
}
