"""The paper's CNN, interpreted as "five-layer CNN with 64 filters per layer"; the rest as in `paper_cnn`."""

from tfmisr.presets import paper_cnn

CONFIG = {**paper_cnn.CONFIG, "model": "cnn5"}
