"""python -m tfmisr.reader_study: a blinded reader study in a browser, from the study file to the ratings."""

import argparse
import importlib
import sys

from tfmisr import cli
from tfmisr.reader_study import commands


def _parser(argv) -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.reader_study",
        description="A reader study: readers judge images in a browser without knowing what made them.",
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    known = commands.names()
    # Only the one that is asked for is imported, where one is.
    for name in argv[:1] if argv[:1] and argv[0] in known else known:
        command = importlib.import_module(f"tfmisr.reader_study.commands.{name}")
        command.add_parser(subparsers).set_defaults(run=command.run)
    return parser


def main(argv=None) -> int:
    """Runs the command; see `--help`."""
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = _parser(argv).parse_args(argv)
    return arguments.run(arguments)


if __name__ == "__main__":
    cli.run(main)
