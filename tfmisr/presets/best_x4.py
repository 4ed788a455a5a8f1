"""The network of `best-x4`, which comes with the package: 24 layers, grown from the 16 of `deep_x4`.

It learns with squared errors and with the 8 bits of its file from the start:

    python -m tfmisr.fit --preset best_x4 --initial_weights runs/deep-x4-finished --workdir runs/best-x4
    python -m tfmisr.export runs/best-x4 --output exported --formats int8 --tile 256 --orientations 2 --name best-x4 \\
        --licence Apache-2.0
"""

from tfmisr.presets import finish

CONFIG = {
    **finish.CONFIG,
    "model": "plain/best",
    "quantization_aware": True,
    "learning_rate": 2e-4,
    "steps": 4500,
}
