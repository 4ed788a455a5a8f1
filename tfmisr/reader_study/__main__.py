"""python -m tfmisr.reader_study: a blinded reader study in a browser, from the study file to the statistical report."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from tfmisr import cli
from tfmisr.reader_study import commands

# Sub-commands of the previous release, for one more, and today's names.
_RENAMED = {"analyse": "analyze"}


def _parser(argv: list[str]) -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.reader_study",
        description="A blinded reader study: readers rate images in a browser without knowing which arm made them.",
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    available = commands.names()
    # Only the requested sub-command is imported, if there is one.
    for name in argv[:1] if argv[:1] and argv[0] in available else available:
        command = importlib.import_module(f"tfmisr.reader_study.commands.{name}")
        command.add_parser(subparsers).set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a sub-command and returns its exit status; see `--help`.

    Args:
        argv: Arguments after the program's name; `sys.argv[1:]` by default.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] in _RENAMED:
        print(f"{argv[0]} is now {_RENAMED[argv[0]]}", file=sys.stderr)
        argv = [_RENAMED[argv[0]], *argv[1:]]
    arguments = _parser(argv).parse_args(argv)
    return arguments.run(arguments)


if __name__ == "__main__":
    cli.run(main)
