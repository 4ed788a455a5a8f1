"""Python functions for the commands, with their names, defaults and checks; a user error raises `InputError`."""

import importlib
import os
import typing
from collections.abc import Sequence

from tfmisr import cli, options
from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    from tfmisr.evaluation.outcomes import Evaluation, Exported, Search, TrainingRun
    from tfmisr.inference.array_upscaler import ArrayUpscaler
    from tfmisr.observers.outcome import Observation
    from tfmisr.volumes.command import Thinned


def _run(command: str, flags: dict):
    module = importlib.import_module(f"tfmisr.{command}")
    with cli.naming_extras(f"tfmisr.{command.partition('.')[0]}"):
        return module.run(options.parsed(module._parser(), flags))


def load(
    name: str | os.PathLike,
    scale: int | None = None,
    tile: int | None = None,
    max_tile: int | None = None,
    threads: int = 1,
    color: str = "refuse",
) -> "ArrayUpscaler":
    """Loads an upscaler, to be called with an array or the path of an image.

    Args:
        name: A model that comes with tfmisr, a run's folder, a `.keras`, `.tflite` or `.npz` file, an interpolation or
            a classical method; see `tfmisr.inference.upscalers.load`. `NAME+` applies geometric self-ensemble.
        scale: Upsampling factor of an interpolation or a classical method (default: 4); that of a network is fixed.
        tile: Side of all tiles in input pixels; see `python -m tfmisr.upscale --help`.
        max_tile: Largest side of tiles that are chosen per image, overlap included.
        threads: Number of threads, for a `.tflite` file.
        color: Handling of color images by a network for gray images: `refuse`, or `luma`, which upscales their luma
            with the network and interpolates their chroma.

    Raises:
        InputError: There is no such model, or it is for another scale.
    """
    from tfmisr import models, upscale
    from tfmisr.inference import batch
    from tfmisr.inference.array_upscaler import ArrayUpscaler

    flags = {"scale": scale, "tile": tile, "max_tile": max_tile, "threads": threads, "color": color}
    arguments = options.parsed(upscale._parser(), {"model": name, "inputs": ["-"], "output": "-", **flags})
    upscale.check(arguments)
    with cli.naming_extras(f"the model {arguments.model}"):
        upscaler = batch.load(arguments.model, arguments.tile, arguments.threads, arguments.color, arguments.max_tile)
    if arguments.scale is None:
        arguments.scale = upscaler.scale or upscale.SCALE
    models.check_scale(arguments.scale)
    if upscaler.scale not in (None, arguments.scale):
        raise InputError(f"{upscaler.name} upscales by {upscaler.scale}. Received: scale={arguments.scale}")
    return ArrayUpscaler(upscaler, arguments.scale)


def fit(**fields: typing.Any) -> "TrainingRun":
    """Trains a network and evaluates it against the interpolations; the same call resumes an interrupted run.

    Args:
        **fields: Fields of `tfmisr.config.Config`, and `preset` or `config` for defaults: the flags of
            `python -m tfmisr.fit`, documented in its `--help`.

    Returns:
        The run: configuration, training history and scores.

    Raises:
        InputError: A field or its value is invalid, or the data cannot be used.
    """
    return _run("fit", fields)


def evaluate(models: str | os.PathLike | Sequence[str | os.PathLike], **flags: typing.Any) -> "Evaluation":
    """Evaluates models and interpolations on the full images of a split.

    Args:
        models: One model or a list: names, folders of runs or files; see `tfmisr.inference.upscalers.load`.
        **flags: The flags of `python -m tfmisr.evaluate`, documented in its `--help`.

    Returns:
        The scores, with tables and figures.

    Raises:
        InputError: A model or option does not exist, or the models cannot be compared.
    """
    return _run("evaluate", {"models": models, **flags})


def observe(models: str | os.PathLike | Sequence[str | os.PathLike], **flags: typing.Any) -> "Observation":
    """Measures how well known signals can be detected in upscaled images, by model observers.

    Args:
        models: One model or a list: names, folders of runs or files; see `tfmisr.inference.upscalers.load`.
        **flags: The flags of `python -m tfmisr.observe`, documented in its `--help`.

    Returns:
        AUC, differences to bicubic interpolation and verdicts of all arms in all tasks.

    Raises:
        InputError: A model, task or option does not exist, images are in color, or there are too few patients.
    """
    return _run("observe", {"models": models, **flags})


def tune(**flags: typing.Any) -> "Search | None":
    """Searches hyperparameters or runs a parameter study, one process per trial; the same call resumes it.

    Args:
        **flags: The flags of `python -m tfmisr.tune`, documented in its `--help`.

    Returns:
        The result of the search; `None` in a worker process of a distributed search (`KERASTUNER_TUNER_ID`).

    Raises:
        InputError: An option or its value is invalid, or no trial was completed.
    """
    return _run("tune", flags)


def export(workdir: str | os.PathLike, output: str | os.PathLike, **flags: typing.Any) -> "Exported":
    """Exports a trained network as `.tflite` files with model cards and as a SavedModel, and compares their outputs.

    Args:
        workdir: A run's folder, or a `.keras` file.
        output: Folder for the files.
        **flags: The flags of `python -m tfmisr.export`, documented in its `--help`.

    Returns:
        The files and the comparison with Keras; `failures` lists the files that exceed a limit.

    Raises:
        InputError: The run or an option does not exist, or the data cannot be used.
    """
    return _run("export.__main__", {"model": workdir, "output": output, **flags})


def volume(
    inputs: str | os.PathLike | Sequence[str | os.PathLike], output: str | os.PathLike, **flags: typing.Any
) -> "Thinned":
    """Makes the thick slices of a CT or MR volume thinner.

    Args:
        inputs: Folder or files of a DICOM series, or one `.nii` or `.nii.gz` file.
        output: Folder that does not exist yet, or a `.nii` or `.nii.gz` file.
        **flags: The flags of `python -m tfmisr.volume`, documented in its `--help`; `spacing` may be a number of mm.

    Returns:
        What was written, and what the self-check found.

    Raises:
        InputError: The input is not one volume, or an option does not exist or fit; nothing is written.
    """
    if isinstance(spacing := flags.get("spacing"), float):
        flags["spacing"] = repr(spacing)
    return _run("volume", {"inputs": inputs, "output": output, **flags})
