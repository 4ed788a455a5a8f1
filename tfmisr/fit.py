"""python -m tfmisr.fit: one training run, judged at its end.

Without arguments it trains on the built-in phantom in a few minutes. The same command goes on where an
interrupted run stopped.
"""

import argparse
import sys

import tfmisr
from tfmisr import cli, config, presets
from tfmisr.evaluation import outcomes

_JUDGED = 200  # images of the test split at most; python -m tfmisr.evaluate judges them all


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.fit",
        description="Trains a super-resolution network and judges it beside the interpolations. "
        "Without arguments: a small network on the built-in phantom, in a few minutes.",
    )
    recipe = parser.add_mutually_exclusive_group()
    recipe.add_argument(
        "--preset", default=argparse.SUPPRESS, metavar="NAME", help="recipe: " + ", ".join(presets.names())
    )
    recipe.add_argument(
        "--config", default=argparse.SUPPRESS, metavar="FILE", help="config.json of an earlier run, to repeat it"
    )
    config.add_arguments(parser)
    return parser


def main(argv=None) -> int:
    """Runs the command; see `--help`."""
    print(run(_parser().parse_args(argv)))
    return 0


def run(arguments: argparse.Namespace) -> outcomes.TrainingRun:
    """Trains and scores what the parsed flags, or `tfmisr.options.parsed`, say."""
    chosen = config.parse(arguments)
    cli.check_writable(chosen.folder)
    from tfmisr import data, models
    from tfmisr.training import initial, loop

    loop.check_backend(chosen)
    models.module(chosen.model)  # a variant that there is not is told before the data is prepared
    if chosen.initial_weights:
        initial.digest(chosen.initial_weights)
    print(f"run: {chosen.folder}")
    begun = (chosen.folder,)
    source = data.load(chosen.dataset, chosen.data_dir, chosen.manual_dir, chosen.patient_pattern, begun)
    lr_source = None
    if chosen.lr_dataset:
        lr_source = data.load(chosen.lr_dataset, chosen.data_dir, chosen.lr_manual_dir, chosen.patient_pattern, begun)
    _warn(chosen, source)
    path = loop.train(chosen, source, lr_source=lr_source)
    return _judge(chosen, source, path)


def _warn(chosen, source) -> None:
    """Says before the training what its numbers will lack."""
    from tfmisr import degradations
    from tfmisr.data import exact_images

    if "validation" not in source.splits:
        print(f"warning: {source.name} holds no validation images; the run has no val_psnr to watch", file=sys.stderr)
    degradation = degradations.of(chosen.identity())
    for split in ("validation", "test"):
        if split in source.splits and exact_images.all_exact(source, split, chosen.scale, degradation):
            print(
                f"warning: the {split} split of {source.name} holds only images that interpolation reproduces exactly, "
                "such as blank ones; they have no PSNR",
                file=sys.stderr,
            )


def _judge(chosen, source, path) -> outcomes.TrainingRun:
    from tfmisr import degradations
    from tfmisr.evaluation import results, scoring, verdicts
    from tfmisr.inference import upscalers

    split = next((s for s in ("test", "validation", "train") if s in source.splits), None)
    if split != "test":
        print(f"warning: {source.name} holds no test images; judging on the {split} split", file=sys.stderr)
    names = [*scoring.INTERPOLATIONS, str(path.parent)]
    degradation = degradations.of(chosen.identity())
    judged = [upscalers.load(name) for name in names]
    result = scoring.evaluate(
        judged, source, split, chosen.scale, degradation, measures=("psnr", "ssim"), max_images=_JUDGED
    )
    for note in result.notes:
        print(f"warning: {note}", file=sys.stderr)
    metrics = results.write(result, path.parent / "evaluation")
    return outcomes.TrainingRun(path.parent, metrics, path, verdicts.verdict(result.summary, judged[-1].name))


tfmisr._make_callable(__name__)


if __name__ == "__main__":
    cli.run(main)
