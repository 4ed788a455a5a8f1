"""The sub-command `readers`: adds readers and makes their personal links."""

import argparse
import sys

from tfmisr.edge.errors import InputError
from tfmisr.reader_study.commands.serve import PORT

_DEFAULT_URL = f"http://127.0.0.1:{PORT}"  # of `serve` without options


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the parser of the sub-command and returns it."""
    parser = subparsers.add_parser(
        "readers",
        help="add readers, list them, make links",
        description="Without options, lists the readers. A link is printed once, when it is made: the database stores "
        "only its hash. Anyone who has a link can read as that reader.",
    )
    parser.add_argument("folder", metavar="DIR", help="folder of the study, as build wrote it")
    parser.add_argument("--add", nargs="+", default=[], metavar="NAME", help="add readers and print their links")
    parser.add_argument("--reissue", nargs="+", default=[], metavar="NAME", help="make new links, invalidate the old")
    parser.add_argument(
        "--admin",
        action="store_true",
        help="make a new link to the study coordinator's admin page, invalidate the old",
    )
    parser.add_argument(
        "--url", help=f"where readers reach the server (default: as `serve` printed it last, else {_DEFAULT_URL})"
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Runs the sub-command and returns its exit status; see `--help`."""
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.store import Store

    if arguments.url is not None and not arguments.url.startswith(("http://", "https://")):
        raise InputError(f"--url must begin with http:// or https://. Received: {arguments.url}")
    with Store(Study(arguments.folder)) as store:
        known = arguments.url or store.url()
        url = (known or _DEFAULT_URL).rstrip("/")
        if not known and (arguments.add or arguments.reissue or arguments.admin):
            print(f"not served yet: links for {url}; another address: --url, or run serve first", file=sys.stderr)
        for name in arguments.add:
            print(f"{name}\t{url}/#{store.add_reader(name)}")
        for name in arguments.reissue:
            print(f"{name}\t{url}/#{store.reissue(name)}")
        if arguments.admin:
            print(f"progress\t{url}/admin#{store.new_admin()}")
        if not (arguments.add or arguments.reissue or arguments.admin):
            for row in store.progress():
                print(f"{row['label']}\t{row['answered']} of {row['trials']}\t{row['last_at'] or 'not started'}")
    return 0
