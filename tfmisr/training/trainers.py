"""From a configuration to what is trained: the network, its discriminators, losses and optimizers, compiled."""

import keras

from tfmisr import losses, models, quantization
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.models import discriminators
from tfmisr.training import cycle, initial, metrics, optimizers, spectral
from tfmisr.training.gan import GAN


def network(config, channels: int, images) -> keras.Model:
    """Returns the run's network as it is before the first step.

    Args:
        config: `tfmisr.config.Config`.
        channels: Channels of the images.
        images: Function that returns low-resolution patches (batch, height, width, channels), to find ranges with.
    """
    created = models.create(config.model, config.scale, channels)
    if config.initial_weights:
        initial.load(created, config.initial_weights)
    if not config.quantization_aware:
        return created
    found = quantization.clip_activations(created)
    found.set_weights(quantization.scale_to_clip_range(created, images()))
    return found


def untrained(config, channels: int) -> keras.Model:
    """Returns a network for the weights of the run's network."""
    created = models.create(config.model, config.scale, channels)
    return quantization.clip_activations(created) if config.quantization_aware else created


def compiled(config, network: keras.Model, channels: int, total_steps: int) -> keras.Model:
    """Returns what is trained: the network itself, or an adversarial trainer around it, a `GAN` or a `CycleGAN`.

    Args:
        config: `tfmisr.config.Config`.
        network: The run's network.
        channels: Channels of the images.
        total_steps: Steps of the whole run.
    """
    optimizer = optimizers.create(config, total_steps, config.learning_rate)
    if not config.discriminator:
        loss = losses.get(config.loss)
        trained = quantization.fake_quantize(network) if config.quantization_aware else network
        trained.compile(optimizer, loss, metrics=[metrics.psnr()], jit_compile=config.jit_compile)
        trained.optimizer.build(network.trainable_variables)
        return trained
    trainer = _cycle_gan(config, network, channels) if config.unpaired else _gan(config, network, channels)
    other = optimizers.create(config, total_steps, config.discriminator_learning_rate or config.learning_rate)
    loss = losses.get(config.loss, reduction="none")
    trainer.compile(optimizer, other, loss, metrics.psnr(), jit_compile=config.jit_compile)
    return trainer


def _gan(config, network, channels):
    discriminator = _discriminator(config, config.discriminator, channels)
    second = {}
    if config.feature_discriminator:
        features = _features(config, channels)
        second["features"] = lambda images: features._features(images)[0]
        depth = features.features.outputs[0].shape[-1]
        second["feature_discriminator"] = _discriminator(config, config.feature_discriminator, depth)
    return GAN(
        network,
        discriminator,
        config.pixel_weight,
        config.adversarial_weight,
        config.feature_matching_weight,
        feature_adversarial_weight=config.feature_adversarial_weight,
        **second,
        **_adversarial(config),
    )


def _cycle_gan(config, network, channels):
    return cycle.CycleGAN(
        network,
        cycle.degrader(config.scale, channels),
        _discriminator(config, config.discriminator, channels),
        _discriminator(config, config.discriminator, channels),
        config.adversarial_weight,
        config.cycle_weight,
        config.identity_weight,
        pools=cycle.pools(config, channels),
        **_adversarial(config),
    )


def _adversarial(config):
    return {key: getattr(config, key) for key in ("adversarial_loss", "r1_weight", "r1_interval")}


def _discriminator(config, name, channels):
    created = discriminators.create(name, channels)
    return spectral.normalized(created) if config.spectral_normalization else created


def _features(config, channels):
    """Returns the perceptual loss whose one layer of features the second discriminator judges."""
    found = losses.get(config.feature_network)
    wanted = found.features.inputs[0].shape[-1]
    if channels not in (1, wanted):
        raise InputError(f"feature_network takes images of {counted(wanted, 'channel')}. Received: {channels}")
    return found
