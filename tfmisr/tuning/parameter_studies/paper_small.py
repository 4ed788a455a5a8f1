"""The paper's parameter study on the budget of a laptop: 54 short runs of its five-layer CNN on real chest X-rays.

Adam replaces SGD, which barely learns in so few steps, with learning rates around Adam's default; no warm-up, as in the
paper. On two idle CPU cores a run takes 20 to 65 seconds and the study about 40 minutes.
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
