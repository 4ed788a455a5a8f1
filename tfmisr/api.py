"""The commands from Python: the same names, defaults, checks and code; `InputError` in place of an exit status."""

import importlib
import os
import typing

from tfmisr import cli, options
from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    from tfmisr.evaluation.outcomes import Evaluation, Exported, Search, TrainingRun
    from tfmisr.inference.array_upscaler import ArrayUpscaler


def _run(command: str, given: dict):
    module = importlib.import_module(f"tfmisr.{command}")
    with cli.naming_extras(f"tfmisr.{command.partition('.')[0]}"):
        return module.run(options.parsed(module._parser(), given))


def load(
    name: str | os.PathLike,
    scale: int | None = None,
    tile: int | None = None,
    max_tile: int | None = None,
    threads: int = 1,
    color: str = "refuse",
) -> "ArrayUpscaler":
    """Returns an upscaler, to be called with an array or the path of an image.

    Args:
        name: A model that comes with tfmisr, a run's folder, a `.keras`, `.tflite` or `.npz` file, an interpolation or
            a classical method; see `tfmisr.inference.upscalers.load`. `NAME+` takes the mean over eight orientations.
        scale: Upsampling factor, for an interpolation or a classical method (default: 4); a network has its own.
        tile: Side of all tiles in pixels of the input; see `python -m tfmisr.upscale --help`.
        max_tile: Bound of tiles that are chosen for each image.
        threads: Of a `.tflite` file.
        color: What is done with color images where the network is for gray ones: `refuse`, or `luma`, which enlarges
            their luma with the network and interpolates their colors.

    Raises:
        InputError: No such model, or a scale that is not its own.
    """
    from tfmisr import models, upscale
    from tfmisr.inference import batch
    from tfmisr.inference.array_upscaler import ArrayUpscaler

    given = {"scale": scale, "tile": tile, "max_tile": max_tile, "threads": threads, "color": color}
    checked = options.parsed(upscale._parser(), {"model": name, "inputs": ["-"], "output": "-", **given})
    upscale.check(checked)
    with cli.naming_extras(f"the model {checked.model}"):
        found = batch.load(checked.model, checked.tile, checked.threads, checked.color, checked.max_tile)
    if checked.scale is None:
        checked.scale = found.scale or upscale.SCALE
    models.check_scale(checked.scale)
    if found.scale not in (None, checked.scale):
        raise InputError(f"{found.name} enlarges {found.scale} times. Received: scale={checked.scale}")
    return ArrayUpscaler(found, checked.scale)


def fit(**fields) -> "TrainingRun":
    """Trains a network and scores it beside the interpolations; the same call resumes an interrupted run.

    Args:
        **fields: Fields of `tfmisr.config.Config`, with `preset` or `config` as a start: the flags of
            `python -m tfmisr.fit`, which explains them under `--help`.

    Raises:
        InputError: No such field, a value it cannot have, or data that cannot be used.
    """
    return _run("fit", fields)


def evaluate(models, **flags) -> "Evaluation":
    """Scores models and interpolations on the whole images of a split.

    Args:
        models: One model or a list: names, folders of runs or files; see `tfmisr.inference.upscalers.load`.
        **flags: The flags of `python -m tfmisr.evaluate`, which explains them under `--help`.

    Raises:
        InputError: No such model or option, or models that cannot be compared.
    """
    return _run("evaluate", {"models": models, **flags})


def tune(**flags) -> "Search | None":
    """Searches hyperparameters or runs a study, a process for each trial; the same call resumes it.

    Args:
        **flags: The flags of `python -m tfmisr.tune`, which explains them under `--help`.

    Returns:
        What was found; `None` in a process that the environment makes a worker of a chief elsewhere.

    Raises:
        InputError: No such option, a value it cannot have, or no trial was completed.
    """
    return _run("tune", flags)


def export(workdir: str | os.PathLike, output: str | os.PathLike, **flags) -> "Exported":
    """Writes a trained network as `.tflite` files with model cards and as a SavedModel, and compares them with it.

    Args:
        workdir: A run's folder, or a `.keras` file.
        output: Folder for the files.
        **flags: The flags of `python -m tfmisr.export`, which explains them under `--help`.

    Returns:
        The files and the comparison; `failures` names the files that are over a limit.

    Raises:
        InputError: No such run or option, or data that cannot be used.
    """
    return _run("export.__main__", {"model": workdir, "output": output, **flags})
