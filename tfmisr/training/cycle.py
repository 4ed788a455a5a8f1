"""Unpaired training: a super-resolver and a degrader learn from each other on images that show nothing in common.

Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks (CycleGAN), ICCV 2017,
https://arxiv.org/abs/1703.10593, for super-resolution as in Yuan et al., Unsupervised Image Super-Resolution using
Cycle-in-Cycle Generative Adversarial Networks, CVPR Workshops 2018, https://arxiv.org/abs/1809.00437.

Departures: the two sides are of different sizes, so a generator cannot be given an image of its own side; the identity
loss gives the super-resolver a bicubically reduced HR image, and the degrader a bicubically enlarged LR image. The
degrader is not random: what noise an LR image has, the cycle asks the super-resolver to keep.
"""

import keras
import tensorflow as tf
from keras import ops

from tfmisr import layers
from tfmisr.training.gan import Adversarial

_LOGGED = ("loss", "adversarial", "cycle_lr", "cycle_hr", "identity", "discriminator")


def degrader(scale: int, channels: int = 1, num_filters: int = 64, num_blocks: int = 3) -> keras.Model:
    """Returns a network from high to low resolution: the mean over each pixel's area plus a learned difference.

    The difference starts at zero. Its first convolution looks at twice the side of an LR pixel, around its centre.

    Args:
        scale: Factor of the reduction.
        channels: 1 or 3.
        num_filters: Filters of each convolution.
        num_blocks: Residual blocks of two convolutions on the low-resolution grid.
    """
    high_res = keras.Input((None, None, channels), name="high_res")
    # Of the scale's parity, so that it is centred on the pixel's area.
    kernel_size = 2 * scale + scale % 2
    x = layers.conv(num_filters, "reduce_conv", kernel_size=kernel_size, strides=scale)(high_res)
    x = keras.layers.ReLU(name="reduce_relu")(x)
    for i in range(1, num_blocks + 1):
        y = layers.conv(num_filters, f"block{i}_conv1")(x)
        y = layers.conv(num_filters, f"block{i}_conv2")(keras.layers.ReLU(name=f"block{i}_relu")(y))
        x = keras.layers.Add(name=f"block{i}_add")([x, y])
    x = layers.conv(channels, "output_conv", kernel_initializer="zeros")(x)
    mean = keras.layers.AveragePooling2D(scale, dtype="float32", name="area_mean")(high_res)
    return keras.Model(high_res, keras.layers.Add(name="low_res", dtype="float32")([mean, x]), name="degrader")


class ImagePool:
    """Generated images of earlier steps, for the discriminator to see again with probability 1/2.

    What is drawn is a pure function of (seed, step), and the images are variables, so that a run that was killed goes
    on with the same ones. On several devices each keeps the same pool, of the images of all.

    Args:
        size: Number of images; a multiple of the batch size.
        shape: Height, width and channels.
        seed: Start of the draws.

    Reference:
        Shrivastava et al., Learning from Simulated and Unsupervised Images through Adversarial Training, CVPR 2017,
        https://arxiv.org/abs/1612.07828
    """

    def __init__(self, size: int, shape, seed: int):
        self.size, self.seed = size, seed
        self.images = keras.Variable(
            ops.zeros((size, *shape)), trainable=False, aggregation="only_first_replica", name="image_pool"
        )

    def exchange(self, images, step):
        """Returns `images`, some of them replaced by earlier ones in whose place they are kept.

        Args:
            images: This device's new images, `(batch, height, width, channels)`.
            step: Steps that were done: int64 scalar tensor.
        """
        whole, start = self._gathered(images)
        count = tf.shape(whole)[0]
        slots, old_wanted = self._draw(count, step)
        old = tf.gather(self.images.value, slots)
        wanted = old_wanted[:, None, None, None]
        given = tf.where(wanted, old, whole)
        self._keep(slots, tf.where(wanted | self._filling(count, step), whole, old))
        return given[start : start + tf.shape(images)[0]]

    def _filling(self, count, step):
        return (step + 1) * tf.cast(count, tf.int64) <= self.size

    def _draw(self, count, step):
        """Returns a place in the pool for each image, no place twice, and whether its old image is wanted."""
        seed = tf.stack([tf.constant(self.seed, tf.int64), step])
        order = tf.argsort(tf.random.stateless_uniform((self.size,), seed), stable=True)[:count]
        coins = tf.random.stateless_uniform((count,), -1 - seed) < 0.5
        filling = self._filling(count, step)
        free = tf.cast(step, tf.int32) * count + tf.range(count)
        return tf.where(filling, free, order), coins & ~filling

    def _keep(self, slots, images):
        # A place is looked up instead of written to: scattering has no order on a GPU.
        here = slots[None, :] == tf.range(self.size)[:, None]
        kept = tf.gather(images, tf.argmax(tf.cast(here, tf.int32), axis=1))
        chosen = tf.reduce_any(here, axis=1)[:, None, None, None]
        self.images.assign(tf.where(chosen, kept, self.images.value))

    @staticmethod
    def _gathered(images):
        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return images, 0
        whole = replica.all_gather(images, axis=0)
        return whole, replica.replica_id_in_sync_group * tf.shape(images)[0]


