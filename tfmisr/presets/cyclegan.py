"""CycleGAN: LR and HR images without pairs, a super-resolver and a degrader that undo each other.

Zhu et al., ICCV 2017, https://arxiv.org/abs/1703.10593: least-squares losses, PatchGAN discriminators, cycle weight 10,
identity weight 5, a pool of 50 images, Adam with learning rate 0.0002 and beta 0.5, 200 epochs.

Give LR images with `--lr_dataset`. Without it half of the training patients give HR images and the other half LR
images, made with the blur and noise below; a paired test is made with them as well, whatever the LR images are.

Departures: see `tfmisr.training.cycle`; the generator is EDSR's baseline, with no normalisation to mix the statistics
of the three kinds of image it is given; the learning rate falls from the start, not from half of the epochs; batch 4.
"""

CONFIG = {
    "dataset": "chest_xray14/512",
    "model": "edsr",
    "unpaired": True,
    "discriminator": "patch",
    "adversarial_loss": "lsgan",
    "scale": 4,
    "blur_sigma": 2.0,
    "noise_std": 0.01,
    "loss": "mae",
    "adversarial_weight": 1.0,
    "cycle_weight": 10.0,
    "identity_weight": 5.0,
    "image_pool": 50,
    "optimizer": "adam",
    "learning_rate": 2e-4,
    "beta_1": 0.5,
    "schedule": "linear",
    "auto_warmup": False,  # none is named there
    "patch_size": 32,
    "batch_size": 4,
    "epochs": 200,
}
