"""Unpaired training with CycleGAN: a super-resolution network and a degradation model (G_HR->LR) invert each other.

Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks (CycleGAN), ICCV 2017,
https://arxiv.org/abs/1703.10593, for super-resolution as in Yuan et al., Unsupervised Image Super-Resolution using
Cycle-in-Cycle Generative Adversarial Networks, CVPR Workshops 2018, https://arxiv.org/abs/1809.00437.

Departures: LR and HR images differ in size, so a generator cannot be given an image of its target domain; the identity
loss gives the super-resolution network a bicubically down-sampled HR image, and the degradation model a bicubically
up-sampled LR image. The degradation model is deterministic: the cycle loss rewards a super-resolution network that
keeps the noise of the LR image.
"""

import keras
import tensorflow as tf
from keras import ops

from tfmisr import layers
from tfmisr.config import Config
from tfmisr.edge.deprecation import renamed
from tfmisr.training.gan import AdversarialTrainer

_LOGGED = ("loss", "adversarial", "cycle_lr", "cycle_hr", "identity", "discriminator")


def degradation_model(scale: int, channels: int = 1, num_filters: int = 64, num_blocks: int = 3) -> keras.Model:
    """Returns a network from high to low resolution: average pooling plus a learned residual.

    The residual is zero at initialization. The kernel of its first convolution is twice as wide as an LR pixel and
    centered on it.

    Args:
        scale: Down-sampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution.
        num_blocks: Residual blocks of two convolutions on the low-resolution grid.
    """
    high_res = keras.Input((None, None, channels), name="high_res")
    # Same parity as the scale, so that the kernel is centered on the pixel's area.
    kernel_size = 2 * scale + scale % 2
    x = layers.conv(num_filters, "reduce_conv", kernel_size=kernel_size, strides=scale)(high_res)
    x = keras.layers.ReLU(name="reduce_relu")(x)
    for i in range(1, num_blocks + 1):
        y = layers.conv(num_filters, f"block{i}_conv1")(x)
        y = layers.conv(num_filters, f"block{i}_conv2")(keras.layers.ReLU(name=f"block{i}_relu")(y))
        x = keras.layers.Add(name=f"block{i}_add")([x, y])
    x = layers.conv(channels, "output_conv", kernel_initializer="zeros")(x)
    mean = keras.layers.AveragePooling2D(scale, dtype="float32", name="area_mean")(high_res)
    return keras.Model(high_res, keras.layers.Add(name="low_res", dtype="float32")([mean, x]), name="degradation_model")


