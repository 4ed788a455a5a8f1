"""ESRGAN: RRDB-Net with a relativistic average discriminator and VGG19 features before activation.

Wang et al., ECCV Workshops 2018, https://arxiv.org/abs/1809.00219: perceptual loss plus 0.005 times the adversarial
loss plus 0.01 times the mean absolute error, Adam with learning rate 0.0001, batch 16, HR patches of 128 pixels,
400,000 steps.

It needs VGG19's weights, which Keras downloads (80 MB), or `--loss` with another network. It starts from the same
network trained with a pixel loss only: `--model rrdb/large --loss mae --steps 1000000` first, then
`--initial_weights RUN`.

Departures: Keras's VGG19 takes pixels of 0 to 255, so its features are divided by 12.75, as SRGAN's authors do; the
discriminator is SRGAN's; the learning rate follows a cosine, not halvings.
"""

CONFIG = {
    "dataset": "chest_xray14/512",
    "model": "rrdb/large",
    "discriminator": "srgan",
    "adversarial_loss": "relativistic",
    "scale": 4,
    "loss": "0.0784*perceptual(layers=conv5_4, activation=before, distance=l1) + 0.01*mae",
    "adversarial_weight": 5e-3,
    "feature_matching_weight": 0.0,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "schedule": "cosine",
    "auto_warmup": False,  # the paper has none
    "patch_size": 32,
    "batch_size": 16,
    "steps": 400_000,
}
