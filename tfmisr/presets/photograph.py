"""Colour photographs, as of the cervix or the skin: `--dataset` is a folder of RGB images of unknown history.

Tried on two real ones, of an oesophagus and of a stained section, for a few steps: it runs, and how good it gets is not
known.
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
