"""The sub-command `verify`: checks the integrity of a study."""

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the parser of the sub-command and returns it."""
    parser = subparsers.add_parser(
        "verify",
        help="check the integrity of a study",
        description="Checks audit log, orders, answers and images against their hashes and one another. Exit status 0: "
        "intact, 1: changed by other means than this program. Keep the last hash elsewhere: anyone who can write to "
        "the files can also recompute hashes.",
    )
    parser.add_argument("folder", metavar="DIR", help="folder of the study, as build wrote it")
    parser.add_argument("--head", metavar="HASH", help="an earlier last hash: check that the audit log contains it")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Runs the sub-command and returns its exit status; see `--help`."""
    from tfmisr.reader_study import verification
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.store import Store

    with Store(Study(arguments.folder)) as store:
        errors = verification.integrity_errors(store, arguments.head)
        rows, head = store.audit_head()
    for line in errors:
        print(line)
    print(f"audit log: {rows} rows, last hash {head}")
    return 1 if errors else 0
