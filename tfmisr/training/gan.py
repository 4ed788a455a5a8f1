"""A generator and one or two discriminators trained against each other; its defaults are the paper's GAN.

Feature matching compares the discriminator's features of the real and of the restored image, layer by layer, in
mean absolute difference. Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016,
https://arxiv.org/abs/1606.03498, match the batch's mean features; here every restored image has its own real one,
so they are matched pairwise, as in Wang et al., pix2pixHD, CVPR 2018, https://arxiv.org/abs/1711.11585.
"""

import keras
import tensorflow as tf
from keras import ops

from tfmisr.training import optimizers, penalties, spectral
from tfmisr.training.adversarial import LOSSES as ADVERSARIAL


class Adversarial(keras.Model):
    """What the trainers of two sides share: two optimizers, each with its loss scaling, and what is logged.

    Args:
        generators: Networks that the first optimizer trains; the first is the run's network.
        discriminators: Networks that the second one trains, by their names in a checkpoint.
        logged: Names of the losses.
        adversarial_loss: Name in `tfmisr.training.adversarial.LOSSES`.
        r1_weight: Weight (gamma) of the penalty on the discriminators' gradient; 0: none.
        r1_interval: Steps between two penalties.
    """

    def __init__(
        self, generators, discriminators, logged, adversarial_loss="vanilla", r1_weight=0.0, r1_interval=16, **kwargs
    ):
        super().__init__(**kwargs)
        self.generators, self.discriminators = list(generators), dict(discriminators)
        self.adversarial_loss = ADVERSARIAL[adversarial_loss]
        self.r1_weight, self.r1_interval = r1_weight, r1_interval
        self.step = keras.Variable(
            0, dtype="int64", trainable=False, aggregation="only_first_replica", name="adversarial_step"
        )
        self.trackers = [keras.metrics.Mean(name=name) for name in (*logged, *(["r1"] if r1_weight else []))]
        self.psnr = None
        self.built = True

    def compile(self, optimizer, discriminator_optimizer, loss, psnr, jit_compile=False):
        """Sets what the training needs; loss scaling is added to both optimizers.

        Args:
            optimizer: The generators'.
            discriminator_optimizer: The discriminators'.
            loss: Loss between images without reduction.
            psnr: Metric of `(y_true, y_pred)`.
            jit_compile: Compile the step with XLA.
        """
        super().compile(optimizer=optimizer, jit_compile=jit_compile)
        self.discriminator_optimizer = optimizers.scaled(discriminator_optimizer)
        self.pixel_loss, self.psnr = loss, psnr
        # Before they are built, optimizers under float16 scale with the initial factor only.
        self.optimizer.build(_trainable(self.generators))
        self.discriminator_optimizer.build(_trainable(self.discriminators.values()))

    @property
    def metrics(self):
        return [*self.trackers, *([self.psnr] if self.psnr else [])]

    def call(self, low_res, training=False):
        return self.generators[0](low_res, training=training)

    def state(self) -> dict[str, list]:
        """Returns the variables that the next step depends on, but for the network's and the first optimizer's."""
        groups = {name: network.variables for name, network in self.discriminators.items()}
        groups["discriminator_optimizer"] = optimizers.variables(self.discriminator_optimizer)
        return {**groups, "step": [self.step]} if self.r1_weight else groups

    def penalty(self, images, training):
        """Returns what R1 adds to the loss, the sum over the discriminators, each with its real images.

        In training that is 0 between the steps that have a penalty; otherwise the mean over all steps is returned.
        """
        step, interval = (self.step.value, self.r1_interval) if training else (0, 1)
        factor = self.discriminator_optimizer.scale_loss(1.0)
        terms = (
            penalties.lazy_r1(network, real, step, self.r1_weight, interval, factor)
            for network, real in zip(self.discriminators.values(), images, strict=True)
        )
        return sum(terms)

    def advance(self):
        """Counts a step and refines what spectral normalisation knows of the discriminators."""
        self.step.assign_add(1)
        for network in self.discriminators.values():
            spectral.refine(network)

    def scaled(self, optimizer, loss):
        """Returns what an optimizer's gradients are taken of: they are summed over the replicas of a strategy."""
        return optimizer.scale_loss(loss / tf.distribute.get_strategy().num_replicas_in_sync)

    @staticmethod
    def update(tape, loss, networks, optimizer):
        """Takes one step of an optimizer down the gradient of a scaled loss."""
        variables = _trainable(networks)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    def log(self, hr, sr, losses):
        """Returns the means, over the steps since the last row of `history.csv`, of the losses and the PSNR."""
        for tracker in self.trackers:
            tracker.update_state(losses[tracker.name])
        self.psnr.update_state(hr, sr)
        return {metric.name: metric.result() for metric in self.metrics}


