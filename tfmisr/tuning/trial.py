"""The process of one trial: python -m tfmisr.tuning.trial FOLDER, started by `tfmisr.tuning.runner`.

It reads `FOLDER/trial.json`, counts what the network costs, trains it where it is within the limits, and writes
`FOLDER/found.json`. The same command goes on where it was stopped. With --check it prepares the data and builds the
network, and trains nothing.
"""

import csv
import json
import math
import os
import pathlib
import shutil
import sys

from tfmisr import cli, config
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text


def main(argv=None) -> int:
    """Runs the command."""
    arguments = sys.argv[1:] if argv is None else argv
    home = pathlib.Path(arguments[-1])
    asked = json.loads((home / "trial.json").read_text(encoding="utf-8"))
    chosen = config.from_dict(asked["config"], str(home / "trial.json"))
    from tfmisr import data

    begun = tuple(home.parent.iterdir())
    source = data.load(chosen.dataset, chosen.data_dir, chosen.manual_dir, chosen.patient_pattern, begun)
    lr_source = None
    if chosen.lr_dataset:
        lr_source = data.load(chosen.lr_dataset, chosen.data_dir, chosen.lr_manual_dir, chosen.patient_pattern, begun)
    if "--check" in arguments:
        _check(chosen, source, lr_source)
        return 0
    found = _costs(home, asked, chosen, source)
    if not found["reason"]:
        found |= _trained(home, asked, chosen, source, lr_source)
        _tell_tensorboard(home, asked)
    write_text(home / "found.json", json.dumps(found, indent=2) + "\n")
    return 0


def _check(chosen, source, lr_source) -> None:
    from tfmisr import degradations, models
    from tfmisr.data import exact_images, pipeline
    from tfmisr.training import unpaired

    if lacking := {"train", "validation"} - set(source.splits):
        raise InputError(
            f"a sweep needs images to learn from and others to compare on. Received: {source.name}, which has no "
            f"{min(lacking)} split"
        )
    models.create(chosen.model, chosen.scale, source.channels)
    for split in ("train", "validation"):
        pipeline.cache_of(source, split)
    degradation = degradations.of(chosen.identity())
    exact_images.require_some(source, "train", chosen.scale, degradation)
    if _crops(chosen, source) is None:
        raise exact_images.refusal(source, "validation")
    if lr_source:
        unpaired.sampler(chosen, source, lr_source, degradation)


def _crops(chosen, source):
    """Returns the crops that a run is validated on; `None` where none has a PSNR."""
    from tfmisr import degradations
    from tfmisr.data import exact_images, pipeline
    from tfmisr.training import loop

    cache = pipeline.cache_of(source, "validation")
    count = min(len(cache), loop.VALIDATION_IMAGES)
    degradation = degradations.of(chosen.identity())
    return exact_images.validation_crops(cache, chosen.scale, degradation, count, loop.VALIDATION_SIDE, chosen.seed)


def _costs(home, asked, chosen, source) -> dict:
    from tfmisr import models
    from tfmisr.tuning import costs

    network = models.create(chosen.model, chosen.scale, source.channels)
    found = costs.count(network, chosen.scale)
    if asked["max_ms"] and not _beyond(found, asked, "max_params", "parameters"):
        found["window_ms"] = costs.window_ms(network, chosen.scale, asked["tile"], home / "float32.tflite")
    reasons = [_beyond(found, asked, "max_params", "parameters"), _beyond(found, asked, "max_ms", "window_ms")]
    reason = next(filter(None, reasons), None)
    return {**found, "status": "over" if reason else "completed", "reason": reason}


def _beyond(found, asked, limit, measured) -> str | None:
    if not asked[limit] or found.get(measured, 0) <= asked[limit]:
        return None
    return f"over the limit: {measured} {found[measured]} is above {limit} {asked[limit]}"


def _trained(home, asked, chosen, source, lr_source) -> dict:
    from tfmisr.training import loop

    if asked["previous"] and not (home / "checkpoints").exists():
        _take_over(home.parent / asked["previous"], home)
    path = loop.train(chosen, source, asked["until"], lr_source=lr_source)
    with open(home / "history.csv", newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    measured = {name: float(last[name]) for name in ("val_psnr", "val_loss") if last.get(name)}
    if not math.isfinite(measured.get(asked["objective"], math.nan)):
        raise InputError(f"the run's history.csv has no {asked['objective']}, or none that is a number")
    return {"steps": int(last["step"]), **measured, **(_judged(chosen, source, path) if path else {})}


def _take_over(previous, home) -> None:
    """Begins with the state of the trial that this one goes on with."""
    for left in home.glob(".checkpoints.*"):
        shutil.rmtree(left)
    temporary = home / f".checkpoints.{os.getpid()}"
    shutil.copytree(previous / "checkpoints", temporary)
    for name in ("history.csv", "environment.json", "config.json"):
        shutil.copy(previous / name, home / name)
    os.replace(temporary, home / "checkpoints")


def _judged(chosen, source, path) -> dict:
    """Returns the mean SSIM of the crops that the run was validated on, and what bicubic interpolation has there."""
    import numpy as np

    from tfmisr import metrics, models
    from tfmisr.edge.resize import upscale

    lr, hr = _crops(chosen, source)
    sr = np.clip(np.asarray(models.load(path)(lr, training=False)), 0.0, 1.0)
    bicubic = np.clip([upscale(image, chosen.scale) for image in lr], 0.0, 1.0)

    def mean(measure, found):
        return float(np.mean([measure(*pair, 1.0) for pair in zip(hr, found, strict=True)]))

    found = {
        "val_ssim": mean(metrics.ssim, sr),
        "bicubic_psnr": mean(metrics.psnr, bicubic),
        "bicubic_ssim": mean(metrics.ssim, bicubic),
    }
    # Crops too small for a measure: a study's table has numbers or nothing.
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _tell_tensorboard(home, asked) -> None:
    """Writes the trial's values for TensorBoard's HParams, beside the scalars that the run wrote."""
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    writer = tf.summary.create_file_writer(str(home / "tensorboard"))
    values = {k: v for k, v in asked["values"].items() if not k.startswith("tuner/")}
    told = api.KerasCallback(writer, values, trial_id=home.name)
    told.on_train_begin()
    told.on_train_end()
    writer.close()


if __name__ == "__main__":
    cli.run(main)
