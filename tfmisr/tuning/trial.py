"""The process of one trial: python -m tfmisr.tuning.trial FOLDER, started by `tfmisr.tuning.runner`.

It reads `FOLDER/trial.json`, measures the cost of the network, trains it if it is within the limits, and writes
`FOLDER/found.json`. The same command resumes an interrupted trial. With --check it only prepares the data and builds
the network.
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


def main(argv: list[str] | None = None) -> int:
    """Runs the command."""
    arguments = sys.argv[1:] if argv is None else argv
    home = pathlib.Path(arguments[-1])
    trial = json.loads((home / "trial.json").read_text(encoding="utf-8"))
    run_config = config.from_dict(trial["config"], str(home / "trial.json"))
    from tfmisr.training import run_data

    source, lr_source = run_data.load(run_config, home.parent.iterdir())
    if "--check" in arguments:
        _check(run_config, source, lr_source)
        return 0
    measured = _costs(home, trial, run_config, source)
    if not measured["reason"]:
        measured |= _train(home, trial, run_config, source, lr_source)
        _write_hparams(home, trial)
    write_text(home / "found.json", json.dumps(measured, indent=2) + "\n")
    return 0


def _check(run_config, source, lr_source) -> None:
    from tfmisr import degradations, models
    from tfmisr.data import exact_images, pipeline
    from tfmisr.training import unpaired

    if lacking := {"train", "validation"} - set(source.splits):
        raise InputError(
            f"a sweep needs training and validation images. Received: {source.name}, which has no {min(lacking)} split"
        )
    models.create(run_config.model, run_config.scale, source.channels)
    for split in ("train", "validation"):
        pipeline.cache_of(source, split)
    degradation = degradations.of(run_config.identity())
    exact_images.require_some(source, "train", run_config.scale, degradation)
    if _validation_crops(run_config, source) is None:
        raise exact_images.no_finite_psnr(source, "validation")
    if lr_source:
        unpaired.sampler(run_config, source, lr_source, degradation)


def _validation_crops(run_config, source):
    """Returns the validation crops of a run; `None` if none has a finite PSNR."""
    from tfmisr import degradations
    from tfmisr.data import exact_images, pipeline
    from tfmisr.training import loop

    cache = pipeline.cache_of(source, "validation")
    count = min(len(cache), loop.VALIDATION_IMAGES)
    degradation = degradations.of(run_config.identity())
    return exact_images.validation_crops(
        cache, run_config.scale, degradation, count, loop.VALIDATION_SIDE, run_config.seed
    )


def _costs(home, trial, run_config, source) -> dict:
    from tfmisr import models
    from tfmisr.tuning import costs

    network = models.create(run_config.model, run_config.scale, source.channels)
    measured = costs.count(network, run_config.scale)
    if trial["max_ms"] and not _over_limit(measured, trial, "max_params", "parameters"):
        path = home / "float32.tflite"
        measured["window_ms"] = costs.window_ms(network, run_config.scale, trial["tile"], path)
    limits = {"max_params": "parameters", "max_ms": "window_ms"}
    reason = next(filter(None, (_over_limit(measured, trial, *pair) for pair in limits.items())), None)
    return {**measured, "status": "over" if reason else "completed", "reason": reason}


def _over_limit(measured, trial, limit, name) -> str | None:
    if not trial[limit] or measured.get(name, 0) <= trial[limit]:
        return None
    return f"over the limit: {name} {measured[name]} is above {limit} {trial[limit]}"


def _train(home, trial, run_config, source, lr_source) -> dict:
    from tfmisr.training import loop

    if trial["previous"] and not (home / "checkpoints").exists():
        _copy_state(home.parent / trial["previous"], home)
    path = loop.train(run_config, source, trial["until"], lr_source=lr_source)
    with open(home / "history.csv", newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    measured = {name: float(last[name]) for name in ("val_psnr", "val_loss") if last.get(name)}
    if not math.isfinite(measured.get(trial["objective"], math.nan)):
        raise InputError(f"the run's history.csv has no {trial['objective']}, or none that is a number")
    return {"steps": int(last["step"]), **measured, **(_score(run_config, source, path) if path else {})}


def _copy_state(previous, home) -> None:
    """Copies the state of the shorter trial that this one continues (Hyperband)."""
    for incomplete in home.glob(".checkpoints.*"):
        shutil.rmtree(incomplete)
    temporary = home / f".checkpoints.{os.getpid()}"
    shutil.copytree(previous / "checkpoints", temporary)
    for name in ("history.csv", "environment.json", "config.json"):
        shutil.copy(previous / name, home / name)
    os.replace(temporary, home / "checkpoints")


def _score(run_config, source, path) -> dict:
    """Returns the mean SSIM of the validation crops, and the mean PSNR and SSIM of bicubic interpolation."""
    import numpy as np

    from tfmisr import metrics, models
    from tfmisr.edge.resize import upscale

    lr, hr = _validation_crops(run_config, source)
    sr = np.clip(np.asarray(models.load(path)(lr, training=False)), 0.0, 1.0)
    bicubic = np.clip([upscale(image, run_config.scale) for image in lr], 0.0, 1.0)

    def mean(measure, images):
        return float(np.mean([measure(*pair, 1.0) for pair in zip(hr, images, strict=True)]))

    scores = {
        "val_ssim": mean(metrics.ssim, sr),
        "bicubic_psnr": mean(metrics.psnr, bicubic),
        "bicubic_ssim": mean(metrics.ssim, bicubic),
    }
    # NaN for crops that are too small for SSIM; the table of trials has finite numbers only.
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def _write_hparams(home, trial) -> None:
    """Writes the trial's values for the HParams dashboard of TensorBoard, beside the scalars of the run."""
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    writer = tf.summary.create_file_writer(str(home / "tensorboard"))
    values = {k: v for k, v in trial["values"].items() if not k.startswith("tuner/")}
    callback = api.KerasCallback(writer, values, trial_id=home.name)
    callback.on_train_begin()
    callback.on_train_end()
    writer.close()


if __name__ == "__main__":
    cli.run(main)
