"""A demonstration of parameter studies: six tiny runs on the built-in phantom.

It takes about a minute on two idle CPU cores once the phantom is prepared; its results have no meaning.
"""

CONFIG = {
    "dataset": "chest_phantom",
    "model": "cnn5",
    "patch_size": 16,
    "batch_size": 4,
    "steps": 20,
    "save_every": 20,
    "validate_every": 20,
}
SPACE = {"num_filters": [4, 8], "seed": [0, 1, 2]}
