"""The sub-command `export`: the ratings with their arms."""


def add_parser(subparsers):
    """Adds the sub-command's parser and returns it."""
    parser = subparsers.add_parser(
        "export",
        help="write the ratings with their arms",
        description="Writes ratings.csv, preferences.csv and study.json. It ends the blinding, so the study must be "
        "closed, and the audit log says that it was done.",
    )
    parser.add_argument("folder", metavar="DIR", help="the study, as build has written it")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where to write; files there are replaced")
    parser.add_argument("--force", action="store_true", help="also while the study is open or was changed")
    return parser


def run(arguments) -> int:
    """Runs the sub-command; see `--help`."""
    from tfmisr.reader_study import exporting
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.store import Store

    with Store(Study(arguments.folder)) as store:
        written = exporting.export(store, arguments.output, arguments.force)
        rows, head = store.audit_head()
    print("wrote " + ", ".join(map(str, written)))
    print(f"audit log: {rows} rows, last hash {head}")
    return 0
