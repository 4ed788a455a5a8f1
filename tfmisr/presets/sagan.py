"""SAGAN: self-attention discriminator, spectral normalization, hinge loss, two time-scale update rule.

Zhang et al., Self-Attention Generative Adversarial Networks, ICML 2019, https://arxiv.org/abs/1805.08318: Adam with
betas (0, 0.9), learning rates 0.0001 and 0.0004 of generator and discriminator (two time-scales: Heusel et al.,
NeurIPS 2017, https://arxiv.org/abs/1706.08500).

Departures: the paper generates photographs from noise; here the generator is SRResNet without attention or spectral
normalization, has a pixel loss too, and 0.001 is SRGAN's weight of the adversarial loss. Batch 16, not 256.
"""

CONFIG = {
    "dataset": "chest_xray14/512",
    "model": "srresnet",
    "discriminator": "sagan",
    "adversarial_loss": "hinge",
    "spectral_normalization": True,
    "scale": 4,
    "loss": "mae",
    "adversarial_weight": 1e-3,
    "feature_matching_weight": 0.0,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "discriminator_learning_rate": 4e-4,
    "beta_1": 0.0,
    "beta_2": 0.9,
    "schedule": "constant",
    "auto_warmup": False,  # the paper has none
    "batch_size": 16,
    "steps": 100_000,
}
