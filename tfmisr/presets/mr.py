"""MR slices: `--dataset` is a folder of DICOM slices; k-space of half the lines and columns, Rician noise.

Slices that were interpolated on the scanner hold nothing beyond their measured matrix; they flatter every method.
"""

CONFIG = {"degradation": "mr", "model": "cnn5", "scale": 2, "patch_size": 32, "steps": 3000, "ema_decay": 0.995}
