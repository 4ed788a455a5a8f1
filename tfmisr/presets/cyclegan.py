"""CycleGAN: unpaired LR and HR images; a super-resolution network and a degradation model that invert each other.

Zhu et al., ICCV 2017, https://arxiv.org/abs/1703.10593: least-squares losses, PatchGAN discriminators, cycle weight 10,
identity weight 5, a pool of 50 images, Adam with learning rate 0.0002 and beta 0.5, 200 epochs.

Give LR images with `--lr_dataset`. Without it, half of the training patients give HR images and the other half LR
images, generated with the blur and noise below; the paired test set is always generated with them.

Departures: see `tfmisr.training.cycle`; the generator is EDSR's baseline, without normalization, because batch
statistics would mix three kinds of images; the learning rate decays from the start, not from half of the epochs;
batch 4.
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
    "auto_warmup": False,  # the paper has none
    "patch_size": 32,
    "batch_size": 4,
    "epochs": 200,
}
