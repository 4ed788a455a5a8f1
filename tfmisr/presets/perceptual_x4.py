"""The network of `perceptual-x4`, which comes with the package: the paper's GAN, from the generator of `best_x4`.

Discriminator, adversarial and feature-matching loss and Adam's moments are the paper's (`paper_gan`); the generator,
its first weights, a falling rate and averaged weights are not:

    python -m tfmisr.fit --preset perceptual_x4 --initial_weights runs/best-x4-finished --workdir runs/perceptual-x4
"""

from tfmisr.presets import best_x4, paper_gan

_LOSSES = ("discriminator", "pixel_weight", "adversarial_weight", "feature_matching_weight", "beta_1", "beta_2")

CONFIG = {
    **best_x4.CONFIG,
    **{key: paper_gan.CONFIG[key] for key in _LOSSES if key in paper_gan.CONFIG},
    "initial_weights": None,
    "steps": 1500,
    "learning_rate": 1e-4,
    "discriminator_learning_rate": 2e-4,
}
