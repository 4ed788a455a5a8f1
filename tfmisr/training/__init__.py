"""One run: optimizers, the GAN's step, checkpoints, what is watched, and the loop that joins them."""