class GAN(Adversarial):
    """A generator that learns from pixels, from a discriminator's verdict and from its features.

    The generator minimises `pixel_weight * pixel + adversarial_weight * adversarial +
    feature_matching_weight * feature_matching`, the discriminator its half of the adversarial loss. Both take their
    step on the same batch, from the same forward pass.

    Args:
        generator: Network from low to high resolution.
        discriminator: Network with the outputs of `tfmisr.models.discriminators.create`.
        pixel_weight: Weight of the loss given to `compile`.
        adversarial_weight: Weight of the adversarial loss.
        feature_matching_weight: Weight of the feature-matching loss, the mean over the layers.
        features: Function from images to the features that a second discriminator judges, or `None`.
        feature_discriminator: That discriminator, or `None`.
        feature_adversarial_weight: Weight of the adversarial loss against it.
        **kwargs: `adversarial_loss`, `r1_weight` and `r1_interval` of `Adversarial`.
    """

    def __init__(
        self,
        generator,
        discriminator,
        pixel_weight=1.0,
        adversarial_weight=1e-3,
        feature_matching_weight=1e-2,
        features=None,
        feature_discriminator=None,
        feature_adversarial_weight=1e-3,
        **kwargs,
    ):
        found = {"discriminator": discriminator}
        logged = ["loss", "pixel", "adversarial", "feature_matching", "discriminator"]
        if feature_discriminator is not None:
            found["feature_discriminator"] = feature_discriminator
            logged += ["feature_adversarial", "feature_discriminator"]
        super().__init__([generator], found, logged, name="gan", **kwargs)
        self.features, self.feature_discriminator = features, feature_discriminator
        self.weights_of = {
            "pixel": pixel_weight,
            "adversarial": adversarial_weight,
            "feature_matching": feature_matching_weight,
            "feature_adversarial": feature_adversarial_weight,
        }

    def losses_of(self, lr, hr, training):
        """Returns the restored images and the losses by name, each a float32 scalar, means over the batch."""
        sr = self.generators[0](lr, training=training)
        discriminator = self.discriminators["discriminator"]
        *real, real_logits = discriminator(hr, training=training)
        *fake, fake_logits = discriminator(sr, training=training)
        losses = {
            "pixel": ops.mean(self.pixel_loss(hr, sr)),
            "adversarial": self.adversarial_loss.generator(real_logits, fake_logits),
            "feature_matching": sum(map(_feature_distance, real, fake)) / len(real),
            "discriminator": self.adversarial_loss.discriminator(real_logits, fake_logits),
        }
        if self.feature_discriminator is not None:
            losses |= self._feature_losses(hr, sr, training)
        if self.r1_weight:
            real = (hr, self.features(hr)) if self.feature_discriminator is not None else (hr,)
            losses["r1"] = self.penalty(real, training)
        losses["loss"] = sum(weight * losses[name] for name, weight in self.weights_of.items() if name in losses)
        return sr, losses

    def _feature_losses(self, hr, sr, training):
        real, fake = (self.feature_discriminator(self.features(images), training=training)[-1] for images in (hr, sr))
        return {
            "feature_adversarial": self.adversarial_loss.generator(real, fake),
            "feature_discriminator": self.adversarial_loss.discriminator(real, fake),
        }

    def train_step(self, data):
        lr, hr = data
        with tf.GradientTape(persistent=True) as tape:
            sr, losses = self.losses_of(lr, hr, training=True)
            loss = self.scaled(self.optimizer, losses["loss"])
            d_loss = sum(losses[name] for name in (*self.discriminators, "r1") if name in losses)
            d_loss = self.scaled(self.discriminator_optimizer, d_loss)
        self.update(tape, loss, self.generators, self.optimizer)
        self.update(tape, d_loss, self.discriminators.values(), self.discriminator_optimizer)
        self.advance()
        return self.log(hr, sr, losses)

    def test_step(self, data):
        lr, hr = data
        sr, losses = self.losses_of(lr, hr, training=False)
        return self.log(hr, sr, losses)


def _trainable(networks) -> list:
    return [variable for network in networks for variable in network.trainable_variables]


def _feature_distance(real, fake):
    return ops.mean(ops.abs(ops.cast(real, "float32") - ops.cast(fake, "float32")))
