"""The pool of generated images of CycleGAN.

Shrivastava et al., Learning from Simulated and Unsupervised Images through Adversarial Training, CVPR 2017,
https://arxiv.org/abs/1612.07828; used by Zhu et al., CycleGAN, ICCV 2017, https://arxiv.org/abs/1703.10593.
"""

import keras
from keras import ops

from tfmisr.config import Config
from tfmisr.training import backends


class ImagePool:
    """Pool of generated images of earlier steps, shown to the discriminator again with probability 1/2.

    Random draws are a pure function of (seed, step), the same with TensorFlow and with JAX, and the images are
    variables in the checkpoint, so that an interrupted run resumes with the same ones. Every replica keeps the same
    pool, with the images of all replicas.

    Args:
        size: Number of images; a multiple of the batch size.
        shape: Height, width and channels.
        seed: Seed of the draws.
    """

    def __init__(self, size: int, shape: tuple[int, int, int], seed: int):
        self.size, self.seed = size, seed
        self.images = keras.Variable(
            ops.zeros((size, *shape)), trainable=False, aggregation="only_first_replica", name="image_pool"
        )

    def exchange(self, images: keras.KerasTensor, step: keras.KerasTensor) -> keras.KerasTensor:
        """Returns `images`, some of them replaced by earlier ones, whose slots they take in the pool.

        Args:
            images: New images of this replica, `(batch, height, width, channels)`.
            step: Steps that were done: integer scalar.
        """
        new, start = backends.adapter().gathered(images)
        count = ops.shape(new)[0]
        slots, replaced = self._draw(count, step)
        old = ops.take(self.images.value, slots, axis=0)
        replaced = replaced[:, None, None, None]
        exchanged = ops.where(replaced, old, new)
        self._keep(slots, ops.where(replaced | self._filling(count, step), new, old))
        return exchanged[start : start + ops.shape(images)[0]]

    def _filling(self, count, step):
        return step < ops.cast(self.size // count, step.dtype)

    def _draw(self, count, step):
        """Returns a distinct slot of the pool for each image, and whether the slot's old image replaces it."""
        uniform = backends.adapter().uniform
        # Stable with TensorFlow too, which sorts by `top_k`.
        order = ops.argsort(uniform(self.seed, step, self.size))[:count]
        coins = uniform(-1 - self.seed, -1 - step, count) < 0.5
        filling = self._filling(count, step)
        free = ops.cast(step, "int32") * count + ops.arange(count, dtype="int32")
        return ops.where(filling, free, order), coins & ~filling

    def _keep(self, slots, images):
        # Gathering instead of scattering, whose order is not deterministic on a GPU.
        matches = slots[None, :] == ops.arange(self.size, dtype="int32")[:, None]
        new = ops.take(images, ops.argmax(ops.cast(matches, "int32"), axis=1), axis=0)
        written = ops.any(matches, axis=1)[:, None, None, None]
        self.images.assign(ops.where(written, new, self.images.value))


def pools(config: Config, channels: int) -> dict[str, ImagePool]:
    """Returns the pools of restored and of degraded images, by their checkpoint names; empty for `image_pool` 0."""
    size = config.image_pool // config.batch_size * config.batch_size
    if not size:
        return {}
    sides = {"pool_hr": config.patch_size * config.scale, "pool_lr": config.patch_size}
    return {name: ImagePool(size, (side, side, channels), config.seed) for name, side in sides.items()}
