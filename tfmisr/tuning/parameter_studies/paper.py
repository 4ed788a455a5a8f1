"""The paper's parameter study: effect of the number of layers, filters and learning rate of its five-layer CNN.

Baraiya and Kothari name the three parameters but no values; "filter size" is interpreted as the number of filters. The
grid is centered on their settings (5 layers, 64 filters, SGD with 0.001), with three seeds per setting: 135 runs. Loss,
optimizer and patches are those of the preset `paper_cnn5`; 4,000 steps replace 100 epochs over the whole archive. With
64 filters a run takes about ten minutes on two CPU cores.
"""

from tfmisr.presets import paper_cnn5

CONFIG = {k: v for k, v in paper_cnn5.CONFIG.items() if k != "epochs"} | {"steps": 4000, "validate_every": 1000}
SPACE = {
    "num_layers": [3, 5, 7],
    "num_filters": [16, 32, 64],
    "learning_rate": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2],
    "seed": [0, 1, 2],
}
