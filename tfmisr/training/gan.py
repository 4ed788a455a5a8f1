"""The paper's GAN: a generator and a discriminator trained against each other, with feature matching.

Feature matching compares the discriminator's features of the real and of the restored image, layer by layer, in
mean absolute difference. Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016,
https://arxiv.org/abs/1606.03498, match the batch's mean features; here every restored image has its own real one,
so they are matched pairwise, as in Wang et al., pix2pixHD, CVPR 2018, https://arxiv.org/abs/1711.11585.
"""

import keras
import tensorflow as tf
from keras import ops

from tfmisr.training import optimizers

LOSSES = ("loss", "pixel", "adversarial", "feature_matching", "discriminator")


class GAN(keras.Model):
    """A generator that learns from pixels, from a discriminator's verdict and from its features.

    The generator minimises `pixel_weight * pixel + adversarial_weight * adversarial +
    feature_matching_weight * feature_matching`, the discriminator the cross-entropy of real and restored images.
    Both take their step on the same batch, from the same forward pass.

    Args:
        generator: Network from low to high resolution.
        discriminator: Network with the outputs of `tfmisr.models.discriminators.create`.
        pixel_weight: Weight of the pixel loss given to `compile`.
        adversarial_weight: Weight of the adversarial loss, the non-saturating one of Goodfellow et al. 2014.
        feature_matching_weight: Weight of the feature-matching loss, the mean over the layers.
    """

    def __init__(
        self,
        generator,
        discriminator,
        pixel_weight=1.0,
        adversarial_weight=1e-3,
        feature_matching_weight=1e-2,
    ):
        super().__init__(name="gan")
        self.generator, self.discriminator = generator, discriminator
        self.pixel_weight = pixel_weight
        self.adversarial_weight = adversarial_weight
        self.feature_matching_weight = feature_matching_weight
        self.trackers = [keras.metrics.Mean(name=name) for name in LOSSES]
        self.psnr = None
        self.built = True

    def compile(self, optimizer, discriminator_optimizer, loss, psnr, jit_compile=False):
        """Sets what the training needs; loss scaling is added to both optimizers.

        Args:
            optimizer: The generator's.
            discriminator_optimizer: The discriminator's.
            loss: Pixel loss without reduction.
            psnr: Metric of `(y_true, y_pred)`.
            jit_compile: Compile the step with XLA.
        """
        super().compile(optimizer=optimizer, jit_compile=jit_compile)
        self.discriminator_optimizer = optimizers.scaled(discriminator_optimizer)
        self.pixel_loss, self.psnr = loss, psnr
        # Before they are built, optimizers under float16 scale with the initial factor only.
        self.optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    @property
    def metrics(self):
        return [*self.trackers, *([self.psnr] if self.psnr else [])]

    def call(self, low_res, training=False):
        return self.generator(low_res, training=training)

    def losses_of(self, lr, hr, training):
        """Returns the restored images and the losses by name, each a float32 scalar, means over the batch."""
        sr = self.generator(lr, training=training)
        *real, real_logits = self.discriminator(hr, training=training)
        *fake, fake_logits = self.discriminator(sr, training=training)
        losses = {
            "pixel": ops.mean(self.pixel_loss(hr, sr)),
            "adversarial": _cross_entropy(1.0, fake_logits),
            "feature_matching": sum(map(_feature_distance, real, fake)) / len(real),
            "discriminator": 0.5 * (_cross_entropy(1.0, real_logits) + _cross_entropy(0.0, fake_logits)),
        }
        losses["loss"] = (
            self.pixel_weight * losses["pixel"]
            + self.adversarial_weight * losses["adversarial"]
            + self.feature_matching_weight * losses["feature_matching"]
        )
        return sr, losses

    def train_step(self, data):
        lr, hr = data
        with tf.GradientTape(persistent=True) as tape:
            sr, losses = self.losses_of(lr, hr, training=True)
            # Gradients are summed over the replicas of a strategy.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            loss = self.optimizer.scale_loss(losses["loss"] / replicas)
            d_loss = self.discriminator_optimizer.scale_loss(losses["discriminator"] / replicas)
        self._update(tape, loss, self.generator, self.optimizer)
        self._update(tape, d_loss, self.discriminator, self.discriminator_optimizer)
        return self._log(hr, sr, losses)

    def test_step(self, data):
        lr, hr = data
        sr, losses = self.losses_of(lr, hr, training=False)
        return self._log(hr, sr, losses)

    @staticmethod
    def _update(tape, loss, network, optimizer):
        variables = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    def _log(self, hr, sr, losses):
        for tracker in self.trackers:
            tracker.update_state(losses[tracker.name])
        self.psnr.update_state(hr, sr)
        return {metric.name: metric.result() for metric in self.metrics}


def _cross_entropy(label: float, logits):
    labels = ops.full_like(logits, label)
    return ops.mean(ops.binary_crossentropy(labels, logits, from_logits=True))


def _feature_distance(real, fake):
    return ops.mean(ops.abs(ops.cast(real, "float32") - ops.cast(fake, "float32")))
