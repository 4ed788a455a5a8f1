"""The search space of a sweep: declared in a file, or by the model's `search_space(hp)`.

A file is a JSON or TOML table from names to choices or ranges:

    {"num_filters": [16, 32, 64],
     "num_layers": {"min": 3, "max": 9, "step": 2},
     "learning_rate": {"min": 1e-4, "max": 1e-2, "log": true}}

A name is an argument of the model's `build` or one of `FIELDS` of a run. With `log`, `step` is a factor.
"""

import dataclasses
import json
import os
import pathlib
import typing

from tfmisr import models
from tfmisr.config.fields import Config
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError, check_name

if typing.TYPE_CHECKING:
    from keras_tuner import HyperParameters

# Fields that change the training. Fields that change the task or its images would make scores incomparable.
FIELDS = (
    "model",
    "patch_size",
    "batch_size",
    "loss",
    "optimizer",
    "learning_rate",
    "momentum",
    "beta_1",
    "beta_2",
    "schedule",
    "warmup_steps",
    "auto_warmup",
    "gradient_accumulation_steps",
    "ema_decay",
    "hard_patches",
    "burned_in",
    "intensity_augmentation",
    "subpixel_shifts",
    "seed",
    "discriminator",
    "adversarial_loss",
    "spectral_normalization",
    "discriminator_learning_rate",
    "pixel_weight",
    "adversarial_weight",
    "feature_matching_weight",
    "feature_adversarial_weight",
    "r1_weight",
    "cycle_weight",
    "identity_weight",
)
_OF_GANS = FIELDS[FIELDS.index("discriminator") + 1 :]
_NEEDS = {
    "feature_adversarial_weight": "feature_discriminator",
    "cycle_weight": "unpaired",
    "identity_weight": "unpaired",
}
_OF_OPTIMIZERS = {"momentum": ("sgd", "muon"), "beta_1": ("adam", "muon"), "beta_2": ("adam", "muon")}
_RANGE = {"min", "max", "step", "log"}
_LARGEST_FILE = 2**20  # bytes


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A searched hyperparameter: `choices`, or a range if there are none.

    Attributes:
        name: Its name.
        choices: Its values, if it has no range.
        low: Minimum of the range.
        high: Maximum of the range, included.
        step: Step of the range, a factor with `log`; `None`: continuous, or 1 for integers.
        log: Whether the range is sampled logarithmically.
    """

    name: str
    choices: tuple = ()
    low: int | float = 0
    high: int | float = 0
    step: int | float | None = None
    log: bool = False

    @property
    def extremes(self) -> tuple:
        """The values to validate: if they are valid, so are all."""
        return self.choices or (self.low, self.high)

    def declare(self, hp: "HyperParameters") -> str | bool | int | float:
        """Declares the parameter to Keras Tuner and returns its value for a trial."""
        if set(self.choices) == {True, False} and all(isinstance(c, bool) for c in self.choices):
            return hp.Boolean(self.name, default=self.choices[0])  # Choice turns them into integers
        if self.choices:
            return hp.Choice(self.name, list(self.choices))
        integers = isinstance(self.low, int) and isinstance(self.high, int)
        sampling = {"sampling": "log"} if self.log else {}
        return (hp.Int if integers else hp.Float)(self.name, self.low, self.high, step=self.step, **sampling)


class DeclaredSpace:
    """The search space of a file or a parameter study.

    Args:
        description: Names to choices or ranges.
        base: The run whose fields, and whose model's arguments, are searched.
        source: Where the description comes from, for error messages.

    Raises:
        InputError: An unknown name, an invalid value, or a parameter that would have no effect.
    """

    def __init__(self, description: dict, base: Config, source: str):
        if not description:
            raise InputError(f"{source} must name at least one hyperparameter")
        self.base = base
        self.arguments = _arguments_of(base.model)
        self.parameters = tuple(self._parameter(name, value, source) for name, value in description.items())
        self._check_together(source)

    def _check_together(self, where):
        """Rejects parameters that have no effect."""
        base, names = self.base, [p.name for p in self.parameters]
        if "model" in names and (inner := [n for n in names if n in self.arguments and n not in FIELDS]):
            raise InputError(f"{where} searches model and {inner[0]}, which other models may not have; search one")
        if not base.discriminator and "discriminator" not in names and (unused := [n for n in names if n in _OF_GANS]):
            raise InputError(f"{where} searches {unused[0]}, which only a GAN has; add --discriminator")
        for name in names:
            if name in _NEEDS and not getattr(base, _NEEDS[name]):
                raise InputError(f"{where} searches {name}, which does nothing without --{_NEEDS[name]}; add it")
        searched = next((p.choices for p in self.parameters if p.name == "optimizer"), ())
        for name in names:
            optimizers = _OF_OPTIMIZERS.get(name, ())
            if optimizers and not set(optimizers) & set(searched or (base.optimizer,)):
                remedy = f"search optimizer {optimizers[0]} too" if searched else f"add --optimizer {optimizers[0]}"
                raise InputError(f"{where} searches {name}, which only {' and '.join(optimizers)} have; {remedy}")

    def _parameter(self, name, values, where) -> Parameter:
        check_name(f"what {where} searches", name, [*FIELDS, *(a for a in self.arguments if a not in FIELDS)])
        real = self._is_real(name)
        if isinstance(values, (list, tuple)):
            parameter = _choices(name, values, real, where)
        elif isinstance(values, dict):
            parameter = _range(name, values, real, where)
        else:
            raise InputError(f"{name} in {where} must be a list of choices or have min and max. Received: {values!r}")
        for value in parameter.extremes:
            self.applied({name: value})
        return parameter

    def _is_real(self, name) -> bool:
        if name in FIELDS:
            annotation = next(f.type for f in dataclasses.fields(Config) if f.name == name)
            return annotation in (float, float | None)
        return self.arguments[name] == "float"

    def declare(self, hp: "HyperParameters") -> dict:
        """Declares all parameters to Keras Tuner and returns their values for a trial, by name."""
        return {p.name: p.declare(hp) for p in self.parameters}

    def applied(self, values: dict) -> Config:
        """Returns the configuration of a trial with these values.

        Raises:
            InputError: It is invalid.
        """
        fields = {k: v for k, v in values.items() if k in FIELDS}
        arguments = {k: v for k, v in values.items() if k not in FIELDS}
        if arguments:
            fields["model"] = models.format_model_spec(self.base.model, arguments)
        return dataclasses.replace(self.base, **fields)

    def configured(self, hp: "HyperParameters") -> Config:
        """Returns the configuration of a trial of Keras Tuner."""
        return self.applied({k: v for k, v in self.declare(hp).items() if v is not None})


class ModelSpace:
    """The search space that the model of the base run declares in its file, `search_space(hp)`.

    Args:
        base: The run whose model's arguments are searched.

    Raises:
        InputError: The model declares none.
    """

    def __init__(self, base: Config):
        self.base = base
        self.function = getattr(models.module(base.model)[0], "search_space", None)
        if self.function is None:
            raise InputError(f"the model {base.model} declares no search_space; give --space FILE")

    def declare(self, hp: "HyperParameters") -> dict:
        """Declares the parameters to Keras Tuner and returns the arguments of `build` for a trial."""
        return self.function(hp)

    def configured(self, hp: "HyperParameters") -> Config:
        """Returns the configuration of a trial of Keras Tuner."""
        return dataclasses.replace(self.base, model=models.format_model_spec(self.base.model, self.declare(hp)))


def _arguments_of(model: str) -> dict[str, str]:
    return models.build_arguments(models.parse_model_spec(model)[0])


def _choices(name, values, real, where) -> Parameter:
    values = tuple(float(v) if real and _is_number(v) else v for v in values)
    if len({type(v) for v in values}) > 1 or not all(isinstance(v, (str, bool, int, float)) for v in values):
        raise InputError(f"{name} in {where} must have choices of one type. Received: {list(values)}")
    if not values or len(set(values)) < len(values):
        raise InputError(f"{name} in {where} must have distinct choices. Received: {list(values)}")
    return Parameter(name, values)


def _range(name, limits, real, where) -> Parameter:
    low, high, step = (limits.get(key) for key in ("min", "max", "step"))
    log = limits.get("log", False)
    if set(limits) - _RANGE or not _is_number(low) or not _is_number(high) or not isinstance(log, bool):
        raise InputError(
            f"{name} in {where} must be a list of choices or have min and max, and perhaps step and log. "
            f"Received: {json.dumps(limits, default=str)}"
        )
    if not low < high or (log and low <= 0):
        raise InputError(
            f"{name} in {where} must have min below max{', above 0 for log' * log}. Received: {low}, {high}"
        )
    if step is not None and (not _is_number(step) or step <= (1 if log else 0)):
        raise InputError(f"{name} in {where} must have a step above {1 if log else 0}. Received: {step}")
    if step is not None and (low * step if log else low + step) > high:
        raise InputError(f"{name} in {where} must have a step smaller than the range. Received: {step}")
    if not real and not all(isinstance(v, int) for v in (low, high, step or 1)):
        raise InputError(f"{name} in {where} takes whole numbers. Received: {low}, {high}, step {step}")
    return Parameter(name, (), *((float(low), float(high)) if real else (low, high)), step, log)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def read(path: str | os.PathLike) -> dict:
    """Returns the description of a search space in a `.json` or `.toml` file.

    Raises:
        InputError: The file is missing, too large, invalid, or no table.
    """
    path = pathlib.Path(path)
    if path.suffix not in (".json", ".toml"):
        raise InputError(f"a search space must be a .json or .toml file. Received: {path}")
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{path} is too large for a search space: {path.stat().st_size} bytes")
        text = path.read_text(encoding="utf-8")
        description = json.loads(text, object_pairs_hook=_unique(path)) if path.suffix == ".json" else _toml(text)
    except FileNotFoundError as error:
        raise InputError(f"expected a search space, found none at {path}") from error
    except (ValueError, RecursionError, IsADirectoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(description, dict):
        raise InputError(f"{path} must hold one table, from names to choices or ranges")
    return description


def _unique(path):
    def table(pairs):
        for i, (name, _) in enumerate(pairs):
            if name in dict(pairs[:i]):
                raise InputError(f"{path} names {name} twice; keep one")
        return dict(pairs)

    return table


def _toml(text):
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    return tomllib.loads(text)


__getattr__ = renamed(__name__, Declared="DeclaredSpace", Own="ModelSpace")
