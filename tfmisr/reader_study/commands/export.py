"""The sub-command `export`: ends the blinding and writes the ratings with their arms."""

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the parser of the sub-command and returns it."""
    parser = subparsers.add_parser(
        "export",
        help="write the ratings with their arms",
        description="Writes ratings.csv, preferences.csv and study.json. It ends the blinding, so the study must be "
        "closed, and the export is recorded in the audit log.",
    )
    parser.add_argument("folder", metavar="DIR", help="folder of the study, as build wrote it")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="output folder; existing files are replaced")
    parser.add_argument("--force", action="store_true", help="export although the study is open or was changed")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Runs the sub-command and returns its exit status; see `--help`."""
    from tfmisr.reader_study import exporting
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.store import Store

    with Store(Study(arguments.folder)) as store:
        paths = exporting.export(store, arguments.output, arguments.force)
        rows, head = store.audit_head()
    print("wrote " + ", ".join(map(str, paths)))
    print(f"audit log: {rows} rows, last hash {head}")
    return 0
