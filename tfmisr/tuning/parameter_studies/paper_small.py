"""The paper's parameter study at a budget for a laptop: 54 short runs of its five-layer CNN on real chest X-rays.

Adam takes the place of SGD, which learns next to nothing in so few steps, and the learning rates lie around Adam's
usual one; no warm-up, as in the paper. On two idle CPU cores a run takes 20 to 65 seconds and the study about 40
minutes.
"""

CONFIG = {
    "dataset": "chest_xray14/512",
    "model": "cnn5",
    "scale": 4,
    "loss": "mae",
    "optimizer": "adam",
    "auto_warmup": False,
    "steps": 1000,
    "save_every": 250,
    "validate_every": 1000,
}
SPACE = {
    "num_layers": [3, 5, 7],
    "num_filters": [16, 32],
    "learning_rate": [3e-4, 1e-3, 3e-3],
    "seed": [0, 1, 2],
}
