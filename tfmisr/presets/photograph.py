"""Color photographs, as of the cervix or the skin: `--dataset` is a folder of RGB images of unknown history.

Tested for a few steps only, on two real images (an esophagus, a stained section); its quality has not been measured.
"""

CONFIG = {
    "degradation": "real_world",
    "model": "cnn5",
    "scale": 2,
    "loss": "charbonnier + 0.1*ms_ssim(scales=2)",
    "patch_size": 32,
    "steps": 5000,
    "ema_decay": 0.995,
}
