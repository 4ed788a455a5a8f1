"""SRGAN: SRResNet, a discriminator of eight convolutions, and a VGG19 perceptual loss instead of a pixel loss.

Ledig et al., CVPR 2017, https://arxiv.org/abs/1609.04802: 0.006 times the squared distance of VGG19's conv5_4 (VGG54)
plus 0.001 times the adversarial loss, Adam with learning rate 0.0001, batch 16, HR patches of 96 pixels, 200,000 steps.

It needs VGG19's weights, which Keras downloads (80 MB), or `--loss` with another network. It starts from an SRResNet
trained with a pixel loss only: `--model srresnet --loss mse --steps 1000000` first, then `--initial_weights RUN`.

Departures: the learning rate is not divided by 10 after half of the steps.
"""

CONFIG = {
    "dataset": "chest_xray14/512",
    "model": "srresnet",
    "discriminator": "srgan",
    "scale": 4,
    "loss": "0.006*perceptual(layers=conv5_4, activation=after, distance=l2)",
    "adversarial_weight": 1e-3,
    "feature_matching_weight": 0.0,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "schedule": "constant",
    "auto_warmup": False,  # the paper has none
    "patch_size": 24,
    "batch_size": 16,
    "steps": 200_000,
}
