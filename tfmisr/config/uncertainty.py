"""The recipe of an uncertainty head, and the fields that its training takes; imports no Keras."""

import dataclasses
import os
import pathlib
import typing

from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    from tfmisr.config.fields import Config

# Chosen on the validation patients of ChestX-ray14, by halves.
RECIPE = {
    "model": "uncertainty_head",
    "loss": "pinball",
    "patch_size": 32,
    "batch_size": 16,
    "steps": 3000,
    "learning_rate": 2e-3,
    "warmup_steps": 200,
    "auto_warmup": False,
    "save_every": 250,
    "validate_every": 500,
}
_FIXED = ("model", "loss")
_DEGRADATION = ("degradation", "blur_sigma", "noise_std", "quantize_lr")
_DATA = ("dataset", "manual_dir", "data_dir", "patient_pattern", *_DEGRADATION)
# Fields that have to keep their defaults: what they change is not part of this training.
_UNUSED = (
    "initial_weights quantization_aware discriminator unpaired lr_dataset mixed_precision distribute data_workers "
    "device_data burned_in intensity_augmentation subpixel_shifts"
).split()


def recipe(model: str | os.PathLike) -> dict:
    """Returns the fields of a head's run that are not given: `RECIPE`, the model's scale, and its training data.

    Args:
        model: A run's folder, a `.keras` or `.tflite` file, or the name of a model that comes with tfmisr.

    Raises:
        InputError: There is no such model, or its scale is not known.
    """
    from tfmisr.config import command_line, initial_weights
    from tfmisr.edge import card

    path = initial_weights.path_of(model)
    if path.suffix == ".tflite":
        described = card.read(path)
        trained = described.get("training") or {}
        named = {"dataset": trained["dataset"]} if " " not in trained.get("dataset", " ") else {}
        degraded = {key: trained[key] for key in _DEGRADATION if key in trained}
        return {**RECIPE, **named, **degraded, "scale": described["scale"]}
    file = (path if path.is_dir() else path.parent) / "config.json"
    initial_weights.digest(model, "uncertainty")
    if not file.is_file():
        raise InputError(f"expected {pathlib.Path(file).name} beside {path}, which names the scale and the data")
    fields = command_line.read(file)
    return {**RECIPE, **{key: fields[key] for key in (*_DATA, "scale") if key in fields}}


def check(config: "Config") -> None:
    """Checks the fields of the run of an uncertainty head.

    Raises:
        InputError: A field is set that this training does not have.
    """
    for name in _FIXED:
        if getattr(config, name) != RECIPE[name]:
            raise InputError(f"--uncertainty has its own {name}, {RECIPE[name]}. Received: {getattr(config, name)}")
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for name in _UNUSED:
        if getattr(config, name) != defaults[name]:
            raise InputError(f"--uncertainty and --{name} cannot be combined. Received: {getattr(config, name)}")
