"""B-mode ultrasound: `--dataset` is a folder of images, log-compressed as scanners show them; rows are depth.

Speckle is part of the HR image, so the network learns to restore it too.
"""

CONFIG = {"degradation": "ultrasound", "model": "cnn5", "scale": 2, "patch_size": 32, "steps": 3000, "ema_decay": 0.995}
