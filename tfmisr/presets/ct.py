"""CT slices: `--dataset` is a folder of DICOM slices, read in Hounsfield units; x2, from a lower dose.

Evaluate it within the windows that readers use: `python -m tfmisr.evaluate RUN --measures psnr ssim psnr_lung
psnr_soft_tissue psnr_bone`.
"""

CONFIG = {"degradation": "ct", "model": "cnn5", "scale": 2, "patch_size": 32, "steps": 3000, "ema_decay": 0.995}
