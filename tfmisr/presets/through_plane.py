"""Thinner slices of CT and MR: a network for the planes perpendicular to the slices, trained on other volumes.

`--dataset` is a folder of in-plane images of the modality. `python -m tfmisr.export` writes the `.tflite` file that
`python -m tfmisr.volume --model` takes; `docs/volumes.md` has the steps and what a network trained on other volumes
reached.
"""

CONFIG = {
    "degradation": "through_plane",
    "scale": 1,
    "model": "plain/num_filters=32,num_layers=6",
    "patch_size": 64,
    "batch_size": 16,
    "steps": 3000,
    "ema_decay": 0.995,
    "quantize_lr": False,
}
