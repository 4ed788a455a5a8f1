"""GAN training of a super-resolution network with one or two discriminators; the defaults are those of the paper.

Feature matching is the mean absolute difference of the discriminator's features of the real and of the restored image,
layer by layer. Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016, https://arxiv.org/abs/1606.03498,
match the mean features of the batch; here images are paired, so features are matched pairwise, as in Wang et al.,
pix2pixHD, CVPR 2018, https://arxiv.org/abs/1711.11585.
"""

from collections.abc import Callable, Iterable, Sequence

import keras
from keras import ops

from tfmisr.edge.deprecation import renamed
from tfmisr.training import backends, optimizers, penalties, spectral
from tfmisr.training.adversarial import LOSSES as ADVERSARIAL


class AdversarialTrainer(keras.Model):
    """Base of the GAN trainers: two optimizers, each with loss scaling, R1 penalty and logged losses.

    A subclass defines `train_on(data)` and `evaluate_on(data)`, the steps of any backend, which return the logs.

    Args:
        generators: Networks that the first optimizer trains; the first is the run's network.
        discriminators: Networks that the second optimizer trains, by their group names in a checkpoint.
        logged: Names of the losses.
        adversarial_loss: Name in `tfmisr.training.adversarial.LOSSES`.
        r1_weight: Weight (gamma) of the R1 penalty of the discriminators; 0: none.
        r1_interval: Steps between two penalties.
        **kwargs: As of `keras.Model`.
    """

    def __init__(
        self,
        generators: Sequence[keras.Model],
        discriminators: dict[str, keras.Model],
        logged: Sequence[str],
        adversarial_loss: str = "vanilla",
        r1_weight: float = 0.0,
        r1_interval: int = 16,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.generators, self.discriminators = list(generators), dict(discriminators)
        self.adversarial_loss = ADVERSARIAL[adversarial_loss]
        self.r1_weight, self.r1_interval = r1_weight, r1_interval
        # JAX has no 64-bit integers by default.
        dtype = "int32" if keras.backend.backend() == "jax" else "int64"
        self.step = keras.Variable(
            0, dtype=dtype, trainable=False, aggregation="only_first_replica", name="adversarial_step"
        )
        self.trackers = [keras.metrics.Mean(name=name) for name in (*logged, *(["r1"] if r1_weight else []))]
        self.psnr = self.discriminator_optimizer = None
        self.feature_networks = []  # frozen networks of the losses
        self.built = True

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        psnr: keras.metrics.Metric,
        jit_compile: bool = False,
    ) -> None:
        """Configures training; both optimizers get loss scaling under a float16 policy.

        Args:
            optimizer: Optimizer of the generators.
            discriminator_optimizer: Optimizer of the discriminators.
            loss: Keras loss between images, without reduction.
            psnr: Metric of `(y_true, y_pred)`.
            jit_compile: Compile the step with XLA; see `tfmisr.training.trainers.compiled`.
        """
        super().compile(optimizer=optimizer, jit_compile=jit_compile)
        self.discriminator_optimizer = optimizers.scaled(discriminator_optimizer)
        self.pixel_loss, self.psnr = loss, psnr
        # Until they are built, loss-scaling optimizers use the initial scale only.
        self.optimizer.build(_trainable(self.generators))
        self.discriminator_optimizer.build(_trainable(self.discriminators.values()))

    @property
    def metrics(self) -> list:
        """The metrics that Keras resets at each epoch: the losses, and the PSNR."""
        return [*self.trackers, *([self.psnr] if self.psnr else [])]

    @property
    def non_trainable_variables(self) -> list:
        """The untrained variables, and those of the second optimizer: with JAX, Keras passes them into a step."""
        optimizer = self.discriminator_optimizer
        return [*super().non_trainable_variables, *(optimizers.variables(optimizer) if optimizer else [])]

    def call(self, low_res, training=False):
        return self.generators[0](low_res, training=training)

    def state(self) -> dict[str, list]:
        """Returns the variables of the state by checkpoint group, without the network and the first optimizer."""
        groups = {name: network.variables for name, network in self.discriminators.items()}
        groups["discriminator_optimizer"] = optimizers.variables(self.discriminator_optimizer)
        return {**groups, "step": [self.step]} if self.r1_weight else groups

    def train_step(self, *arguments):
        return backends.adapter().run(self, self.train_on, *arguments)

    def test_step(self, *arguments):
        return backends.adapter().run(self, self.evaluate_on, *arguments)

    def penalty(self, images: Sequence[keras.KerasTensor], training: bool) -> keras.KerasTensor:
        """Returns the R1 term of the loss, a float32 scalar: the sum over the discriminators.

        Args:
            images: Real images of each discriminator.
            training: In training, the penalty is 0 in the steps between two; otherwise their mean is returned.
        """
        step, interval = (self.step.value, self.r1_interval) if training else (0, 1)
        factor = self.discriminator_optimizer.scale_loss(1.0)
        terms = (
            penalties.lazy_r1(network, real, step, self.r1_weight, interval, factor)
            for network, real in zip(self.discriminators.values(), images, strict=True)
        )
        return sum(terms)

    def advance(self) -> None:
        """Counts a step and updates the norm estimates of spectral normalization."""
        self.step.assign_add(1)
        for network in self.discriminators.values():
            spectral.refine(network)

    def update(self, function: Callable, *parts: tuple[Iterable[keras.Model], keras.optimizers.Optimizer]) -> tuple:
        """Updates networks by the gradients of their losses, all at the weights from before the update.

        Args:
            function: Function without arguments that returns any outputs, and a list of losses, one for each part.
            *parts: Networks, and their optimizer.

        Returns:
            The outputs of the function.
        """
        backend = backends.adapter()
        replicas, groups = backend.num_replicas(), [_trainable(networks) for networks, _ in parts]

        def scaled():
            outputs, losses = function()
            pairs = zip(losses, parts, strict=True)
            # Against underflow; Keras sums the gradients of replicas.
            return outputs, [optimizer.scale_loss(loss / replicas) for loss, (_, optimizer) in pairs]

        outputs, gradients = backend.gradients(self, scaled, *groups)
        for (_, optimizer), gradient, variables in zip(parts, gradients, groups, strict=True):
            backend.apply(optimizer, gradient, variables)
        return outputs

    def log(self, hr: keras.KerasTensor, sr: keras.KerasTensor, losses: dict[str, keras.KerasTensor]) -> dict:
        """Returns the means of the losses and of the PSNR over the steps since the last row of `history.csv`."""
        for tracker in self.trackers:
            tracker.update_state(losses[tracker.name])
        self.psnr.update_state(hr, sr)
        return {metric.name: metric.result() for metric in self.metrics}


