"""MR slices: `--dataset` is a folder of DICOM slices; k-space of half the lines and columns, Rician noise.

Slices that the scanner interpolated hold no detail beyond the acquired matrix: scores on them are too optimistic.
"""

CONFIG = {"degradation": "mr", "model": "cnn5", "scale": 2, "patch_size": 32, "steps": 3000, "ema_decay": 0.995}
