"""The sub-command `readers`: who reads, and their personal links."""

from tfmisr.edge.errors import InputError
from tfmisr.reader_study.commands.serve import PORT


def add_parser(subparsers):
    """Adds the sub-command's parser and returns it."""
    parser = subparsers.add_parser(
        "readers",
        help="add readers, list them, give out links",
        description="Without options: lists the readers. A link is shown once, when it is made: only a hash of it is "
        "kept. Whoever has it can read in that reader's name.",
    )
    parser.add_argument("folder", metavar="DIR", help="the study, as build has written it")
    parser.add_argument("--add", nargs="+", default=[], metavar="NAME", help="add readers and show their links")
    parser.add_argument("--reissue", nargs="+", default=[], metavar="NAME", help="new links; the old ones end")
    parser.add_argument("--admin", action="store_true", help="new link to the page of progress; the old one ends")
    parser.add_argument(
        "--url",
        default=f"http://127.0.0.1:{PORT}",
        help=f"where readers reach the server (default: http://127.0.0.1:{PORT})",
    )
    return parser


def run(arguments) -> int:
    """Runs the sub-command; see `--help`."""
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.store import Store

    url = arguments.url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise InputError(f"--url must begin with http:// or https://. Received: {arguments.url}")
    with Store(Study(arguments.folder)) as store:
        for name in arguments.add:
            print(f"{name}\t{url}/#{store.add_reader(name)}")
        for name in arguments.reissue:
            print(f"{name}\t{url}/#{store.reissue(name)}")
        if arguments.admin:
            print(f"progress\t{url}/admin#{store.new_admin()}")
        if not (arguments.add or arguments.reissue or arguments.admin):
            for row in store.progress():
                print(f"{row['label']}\t{row['answered']} of {row['trials']}\t{row['last_at'] or 'not begun'}")
    return 0
