"""The network of the shipped model `perceptual-x4`: the paper's GAN, initialized from `twelve_x4`.

    python -m tfmisr.fit --preset perceptual_x4 --initial_weights runs/twelve-x4 --workdir runs/perceptual-x4
    python -m tfmisr.export runs/perceptual-x4 --output exported --formats float16 --tile 256 \\
        --max_tile 364 --name perceptual-x4 --license Apache-2.0

The pixel loss keeps the mean of the possible images; the adversarial loss and the paper's feature matching add the
grain of a radiograph, which is hallucinated: not present in the input. `benchmarks/perception.py` measures how much.
"""

from tfmisr.presets import fast_x4

CONFIG = {
    **fast_x4.CONFIG,
    "model": "plain/num_filters=64,num_layers=12",
    "discriminator": "dcgan",
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "beta_1": 0.5,
    "adversarial_weight": 5e-3,
    "feature_matching_weight": 1e-2,
    "patch_size": 32,
    "batch_size": 4,
    "hard_patches": 0.7,
    "steps": 1800,
    "save_every": 250,
    "validate_every": 500,
}
