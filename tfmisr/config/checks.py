"""Checks of a run's configuration: types, ranges, and fields that exclude or need each other."""

import dataclasses
import math
import types
import typing

from tfmisr import models
from tfmisr.config import through_plane, uncertainty
from tfmisr.edge.errors import InputError, check_name, hint
from tfmisr.losses import expression
from tfmisr.models import discriminators

if typing.TYPE_CHECKING:
    from tfmisr.config.fields import Config

_WEIGHTS = ("pixel_weight", "adversarial_weight", "feature_matching_weight", "r1_weight")
_PAIRED = ("feature_discriminator", "feature_matching_weight", "pixel_weight", "hard_patches", "burned_in")
_PAIRED += ("intensity_augmentation", "subpixel_shifts")
_WEIGHTS += ("feature_adversarial_weight", "cycle_weight", "identity_weight")


def check(config: "Config") -> None:
    """Checks the fields of a run, each on its own and then together.

    Raises:
        InputError: A value has the wrong type, is out of range, or contradicts another field.
    """
    for field in dataclasses.fields(config):
        value, choices = getattr(config, field.name), field.metadata["choices"]
        if not _has_type(value, field.type):
            raise InputError(f"{field.name} must be {_type_name(field.type)}. Received: {value!r}")
        if choices and value not in choices:
            listed = ", ".join(map(str, choices))
            close = hint(str(value), map(str, choices)) if isinstance(value, str) else ""
            raise InputError(f"{field.name} must be one of {listed}. Received: {value}{close}")
    for name in ("patch_size", "batch_size", "save_every", "validate_every", "learning_rate"):
        if getattr(config, name) <= 0:
            raise InputError(f"{name} must be above 0. Received: {getattr(config, name)}")
    for name in ("steps", "epochs", "discriminator_learning_rate"):
        if getattr(config, name) is not None and getattr(config, name) <= 0:
            raise InputError(f"{name} must be above 0. Received: {getattr(config, name)}")
    for name in ("ema_decay", "momentum", "beta_1", "beta_2"):
        if not 0 <= getattr(config, name) < 1:
            raise InputError(f"{name} must be in [0, 1). Received: {getattr(config, name)}")
    for name in ("blur_sigma", "noise_std", "warmup_steps", "data_workers", *_WEIGHTS):
        if getattr(config, name) < 0:
            raise InputError(f"{name} must not be negative. Received: {getattr(config, name)}")
    if not 0 <= config.seed < 2**32:
        raise InputError(f"seed must be in [0, 2**32). Received: {config.seed}")
    for name in ("hard_patches", "burned_in", "intensity_augmentation"):
        if not 0 <= getattr(config, name) <= 1:
            raise InputError(f"{name} must be in [0, 1]. Received: {getattr(config, name)}")
    if not 0 < config.clip_fraction <= 1:
        raise InputError(f"clip_fraction must be above 0 and at most 1. Received: {config.clip_fraction}")
    if config.gradient_accumulation_steps < 1:
        raise InputError(
            f"gradient_accumulation_steps must be at least 1. Received: {config.gradient_accumulation_steps}"
        )
    _check_together(config)


def _check_together(config) -> None:
    if config.clip_fraction != 1 and not config.quantization_aware:
        raise InputError(f"--clip_fraction needs --quantization_aware. Received: {config.clip_fraction}")
    if config.uncertainty:
        uncertainty.check(config)
    else:
        models.check(config.model)
        expression.check(config.loss, config.patch_size * config.scale)
    if config.degradation != "bicubic":
        from tfmisr import degradations

        degradations.of(dataclasses.asdict(config))
    if config.scale == models.PLANE_SCALE or "through_plane" in config.degradation:
        through_plane.check(config)
    _check_adversarial(config)
    _check_feed(config)
    if config.steps is not None and config.epochs is not None:
        raise InputError(f"give steps or epochs, not both. Received: {config.steps} and {config.epochs}")
    if config.validate_every % config.save_every:
        raise InputError(
            "validate_every must be a multiple of save_every. "
            f"Received: {config.validate_every} and {config.save_every}"
        )
    if config.jit_compile and (config.deterministic or config.distribute == "mirrored"):
        raise InputError("--jit_compile needs --no-deterministic and --distribute none")
    if config.gradient_accumulation_steps > 1 and config.distribute == "mirrored":
        raise InputError("--gradient_accumulation_steps needs --distribute none")


def _check_feed(config) -> None:
    if not config.device_data:
        return
    if config.data_workers:
        raise InputError(f"give --device_data or --data_workers, not both. Received: {config.data_workers} workers")
    if config.distribute != "none":
        raise InputError(f"--device_data needs --distribute none. Received: {config.distribute}; use --data_workers")
    from tfmisr import degradations

    degradation = degradations.of(dataclasses.asdict(config))
    for name in ("burned_in", "intensity_augmentation", "subpixel_shifts"):
        if getattr(config, name):
            raise InputError(f"--device_data and --{name} cannot be combined; use --data_workers in its place")
    if not degradation.fixed and not config.lr_dataset:
        raise InputError(
            "--device_data needs a degradation without random steps; use --data_workers. "
            f"Received: {degradation.describe()}"
        )


def _check_adversarial(config) -> None:
    for name in ("discriminator", "feature_discriminator"):
        if getattr(config, name):
            check_name(name, getattr(config, name), discriminators.names())
    for name in ("adversarial_loss", "spectral_normalization", "r1_weight", "feature_discriminator", "unpaired"):
        if not config.discriminator and getattr(config, name) != _default(config, name):
            raise InputError(f"--{name} needs --discriminator. Received: {getattr(config, name)} and none")
    if config.discriminator and config.quantization_aware:
        raise InputError(
            "--quantization_aware needs a run without --discriminator, such as a fine-tuning stage with a pixel loss"
        )
    if config.r1_interval < 1:
        raise InputError(f"r1_interval must be at least 1. Received: {config.r1_interval}")
    if config.feature_discriminator:
        terms = expression.parse(config.feature_network)
        if [term.name for term in terms] != ["perceptual"] or "+" in terms[0].options["layers"]:
            raise InputError(
                "feature_network must be one perceptual loss of one layer, such as perceptual(layers=conv5_4). "
                f"Received: {config.feature_network}"
            )
    _check_unpaired(config)


def _check_unpaired(config) -> None:
    if config.lr_dataset and not config.unpaired:
        raise InputError("--lr_dataset needs --unpaired, or --preset cyclegan")
    for name in _PAIRED:
        if config.unpaired and getattr(config, name) != _default(config, name):
            raise InputError(f"--{name} needs paired images: leave it or --unpaired out")
    if config.image_pool < 0 or (config.unpaired and 0 < config.image_pool < config.batch_size):
        raise InputError(f"image_pool must be 0 or at least batch_size. Received: {config.image_pool}")


def _type_name(annotation) -> str:
    """Returns a field's type as a user would name it, such as "a whole number or null"."""
    names = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text"}
    if typing.get_origin(annotation) is tuple:
        return "a list of texts"
    members = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return " or ".join(names.get(member, "null") for member in members)


def _has_type(value, annotation) -> bool:
    members = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    if typing.get_origin(annotation) is tuple:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if isinstance(value, bool):
        return bool in members
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return any(isinstance(value, (int, float) if member is float else member) for member in members)


def _default(config, name):
    return type(config).__dataclass_fields__[name].default
