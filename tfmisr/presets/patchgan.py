"""PatchGAN: a discriminator of 70x70 pixel patches, with the loss weights of pix2pix.

Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017,
https://arxiv.org/abs/1611.07004: mean absolute error and adversarial loss as 100 to 1, Adam with learning rate 0.0002
and beta 0.5.

Departures: the generator is that of the paper's GAN; the discriminator is not conditioned on the LR image. Batch 16,
not 1.
"""

CONFIG = {
    "dataset": "chest_xray14/512",
    "model": "resnet6",
    "discriminator": "patch",
    "scale": 4,
    "loss": "mae",
    "pixel_weight": 1.0,
    "adversarial_weight": 1e-2,
    "feature_matching_weight": 0.0,
    "optimizer": "adam",
    "learning_rate": 2e-4,
    "beta_1": 0.5,
    "schedule": "constant",
    "auto_warmup": False,  # the paper has none
    "batch_size": 16,
    "epochs": 200,
}
