"""python -m tfmisr.fit: trains a network and evaluates it.

Without arguments it trains on the built-in phantom in a few minutes. The same command resumes an interrupted run.
"""

import argparse
import contextlib
import importlib.util
import os
import signal
import sys
import threading

import tfmisr
from tfmisr import cli, config, presets
from tfmisr.edge.errors import InputError, Terminated
from tfmisr.evaluation import outcomes
from tfmisr.training import process_flags

_MAX_IMAGES = 200  # of the test split; python -m tfmisr.evaluate scores all images


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.fit",
        description="Trains a super-resolution network and compares it with interpolations. "
        "Without arguments: a small network on the built-in phantom, in a few minutes. "
        "The same command resumes an interrupted run.",
    )
    recipe = parser.add_mutually_exclusive_group()
    recipe.add_argument(
        "--preset", default=argparse.SUPPRESS, metavar="NAME", help="recipe: " + ", ".join(presets.names())
    )
    recipe.add_argument(
        "--config", default=argparse.SUPPRESS, metavar="FILE", help="config.json of an earlier run, to repeat it"
    )
    config.add_arguments(parser)
    process_flags.add_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    with _terminated_by_sigterm():
        result = run(arguments)
    if result is not None:
        print(result)
    return 0


@contextlib.contextmanager
def _terminated_by_sigterm():
    """Ends in one line at SIGTERM, which process 1 of a container would otherwise ignore."""

    def terminate(*_):
        raise Terminated("stopped by SIGTERM")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if previous is None else previous)


def run(arguments: argparse.Namespace) -> outcomes.TrainingRun | outcomes.TrainedHead | None:
    """Trains and evaluates a run.

    Args:
        arguments: The parsed flags, or `tfmisr.options.parsed`.

    Returns:
        The run; `None` in the processes of a distributed run other than process 0, which alone evaluates.

    Raises:
        InputError: An invalid configuration, or data that cannot be used.
    """
    given = process_flags.take(arguments)
    run_config = config.parse(arguments, _recipe(arguments))
    own = process_flags.processes(given, run_config.distribute, os.environ)
    cli.check_writable(run_config.folder)
    _require_scipy()
    from tfmisr.training import processes

    with processes.joined(own):
        source, path = _train(run_config)
        processes.leave()
        return _evaluate(run_config, source, path) if processes.is_writer() else None


def _recipe(arguments) -> dict | None:
    """Returns the fields of an uncertainty head's run that are not given; `None` for other runs."""
    model = vars(arguments).get("uncertainty")
    return config.uncertainty.recipe(model) if model else None


def _train(run_config) -> tuple:
    from tfmisr import models
    from tfmisr.training import loop, processes, run_data

    loop.check_backend(run_config)
    if not run_config.uncertainty:
        models.module(run_config.model)  # reports an unknown variant before the data is prepared
    if run_config.initial_weights:
        config.initial_weights.digest(run_config.initial_weights)
    print(f"run: {run_config.folder}")
    with processes.in_turn():
        source, lr_source = run_data.load(run_config, (run_config.folder,))
        _warn(run_config, source)
    if run_config.uncertainty:
        return source, _train_head(run_config, source)
    return source, loop.train(run_config, source, lr_source=lr_source)


def _train_head(run_config, source):
    from tfmisr.inference import upscalers
    from tfmisr.training import uncertainty

    return uncertainty.train(run_config, source, upscalers.load(run_config.uncertainty))


def _require_scipy() -> None:
    """Names before the training what the scores after it need; everything else is needed by the training itself."""
    if importlib.util.find_spec("keras") is None:  # not imported yet: JAX joins its processes first
        raise ModuleNotFoundError("No module named 'keras'", name="keras")  # the base install: the extra is named
    if importlib.util.find_spec("scipy") is None:
        raise InputError("the scores of a run need scipy, which is not installed. Run: pip install scipy")


def _warn(run_config, source) -> None:
    """Prints before the training which scores it will not have."""
    from tfmisr import degradations
    from tfmisr.data import exact_images

    if "validation" not in source.splits:
        print(f"warning: {source.name} holds no validation images; the run has no val_psnr", file=sys.stderr)
    degradation = degradations.of(run_config.identity())
    for split in ("validation", "test"):
        if split in source.splits and exact_images.all_exact(source, split, run_config.scale, degradation):
            print(
                f"warning: the {split} split of {source.name} holds only images that interpolation reproduces exactly, "
                "such as blank ones; they have no PSNR",
                file=sys.stderr,
            )


def _evaluate(run_config, source, path) -> outcomes.TrainingRun | outcomes.TrainedHead:
    if run_config.uncertainty:
        return outcomes.TrainedHead(path.parent, path)
    from tfmisr import degradations
    from tfmisr.evaluation import results, scoring, verdicts
    from tfmisr.inference import upscalers

    split = next((s for s in ("test", "validation", "train") if s in source.splits), None)
    if split != "test":
        print(f"warning: {source.name} holds no test images; evaluating on the {split} split", file=sys.stderr)
    degradation = degradations.of(run_config.identity())
    models = [*scoring.interpolations(run_config.scale), upscalers.load(str(path.parent))]
    result = scoring.evaluate(
        models, source, split, run_config.scale, degradation, measures=("psnr", "ssim"), max_images=_MAX_IMAGES
    )
    for note in result.notes:
        print(f"warning: {note}", file=sys.stderr)
    metrics = results.write(result, path.parent / "evaluation")
    return outcomes.TrainingRun(path.parent, metrics, path, verdicts.verdict(result.summary, models[-1].name))


tfmisr._make_callable(__name__)


if __name__ == "__main__":
    cli.run(main)
