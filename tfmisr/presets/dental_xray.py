"""Intra-oral and panoramic radiographs: `--dataset` is a folder of images; sharper detector than for the chest.

Not yet tested on real dental radiographs.
"""

CONFIG = {
    "degradation": "xray(photons=2000, mtf_nyquist=0.5)",
    "model": "cnn5",
    "scale": 2,
    "patch_size": 32,
    "steps": 3000,
    "ema_decay": 0.995,
}
