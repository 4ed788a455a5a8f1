"""A discriminator that judges each 70x70 pixels of an image, with the weights of pix2pix.

Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017,
https://arxiv.org/abs/1611.07004: mean absolute error and adversarial loss as 100 to 1, Adam with learning rate 0.0002
and beta 0.5.

Departures: the generator is that of the paper's GAN, whose input is the small image; the discriminator does not see
that. Batch 16, not 1.
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
    "auto_warmup": False,  # none is named there
    "batch_size": 16,
    "epochs": 200,
}
