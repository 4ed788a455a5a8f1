"""The sub-command `close`: no more answers."""


def add_parser(subparsers):
    """Adds the sub-command's parser and returns it."""
    parser = subparsers.add_parser(
        "close",
        help="end the reading for good",
        description="Closes a study: no answer is taken any more, and it can be exported. There is no way back.",
    )
    parser.add_argument("folder", metavar="DIR", help="the study, as build has written it")
    return parser


def run(arguments) -> int:
    """Runs the sub-command; see `--help`."""
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.store import Store

    with Store(Study(arguments.folder)) as store:
        store.close_study()
        for row in store.progress():
            print(f"{row['label']}\t{row['answered']} of {row['trials']}")
        print(f"closed; audit log: {store.audit_head()[0]} rows, last hash {store.audit_head()[1]}")
    return 0