def pools(config, channels: int) -> dict[str, ImagePool]:
    """Returns the pools of restored and of degraded images, or none where the run wants none."""
    size = config.image_pool // config.batch_size * config.batch_size
    if not size:
        return {}
    sides = {"pool_hr": config.patch_size * config.scale, "pool_lr": config.patch_size}
    return {name: ImagePool(size, (side, side, channels), config.seed) for name, side in sides.items()}


class CycleGAN(Adversarial):
    """A super-resolver and a degrader, each with a discriminator of what it makes.

    The two generators minimise `adversarial_weight * adversarial + cycle_weight * (cycle_lr + cycle_hr) +
    identity_weight * identity`. A batch is (LR, bicubically reduced HR, HR); LR shows something else than HR.

    Args:
        generator: Network from low to high resolution.
        degrader: Network from high to low resolution.
        discriminator: Of high-resolution images.
        lr_discriminator: Of low-resolution images.
        adversarial_weight: Weight of both adversarial losses.
        cycle_weight: Weight of the distance of LR from degraded restored LR, and of HR from restored degraded HR.
        identity_weight: Weight of the distances from images of a generator's own side.
        pools: What `pools` returns.
        **kwargs: `adversarial_loss`, `r1_weight` and `r1_interval` of `Adversarial`.
    """

    def __init__(
        self,
        generator,
        degrader,
        discriminator,
        lr_discriminator,
        adversarial_weight=1.0,
        cycle_weight=10.0,
        identity_weight=5.0,
        pools=None,
        **kwargs,
    ):
        found = {"discriminator": discriminator, "lr_discriminator": lr_discriminator}
        super().__init__([generator, degrader], found, _LOGGED, name="cycle_gan", **kwargs)
        self.pools = pools or {}
        self.weights_of = {
            "adversarial": adversarial_weight,
            "cycle_lr": cycle_weight,
            "cycle_hr": cycle_weight,
            "identity": identity_weight,
        }
        scale = generator.compute_output_shape((1, 8, 8, generator.input_shape[-1]))[1] // 8
        self.enlarge = layers.BicubicUpsampling(scale, name="bicubic")

    def state(self) -> dict[str, list]:
        pooled = {name: [pool.images] for name, pool in self.pools.items()}
        return {**super().state(), "degrader": self.generators[1].variables, **pooled, "step": [self.step]}

    def _judge(self, images, training):
        """Returns the logits of high- and of low-resolution images, each by its discriminator."""
        networks = self.discriminators.values()
        return [d(x, training=training)[-1] for d, x in zip(networks, images, strict=True)]

    def _distance(self, true, made):
        return ops.mean(self.pixel_loss(true, made))

    def losses_of(self, lr, reduced, hr, training):
        """Returns three generated images, from LR, from HR and from reduced HR, and the generators' losses by name."""
        generator, degrader = self.generators
        restored, degraded = generator(lr, training=training), degrader(hr, training=training)
        real = self._judge((hr, lr), training) if self.adversarial_loss.relative else (None, None)
        fake = self._judge((restored, degraded), training)
        same = generator(reduced, training=training)
        losses = {
            "adversarial": sum(map(self.adversarial_loss.generator, real, fake)),
            "cycle_lr": self._distance(lr, degrader(restored, training=training)),
            "cycle_hr": self._distance(hr, generator(degraded, training=training)),
            "identity": self._distance(hr, same) + self._distance(lr, degrader(self.enlarge(lr), training=training)),
        }
        losses["loss"] = sum(weight * losses[name] for name, weight in self.weights_of.items())
        return (restored, degraded, same), losses

    def train_step(self, data):
        lr, reduced, hr = data
        with tf.GradientTape() as tape:
            made, losses = self.losses_of(lr, reduced, hr, training=True)
            loss = self.scaled(self.optimizer, losses["loss"])
        self.update(tape, loss, self.generators, self.optimizer)
        fake = self._pooled(made[:2])
        with tf.GradientTape() as tape:
            found = self._discriminators_losses((hr, lr), fake, training=True)
            loss = self.scaled(self.discriminator_optimizer, sum(found.values()))
        self.update(tape, loss, self.discriminators.values(), self.discriminator_optimizer)
        self.advance()
        # The only pairs that there are in training.
        return self.log(hr, made[2], losses | found)

    def _pooled(self, made):
        if not self.pools:
            return made
        step = self.step.value
        return [pool.exchange(images, step) for pool, images in zip(self.pools.values(), made, strict=True)]

    def _discriminators_losses(self, real, fake, training):
        pairs = zip(self._judge(real, training), self._judge(fake, training), strict=True)
        losses = {"discriminator": sum(self.adversarial_loss.discriminator(r, f) for r, f in pairs)}
        return {**losses, "r1": self.penalty(real, training)} if self.r1_weight else losses

    def test_step(self, data):
        # Images to watch a run by are pairs.
        lr, hr = data
        made, losses = self.losses_of(lr, lr, hr, training=False)
        found = self._discriminators_losses((hr, lr), made[:2], training=False)
        return self.log(hr, made[0], losses | found)