class GAN(AdversarialTrainer):
    """Trains a generator with a pixel loss, an adversarial loss and feature matching.

    The generator minimizes `pixel_weight * pixel + adversarial_weight * adversarial +
    feature_matching_weight * feature_matching`, the discriminator its part of the adversarial loss. Both are updated
    on the same batch, from the same forward pass.

    Args:
        generator: Network from low to high resolution.
        discriminator: Network with the outputs of `tfmisr.models.discriminators.create`.
        pixel_weight: Weight of the loss given to `compile`.
        adversarial_weight: Weight of the adversarial loss.
        feature_matching_weight: Weight of the feature-matching loss, the mean over the layers.
        features: Function from images to features, the input of a second discriminator, or `None`.
        feature_discriminator: The second discriminator, or `None`.
        feature_adversarial_weight: Weight of its adversarial loss.
        **kwargs: `adversarial_loss`, `r1_weight` and `r1_interval` of `AdversarialTrainer`.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        pixel_weight: float = 1.0,
        adversarial_weight: float = 1e-3,
        feature_matching_weight: float = 1e-2,
        features: Callable | None = None,
        feature_discriminator: keras.Model | None = None,
        feature_adversarial_weight: float = 1e-3,
        **kwargs,
    ):
        discriminators = {"discriminator": discriminator}
        logged = ["loss", "pixel", "adversarial", "feature_matching", "discriminator"]
        if feature_discriminator is not None:
            discriminators["feature_discriminator"] = feature_discriminator
            logged += ["feature_adversarial", "feature_discriminator"]
        super().__init__([generator], discriminators, logged, name="gan", **kwargs)
        self.features, self.feature_discriminator = features, feature_discriminator
        self.weights_of = {
            "pixel": pixel_weight,
            "adversarial": adversarial_weight,
            "feature_matching": feature_matching_weight,
            "feature_adversarial": feature_adversarial_weight,
        }

    def losses_of(
        self, lr: keras.KerasTensor, hr: keras.KerasTensor, training: bool
    ) -> tuple[keras.KerasTensor, dict[str, keras.KerasTensor]]:
        """Returns the restored images and the losses by name, each a float32 scalar, the mean over the batch.

        Args:
            lr: Low-resolution images, `(batch, height, width, channels)`, float32 in [0, 1].
            hr: High-resolution images.
            training: Whether layers are in training mode.
        """
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

    def train_on(self, data: tuple) -> dict:
        """Updates the networks on a batch of pairs (LR, HR), and returns the logs."""
        lr, hr = data

        def both():
            sr, losses = self.losses_of(lr, hr, training=True)
            d_loss = sum(losses[name] for name in (*self.discriminators, "r1") if name in losses)
            return (sr, losses), [losses["loss"], d_loss]

        discriminators = (self.discriminators.values(), self.discriminator_optimizer)
        sr, losses = self.update(both, (self.generators, self.optimizer), discriminators)
        self.advance()
        return self.log(hr, sr, losses)

    def evaluate_on(self, data: tuple) -> dict:
        """Returns the logs of a batch of pairs (LR, HR)."""
        lr, hr = data
        sr, losses = self.losses_of(lr, hr, training=False)
        return self.log(hr, sr, losses)


def _trainable(networks) -> list:
    return [variable for network in networks for variable in network.trainable_variables]


def _feature_distance(real, fake):
    return ops.mean(ops.abs(ops.cast(real, "float32") - ops.cast(fake, "float32")))


__getattr__ = renamed(__name__, Adversarial="AdversarialTrainer")
