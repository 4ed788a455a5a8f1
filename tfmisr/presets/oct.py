"""Optical coherence tomography, as of the retina: `--dataset` is a folder of B-scans, rows are depth.

Not yet tested on real tomograms.
"""

CONFIG = {"degradation": "oct", "model": "cnn5", "scale": 2, "patch_size": 32, "steps": 3000, "ema_decay": 0.995}
