"""The training loop and its parts: optimizers, GAN and CycleGAN trainers, checkpoints, callbacks, initial weights."""