class ImagePool:
    """Pool of generated images of earlier steps, shown to the discriminator again with probability 1/2.

    Random draws are a pure function of (seed, step), and the images are variables in the checkpoint, so that an
    interrupted run resumes with the same ones. Every replica keeps the same pool, with the images of all replicas.

    Args:
        size: Number of images; a multiple of the batch size.
        shape: Height, width and channels.
        seed: Seed of the draws.

    Reference:
        Shrivastava et al., Learning from Simulated and Unsupervised Images through Adversarial Training, CVPR 2017,
        https://arxiv.org/abs/1612.07828
    """

    def __init__(self, size: int, shape: tuple[int, int, int], seed: int):
        self.size, self.seed = size, seed
        self.images = keras.Variable(
            ops.zeros((size, *shape)), trainable=False, aggregation="only_first_replica", name="image_pool"
        )

    def exchange(self, images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Returns `images`, some of them replaced by earlier ones, whose slots they take in the pool.

        Args:
            images: New images of this replica, `(batch, height, width, channels)`.
            step: Steps that were done: int64 scalar tensor.
        """
        new, start = self._gathered(images)
        count = tf.shape(new)[0]
        slots, replaced = self._draw(count, step)
        old = tf.gather(self.images.value, slots)
        replaced = replaced[:, None, None, None]
        exchanged = tf.where(replaced, old, new)
        self._keep(slots, tf.where(replaced | self._filling(count, step), new, old))
        return exchanged[start : start + tf.shape(images)[0]]

    def _filling(self, count, step):
        return (step + 1) * tf.cast(count, tf.int64) <= self.size

    def _draw(self, count, step):
        """Returns a distinct slot of the pool for each image, and whether the slot's old image replaces it."""
        seed = tf.stack([tf.constant(self.seed, tf.int64), step])
        order = tf.argsort(tf.random.stateless_uniform((self.size,), seed), stable=True)[:count]
        coins = tf.random.stateless_uniform((count,), -1 - seed) < 0.5
        filling = self._filling(count, step)
        free = tf.cast(step, tf.int32) * count + tf.range(count)
        return tf.where(filling, free, order), coins & ~filling

    def _keep(self, slots, images):
        # Gathering instead of scattering, whose order is not deterministic on a GPU.
        matches = slots[None, :] == tf.range(self.size)[:, None]
        new = tf.gather(images, tf.argmax(tf.cast(matches, tf.int32), axis=1))
        written = tf.reduce_any(matches, axis=1)[:, None, None, None]
        self.images.assign(tf.where(written, new, self.images.value))

    @staticmethod
    def _gathered(images):
        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return images, 0
        gathered = replica.all_gather(images, axis=0)
        return gathered, replica.replica_id_in_sync_group * tf.shape(images)[0]


def pools(config: Config, channels: int) -> dict[str, ImagePool]:
    """Returns the pools of restored and of degraded images, by their checkpoint names; empty for `image_pool` 0."""
    size = config.image_pool // config.batch_size * config.batch_size
    if not size:
        return {}
    sides = {"pool_hr": config.patch_size * config.scale, "pool_lr": config.patch_size}
    return {name: ImagePool(size, (side, side, channels), config.seed) for name, side in sides.items()}


class CycleGAN(AdversarialTrainer):
    """Trains a super-resolution network and a degradation model, each against a discriminator of its output domain.

    The two generators minimize `adversarial_weight * adversarial + cycle_weight * (cycle_lr + cycle_hr) +
    identity_weight * identity`. A batch is (LR, bicubically down-sampled HR, HR), where LR and HR are not paired.

    Args:
        generator: Network from low to high resolution.
        degradation_model: Network from high to low resolution.
        discriminator: Of high-resolution images.
        lr_discriminator: Of low-resolution images.
        adversarial_weight: Weight of both adversarial losses.
        cycle_weight: Weight of both cycle-consistency losses, LR -> HR -> LR and HR -> LR -> HR.
        identity_weight: Weight of both identity losses.
        pools: What `pools` returns.
        **kwargs: `adversarial_loss`, `r1_weight` and `r1_interval` of `AdversarialTrainer`.
    """

    def __init__(
        self,
        generator: keras.Model,
        degradation_model: keras.Model,
        discriminator: keras.Model,
        lr_discriminator: keras.Model,
        adversarial_weight: float = 1.0,
        cycle_weight: float = 10.0,
        identity_weight: float = 5.0,
        pools: dict[str, ImagePool] | None = None,
        **kwargs,
    ):
        discriminators = {"discriminator": discriminator, "lr_discriminator": lr_discriminator}
        super().__init__([generator, degradation_model], discriminators, _LOGGED, name="cycle_gan", **kwargs)
        self.pools = pools or {}
        self.weights_of = {
            "adversarial": adversarial_weight,
            "cycle_lr": cycle_weight,
            "cycle_hr": cycle_weight,
            "identity": identity_weight,
        }
        scale = generator.compute_output_shape((1, 8, 8, generator.input_shape[-1]))[1] // 8
        self.upsample = layers.BicubicUpsampling(scale, name="bicubic")

    def state(self) -> dict[str, list]:
        """Returns the variables of the state by checkpoint group; see `AdversarialTrainer.state`."""
        pooled = {name: [pool.images] for name, pool in self.pools.items()}
        # "degrader" is the group's name in checkpoints of version 0.1.
        return {**super().state(), "degrader": self.generators[1].variables, **pooled, "step": [self.step]}

    def _logits(self, images, training):
        """Returns the logits of high- and of low-resolution images, each by its discriminator."""
        networks = self.discriminators.values()
        return [d(x, training=training)[-1] for d, x in zip(networks, images, strict=True)]

    def _distance(self, target, image):
        return ops.mean(self.pixel_loss(target, image))

    def losses_of(
        self, lr: tf.Tensor, reduced: tf.Tensor, hr: tf.Tensor, training: bool
    ) -> tuple[tuple, dict[str, tf.Tensor]]:
        """Runs both cycles.

        Args:
            lr: Low-resolution images, `(batch, height, width, channels)`, float32 in [0, 1].
            reduced: Bicubically down-sampled `hr`.
            hr: High-resolution images.
            training: Whether layers are in training mode.

        Returns:
            The outputs (restored `lr`, degraded `hr`, restored `reduced`), and the generators' losses by name.
        """
        generator, degradation_model = self.generators
        restored, degraded = generator(lr, training=training), degradation_model(hr, training=training)
        real = self._logits((hr, lr), training) if self.adversarial_loss.relative else (None, None)
        fake = self._logits((restored, degraded), training)
        same = generator(reduced, training=training)
        losses = {
            "adversarial": sum(map(self.adversarial_loss.generator, real, fake)),
            "cycle_lr": self._distance(lr, degradation_model(restored, training=training)),
            "cycle_hr": self._distance(hr, generator(degraded, training=training)),
            "identity": self._distance(hr, same)
            + self._distance(lr, degradation_model(self.upsample(lr), training=training)),
        }
        losses["loss"] = sum(weight * losses[name] for name, weight in self.weights_of.items())
        return (restored, degraded, same), losses

    def train_step(self, data):
        lr, reduced, hr = data
        with tf.GradientTape() as tape:
            outputs, losses = self.losses_of(lr, reduced, hr, training=True)
            loss = self.scaled(self.optimizer, losses["loss"])
        self.update(tape, loss, self.generators, self.optimizer)
        fake = self._pooled(outputs[:2])
        with tf.GradientTape() as tape:
            discriminator_losses = self._discriminator_losses((hr, lr), fake, training=True)
            loss = self.scaled(self.discriminator_optimizer, sum(discriminator_losses.values()))
        self.update(tape, loss, self.discriminators.values(), self.discriminator_optimizer)
        self.advance()
        # PSNR of the identity output: no other pair exists in training.
        return self.log(hr, outputs[2], losses | discriminator_losses)

    def _pooled(self, generated):
        if not self.pools:
            return generated
        step = self.step.value
        return [pool.exchange(images, step) for pool, images in zip(self.pools.values(), generated, strict=True)]

    def _discriminator_losses(self, real, fake, training):
        pairs = zip(self._logits(real, training), self._logits(fake, training), strict=True)
        losses = {"discriminator": sum(self.adversarial_loss.discriminator(r, f) for r, f in pairs)}
        return {**losses, "r1": self.penalty(real, training)} if self.r1_weight else losses

    def test_step(self, data):
        # Validation images are pairs.
        lr, hr = data
        outputs, losses = self.losses_of(lr, lr, hr, training=False)
        discriminator_losses = self._discriminator_losses((hr, lr), outputs[:2], training=False)
        return self.log(hr, outputs[0], losses | discriminator_losses)


__getattr__ = renamed(__name__, degrader="degradation_model")
