"""The sub-command `close`: ends data collection."""

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the parser of the sub-command and returns it."""
    parser = subparsers.add_parser(
        "close",
        help="end data collection permanently",
        description="Closes a study: the server accepts no more answers, and the ratings can be exported. This cannot "
        "be undone.",
    )
    parser.add_argument("folder", metavar="DIR", help="folder of the study, as build wrote it")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Runs the sub-command and returns its exit status; see `--help`."""
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.store import Store

    with Store(Study(arguments.folder)) as store:
        store.close_study()
        for row in store.progress():
            print(f"{row['label']}\t{row['answered']} of {row['trials']}")
        print(f"closed; audit log: {store.audit_head()[0]} rows, last hash {store.audit_head()[1]}")
    return 0
