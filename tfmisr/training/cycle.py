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
from keras import ops

from tfmisr import layers
from tfmisr.edge.deprecation import renamed
from tfmisr.training.gan import AdversarialTrainer
from tfmisr.training.image_pool import ImagePool

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
        pools: What `tfmisr.training.image_pool.pools` returns.
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
        self.pool_images = [pool.images for pool in self.pools.values()]  # Keras finds the variables of attributes
        self.weights_of = {
            "adversarial": adversarial_weight,
            "cycle_lr": cycle_weight,
            "cycle_hr": cycle_weight,
            "identity": identity_weight,
        }
        scale = generator.compute_output_shape((1, 8, 8, generator.input_shape[-1]))[1] // 8
        self.upsample = layers.BicubicUpsampling(scale, name="bicubic")
        self.upsample.build(generator.input_shape)

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
        self, lr: keras.KerasTensor, reduced: keras.KerasTensor, hr: keras.KerasTensor, training: bool
    ) -> tuple[tuple, dict[str, keras.KerasTensor]]:
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

    def train_on(self, data: tuple) -> dict:
        """Updates the generators, then the discriminators, on a batch (LR, reduced HR, HR), and returns the logs."""
        lr, reduced, hr = data

        def of_generators():
            outputs, losses = self.losses_of(lr, reduced, hr, training=True)
            return (outputs, losses), [losses["loss"]]

        outputs, losses = self.update(of_generators, (self.generators, self.optimizer))
        fake = self._pooled(outputs[:2])

        def of_discriminators():
            found = self._discriminator_losses((hr, lr), fake, training=True)
            return found, [sum(found.values())]

        discriminators = (self.discriminators.values(), self.discriminator_optimizer)
        discriminator_losses = self.update(of_discriminators, discriminators)
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

    def evaluate_on(self, data: tuple) -> dict:
        """Returns the logs of a batch of pairs (LR, HR): images of a validation are paired."""
        lr, hr = data
        outputs, losses = self.losses_of(lr, lr, hr, training=False)
        discriminator_losses = self._discriminator_losses((hr, lr), outputs[:2], training=False)
        return self.log(hr, outputs[0], losses | discriminator_losses)


__getattr__ = renamed(__name__, degrader="degradation_model", pools="tfmisr.training.image_pool.pools")
