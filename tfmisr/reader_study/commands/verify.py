"""The sub-command `verify`: is everything as it was written?"""


def add_parser(subparsers):
    """Adds the sub-command's parser and returns it."""
    parser = subparsers.add_parser(
        "verify",
        help="find what was changed by other means",
        description="Checks audit log, orders, answers and images against their hashes and one another. Exit status 0: "
        "all as it was written, 1: something was changed. Note the last hash elsewhere: who can write the files can "
        "also compute hashes.",
    )
    parser.add_argument("folder", metavar="DIR", help="the study, as build has written it")
    parser.add_argument("--head", metavar="HASH", help="a last hash that was noted earlier: is it still in the log?")
    return parser


def run(arguments) -> int:
    """Runs the sub-command; see `--help`."""
    from tfmisr.reader_study import verification
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.store import Store

    with Store(Study(arguments.folder)) as store:
        found = verification.broken(store, arguments.head)
        rows, head = store.audit_head()
    for line in found:
        print(line)
    print(f"audit log: {rows} rows, last hash {head}")
    return 1 if found else 0
