"""What a run depends on: one frozen dataclass, its command line, its JSON file and the presets."""

import argparse
import dataclasses
import hashlib
import importlib
import json
import math
import os
import pathlib
import types
import typing

from tfmisr import losses, models, presets
from tfmisr.config import compatibility
from tfmisr.edge.errors import InputError, check_name, hint
from tfmisr.losses import expression
from tfmisr.models import discriminators

ADVERSARIAL_LOSSES = ("vanilla", "lsgan", "hinge", "relativistic")


def _option(default, text: str, choices=None, several=False):
    metadata = {"help": text, "choices": choices, "several": several}
    return dataclasses.field(default=default, metadata=metadata)


def _modules(folder: str) -> list[str]:
    return sorted(path.stem for path in (pathlib.Path(__file__).parents[1] / folder).glob("[!_]*.py"))


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a training run depends on. `--help` of `python -m tfmisr.fit` explains each field."""

    dataset: str = _option("chest_phantom", "dataset's name, or a folder of images")
    manual_dir: tuple[str, ...] = _option((), "folders with the dataset's source files", several=True)
    data_dir: str | None = _option(None, "where prepared datasets are kept (default: TFDS's own)")
    patient_pattern: str | None = _option(
        None, "for a folder: regular expression whose group is the patient's part of a file name"
    )
    model: str = _option("cnn5", "model, model/variant or model/argument=value,...: " + ", ".join(models.names()))
    scale: int = _option(4, "upsampling factor", models.SCALES)
    degradation: str = _option(
        "bicubic",
        "how the LR image is made, with numbers in parentheses, such as 'xray(photons=5000)': "
        + ", ".join(["bicubic", *_modules("degradations")])
        + "; bicubic(rounding=pillow8): as Pillow resizes 8-bit images",
    )
    blur_sigma: float = _option(0.0, "blur before the reduction, standard deviation in HR pixels")
    noise_std: float = _option(0.0, "noise of the LR image, standard deviation as a fraction of the range")
    quantize_lr: bool = _option(True, "round the LR image to the source's bit depth")
    patch_size: int = _option(24, "side of a training patch, in LR pixels")
    batch_size: int = _option(16, "patches of a step, over all devices")
    hard_patches: float = _option(
        0.0, "share of the patches that are drawn where bicubic interpolation loses most, not evenly"
    )
    steps: int | None = _option(None, "training steps (default: 1500 where no --epochs is given)")
    epochs: float | None = _option(None, "passes over the training images, one patch of each a pass")
    loss: str = _option(
        "mae",
        "a loss or a weighted sum, such as 'charbonnier + 0.1*ms_ssim(scales=2)': " + ", ".join(losses.names()),
    )
    optimizer: str = _option("adam", "optimizer", ("adam", "sgd", "muon"))
    learning_rate: float = _option(1e-3, "learning rate after the warm-up")
    momentum: float = _option(0.9, "momentum of sgd and muon")
    beta_1: float = _option(0.9, "first moment's decay of adam, and of muon's biases")
    beta_2: float = _option(0.999, "second moment's decay of adam, and of muon's biases")
    schedule: str = _option("cosine", "fall of the learning rate to 0", ("constant", "cosine", "linear"))
    warmup_steps: int = _option(0, "steps in which the learning rate rises from 0, before its fall begins")
    auto_warmup: bool = _option(
        True,
        "without --warmup_steps: let the learning rate rise to its schedule over the first 200 steps, so that even a "
        "run of a few steps does not end below its beginning",
    )
    gradient_accumulation_steps: int = _option(1, "steps whose gradients make one update")
    ema_decay: float = _option(0.0, "decay a step of the averaged weights that are kept; 0: no average")
    initial_weights: str | None = _option(
        None, "start from the weights of this run, or .keras file, of the same network"
    )
    quantization_aware: bool = _option(
        False, "train with the 8 bits of an int8 file; for the last steps of a row of convolutions, such as plain"
    )
    discriminator: str | None = _option(
        None, "train as a GAN with this discriminator: " + ", ".join(discriminators.names())
    )
    discriminator_learning_rate: float | None = _option(None, "default: --learning_rate")
    pixel_weight: float = _option(1.0, "GAN: weight of the pixel loss")
    adversarial_weight: float = _option(1e-3, "GAN: weight of the adversarial loss")
    feature_matching_weight: float = _option(1e-2, "GAN: weight of the feature-matching loss")
    adversarial_loss: str = _option("vanilla", "GAN: what is made of the logits", ADVERSARIAL_LOSSES)
    spectral_normalization: bool = _option(False, "GAN: give each layer of the discriminator norm 1")
    r1_weight: float = _option(0.0, "GAN: weight (gamma) of the discriminator's gradient penalty R1; 0: none")
    r1_interval: int = _option(16, "GAN: steps between two R1 penalties, each of so many times the weight")
    feature_discriminator: str | None = _option(
        None, "GAN: a second discriminator, on features of --feature_network, such as srfeat"
    )
    feature_network: str = _option(
        "perceptual(layers=conv5_4, activation=after)", "its features, said as the perceptual loss of --loss"
    )
    feature_adversarial_weight: float = _option(1e-3, "GAN: weight of its adversarial loss")
    unpaired: bool = _option(
        False, "learn as CycleGAN from HR and LR images of other patients (needs --discriminator); --loss compares"
    )
    lr_dataset: str | None = _option(
        None, "unpaired: dataset or folder of LR images (default: half the patients, degraded)"
    )
    lr_manual_dir: tuple[str, ...] = _option((), "unpaired: folders with its source files", several=True)
    cycle_weight: float = _option(10.0, "unpaired: weight of there and back again")
    identity_weight: float = _option(5.0, "unpaired: weight of restoring what bicubic reduction or enlarging made")
    image_pool: int = _option(50, "unpaired: earlier images that the discriminators see again; 0: none")
    mixed_precision: str = _option("float32", "computation", ("float32", "mixed_bfloat16", "mixed_float16"))
    distribute: str = _option("none", "mirrored: every GPU of this machine", ("none", "mirrored"))
    jit_compile: bool = _option(False, "compile the step with XLA (needs --no-deterministic)")
    deterministic: bool = _option(True, "same seed, same machine, same weights, bit for bit")
    seed: int = _option(0, "start of every random draw")
    save_every: int = _option(100, "steps between checkpoints, and between rows of history.csv")
    validate_every: int = _option(500, "steps between validations; a multiple of --save_every")
    workdir: str | None = _option(None, "folder of the run (default: runs/ and a name made of the rest)")

    def __post_init__(self):
        _check(self)

    @property
    def key(self) -> str:
        """Eight digits that two runs share if and only if they do the same."""
        unsaid = {**_DEFAULTS, **WITHOUT}
        said = {name: value for name, value in self.identity().items() if name in _FIRST or value != unsaid[name]}
        if self.initial_weights:
            from tfmisr.training import initial

            said["initial_weights"] = initial.digest(self.initial_weights)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def folder(self) -> pathlib.Path:
        """The run's folder."""
        if self.workdir:
            return pathlib.Path(self.workdir).expanduser()
        path = pathlib.Path(self.dataset).expanduser()
        is_path = self.dataset.startswith(".") or path.is_absolute() or path.is_dir()
        dataset = pathlib.Path(os.path.abspath(path)).name if is_path else self.dataset.replace("/", "-")
        model = self.model.replace("/", "-") + ("-gan" if self.discriminator else "")
        rest = f"-{model}-x{self.scale}-{self.key}"
        while len(os.fsencode(dataset + rest)) > 255 and dataset:  # the longest name that file systems take
            dataset = dataset[:-1]
        return pathlib.Path("runs") / (dataset + rest)

    def total_steps(self, images: int) -> int:
        """Returns the number of training steps on a training split of so many images."""
        if self.steps is None and self.epochs is not None:
            return math.ceil(self.epochs * images / self.batch_size)
        return self.steps or 1500

    def identity(self) -> dict:
        """Returns the fields that change what is trained: all but where things lie."""
        fields = dataclasses.asdict(self)
        return {k: v for k, v in fields.items() if k not in _PLACES}

    def to_json(self) -> str:
        """Returns the text of `config.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


# Where things lie; what lies there is compared by `tfmisr.training.loop.claim`.
_PLACES = ("workdir", "data_dir", "manual_dir", "lr_manual_dir", "initial_weights")
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Config)}
# What a file means that was written before a field was there, where that is not today's default.
WITHOUT = {"auto_warmup": False}
# The fields of version 0.1. One that came later is part of the key only where it is not its default, so that folders
# keep their names.
_FIRST = frozenset(
    "dataset patient_pattern model scale blur_sigma noise_std quantize_lr patch_size batch_size steps epochs loss "
    "optimizer learning_rate momentum beta_1 beta_2 schedule warmup_steps gradient_accumulation_steps ema_decay "
    "discriminator discriminator_learning_rate pixel_weight adversarial_weight feature_matching_weight "
    "mixed_precision distribute jit_compile deterministic seed save_every validate_every".split()
)
# What a preset or file with steps or epochs says is replaced by either flag.
_ONE_OF = ("steps", "epochs")
_WEIGHTS = ("pixel_weight", "adversarial_weight", "feature_matching_weight", "r1_weight")
_WEIGHTS += ("feature_adversarial_weight", "cycle_weight", "identity_weight")


def _check(config: Config) -> None:
    for field in dataclasses.fields(Config):
        value, choices = getattr(config, field.name), field.metadata["choices"]
        if not _fits(value, field.type):
            raise InputError(f"{field.name} must be {_kind(field.type)}. Received: {value!r}")
        if choices and value not in choices:
            listed = ", ".join(map(str, choices))
            close = hint(str(value), map(str, choices)) if isinstance(value, str) else ""
            raise InputError(f"{field.name} must be one of {listed}. Received: {value}{close}")
    for name in ("patch_size", "batch_size", "save_every", "validate_every", "learning_rate"):
        if getattr(config, name) <= 0:
            raise InputError(f"{name} must be above 0. Received: {getattr(config, name)}")
    for name in (*_ONE_OF, "discriminator_learning_rate"):
        if getattr(config, name) is not None and getattr(config, name) <= 0:
            raise InputError(f"{name} must be above 0. Received: {getattr(config, name)}")
    for name in ("ema_decay", "momentum", "beta_1", "beta_2"):
        if not 0 <= getattr(config, name) < 1:
            raise InputError(f"{name} must be in [0, 1). Received: {getattr(config, name)}")
    for name in ("blur_sigma", "noise_std", "warmup_steps", *_WEIGHTS):
        if getattr(config, name) < 0:
            raise InputError(f"{name} must not be negative. Received: {getattr(config, name)}")
    if not 0 <= config.seed < 2**32:
        raise InputError(f"seed must be in [0, 2**32). Received: {config.seed}")
    if not 0 <= config.hard_patches <= 1:
        raise InputError(f"hard_patches must be in [0, 1]. Received: {config.hard_patches}")
    if config.gradient_accumulation_steps < 1:
        raise InputError(
            f"gradient_accumulation_steps must be at least 1. Received: {config.gradient_accumulation_steps}"
        )
    _check_together(config)


def _check_together(config: Config) -> None:
    models.check(config.model)
    expression.check(config.loss, config.patch_size * config.scale)
    if config.degradation != "bicubic":
        from tfmisr import degradations

        degradations.of(dataclasses.asdict(config))
    _check_adversarial(config)
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


def _check_adversarial(config: Config) -> None:
    for name in ("discriminator", "feature_discriminator"):
        if getattr(config, name):
            check_name(name, getattr(config, name), discriminators.names())
    for name in ("adversarial_loss", "spectral_normalization", "r1_weight", "feature_discriminator", "unpaired"):
        if not config.discriminator and getattr(config, name) != _DEFAULTS[name]:
            raise InputError(f"--{name} needs --discriminator. Received: {getattr(config, name)} and none")
    if config.discriminator and config.quantization_aware:
        raise InputError(
            "--quantization_aware needs a run without --discriminator, such as a last one with a pixel loss"
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


def _check_unpaired(config: Config) -> None:
    if config.lr_dataset and not config.unpaired:
        raise InputError("--lr_dataset needs --unpaired, or --preset cyclegan")
    for name in ("feature_discriminator", "feature_matching_weight", "pixel_weight", "hard_patches"):
        if config.unpaired and getattr(config, name) != _DEFAULTS[name]:
            raise InputError(f"--{name} needs pairs: leave it or --unpaired out")
    if config.image_pool < 0 or (config.unpaired and 0 < config.image_pool < config.batch_size):
        raise InputError(f"image_pool must be 0 or at least batch_size. Received: {config.image_pool}")


def _kind(kind) -> str:
    """Returns a field's type in a user's words."""
    words = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text"}
    if typing.get_origin(kind) is tuple:
        return "a list of texts"
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return " or ".join(words.get(k, "null") for k in kinds)


def _fits(value, kind) -> bool:
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if typing.get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return any(isinstance(value, (int, float) if k is float else k) for k in kinds)


def from_dict(values: dict, where: str) -> Config:
    """Returns the configuration with `values` over the defaults.

    Args:
        values: Fields by name.
        where: Where they come from, for the error.

    Raises:
        InputError: A field that does not exist, or a value it cannot have.
    """
    known = [field.name for field in dataclasses.fields(Config)]
    for name in values:
        if name not in known:
            raise InputError(f"{where} has a field that no run has: {name}{hint(name, known)}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Config(**values)


def read(path) -> dict:
    """Returns the fields in a JSON file that a run has written, or somebody by hand."""
    try:
        values = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"expected a configuration file, found none at {path}") from error
    except (ValueError, IsADirectoryError) as error:
        raise InputError(f"{path} is not a JSON file of a run: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold one JSON object, the fields of a run")
    return values


def preset(name: str) -> dict:
    """Returns the fields that the preset `name` sets."""
    check_name("preset", name, presets.names())
    return dict(importlib.import_module(f"tfmisr.presets.{name}").CONFIG)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds one flag for each field, spelled as the field, to a parser. What is not given stays unset."""
    for field in dataclasses.fields(Config):
        text = field.metadata["help"].replace("%", "%%")
        if field.default not in (None, ()):
            text += f" (default: {field.default})"
        kwargs = {"default": argparse.SUPPRESS, "help": text, "dest": field.name}
        if field.type is bool:
            parser.add_argument(f"--{field.name}", action=argparse.BooleanOptionalAction, **kwargs)
        elif field.metadata["several"]:
            parser.add_argument(f"--{field.name}", nargs="+", metavar="DIR", **kwargs)
        else:
            kwargs |= {"type": _parser_type(field.type), "metavar": _metavar(field)}
            parser.add_argument(f"--{field.name}", **kwargs)


def _metavar(field) -> str:
    if choices := field.metadata["choices"]:
        return "|".join(map(str, choices))
    return {int: "N", float: "X", str: "TEXT"}[_parser_type(field.type)]


def _parser_type(kind):
    kinds = typing.get_args(kind) or (kind,)
    return next(k for k in (int, float, str) if k in kinds)


def parse(arguments: argparse.Namespace, recipe: dict | None = None) -> Config:
    """Returns the configuration of a command line: flags over `--config`, `--preset` or `recipe` over defaults.

    Where an earlier version began the run, fields that came later are as they were then.
    """
    flags = dict(vars(arguments))
    file, name = flags.pop("config", None), flags.pop("preset", None)
    values = {**WITHOUT, **read(file)} if file else preset(name) if name else dict(recipe or {})
    if any(key in flags for key in _ONE_OF):
        values = {k: v for k, v in values.items() if k not in _ONE_OF}
    values |= flags
    config = from_dict(values, file or "the command line")
    then = compatibility.earlier(config, values, WITHOUT)
    return then if compatibility.lacks(then.folder / "config.json", WITHOUT) else config
