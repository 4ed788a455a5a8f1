"""Builds and compiles the Keras model of a run: the network, or a GAN or CycleGAN trainer around it."""

from collections.abc import Callable

import keras

from tfmisr import losses, models, quantization
from tfmisr.config import Config
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.models import discriminators
from tfmisr.quantization import preparation
from tfmisr.training import cycle, image_pool, initial, metrics, optimizers, spectral
from tfmisr.training.gan import GAN


def network(config: Config, channels: int, images: Callable) -> keras.Model:
    """Returns the run's network with its initial weights.

    Args:
        config: The run.
        channels: Channels of the images.
        images: Function that returns low-resolution patches `(batch, height, width, channels)`, on which activation
            ranges are measured for quantization-aware training.

    Raises:
        InputError: The initial weights do not match the network.
    """
    created = models.create(config.model, config.scale, channels)
    if config.initial_weights:
        initial.load(created, config.initial_weights)
    if not config.quantization_aware:
        return created
    return quantization.prepare(created, images(), config.clip_fraction)


def untrained(config: Config, channels: int) -> keras.Model:
    """Returns an untrained network with the layers and weight shapes of the run's network."""
    created = models.create(config.model, config.scale, channels)
    return quantization.prepare(created) if config.quantization_aware else created


def compiled(config: Config, network: keras.Model, channels: int, total_steps: int) -> keras.Model:
    """Returns the compiled model to train: the network itself, or a `GAN` or `CycleGAN` around it.

    With JAX a step is always compiled by XLA: Keras computes its gradients operation by operation otherwise.

    Args:
        config: The run.
        network: The run's network.
        channels: Channels of the images.
        total_steps: Steps of the whole run.
    """
    optimizer = optimizers.create(config, total_steps, config.learning_rate)
    jit_compile = config.jit_compile or keras.backend.backend() == "jax"
    if not config.discriminator:
        loss = losses.get(config.loss)
        trained = preparation.fake_quantize(network) if config.quantization_aware else network
        trained.compile(optimizer, loss, metrics=[metrics.psnr()], jit_compile=jit_compile)
        trained.optimizer.build(network.trainable_variables)
        return trained
    trainer = _cycle_gan(config, network, channels) if config.unpaired else _gan(config, network, channels)
    rate = config.discriminator_learning_rate or config.learning_rate
    discriminator_optimizer = optimizers.create(config, total_steps, rate)
    loss = losses.get(config.loss, reduction="none")
    # With JAX, what is not part of the state would become constants of the compiled step.
    trainer.feature_networks = [*trainer.feature_networks, *_feature_networks(loss)]
    trainer.compile(optimizer, discriminator_optimizer, loss, metrics.psnr(), jit_compile=jit_compile)
    return trainer


def _feature_networks(loss):
    members = [member for _, member in loss.members] if isinstance(loss, losses.LossSum) else [loss]
    return [member.features for member in members if hasattr(member, "features")]


def _gan(config, network, channels):
    discriminator = _discriminator(config, config.discriminator, channels)
    second, feature_networks = {}, []
    if config.feature_discriminator:
        features = _features(config, channels)
        feature_networks.append(features.features)
        second["features"] = lambda images: features._features(images)[0]
        depth = features.features.outputs[0].shape[-1]
        second["feature_discriminator"] = _discriminator(config, config.feature_discriminator, depth)
    trainer = GAN(
        network,
        discriminator,
        config.pixel_weight,
        config.adversarial_weight,
        config.feature_matching_weight,
        feature_adversarial_weight=config.feature_adversarial_weight,
        **second,
        **_adversarial(config),
    )
    trainer.feature_networks = feature_networks
    return trainer


def _cycle_gan(config, network, channels):
    return cycle.CycleGAN(
        network,
        cycle.degradation_model(config.scale, channels),
        _discriminator(config, config.discriminator, channels),
        _discriminator(config, config.discriminator, channels),
        config.adversarial_weight,
        config.cycle_weight,
        config.identity_weight,
        pools=image_pool.pools(config, channels),
        **_adversarial(config),
    )


def _adversarial(config):
    return {key: getattr(config, key) for key in ("adversarial_loss", "r1_weight", "r1_interval")}


def _discriminator(config, name, channels):
    created = discriminators.create(name, channels)
    return spectral.normalized(created) if config.spectral_normalization else created


def _features(config, channels):
    """Returns the perceptual loss whose one feature layer is the input of the second discriminator."""
    perceptual = losses.get(config.feature_network)
    expected = perceptual.features.inputs[0].shape[-1]
    if channels not in (1, expected):
        raise InputError(f"feature_network takes images of {counted(expected, 'channel')}. Received: {channels}")
    return perceptual
