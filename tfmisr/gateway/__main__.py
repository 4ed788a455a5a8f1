"""python -m tfmisr.gateway: a DICOM node that receives images, sends them on, and adds upscaled ones."""

import argparse
import contextlib
from collections.abc import Sequence

from tfmisr import cli
from tfmisr.edge.errors import InputError

_EXTRA = ("pynetdicom", "prometheus_client", "tomli", "h11")


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.gateway",
        description="A DICOM node on the device: receives images, sends them on unchanged, and adds derived images of "
        "higher resolution. What it has acknowledged is on its disk until every destination has it.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    run = _add(commands, "run", "runs the node until SIGTERM or Ctrl-C")
    check = _add(commands, "check", "checks a configuration and prints what the node would do")
    for command in (run, check):
        command.add_argument(
            "--require_signature",
            metavar="PEM",
            help="public key (Ed25519): refuse a configuration, and .tflite files it names, that its owner has not "
            "signed with python -m tfmisr.card sign",
        )
    _add(commands, "status", "prints what is in the queue")
    _add(commands, "retry", "makes everything that waits for a further attempt due now")
    _add(commands, "audit", "prints who sent what to whom, by digest")
    entries = commands.add_parser("quarantine", help="lists, releases or discards what was given up")
    actions = entries.add_subparsers(metavar="ACTION", required=True, dest="action")
    _add(actions, "list", "prints the quarantined entries")
    release = _add(actions, "release", "tries entries again")
    discard = _add(actions, "discard", "gives entries up for ever; the audit trail keeps that it was done")
    for action in (release, discard):
        action.add_argument("names", nargs="+", metavar="ID", help="first word of a line that `quarantine list` prints")
    where = release.add_mutually_exclusive_group()
    where.add_argument("--destination", metavar="NAME", help="send them to this destination instead of their own")
    where.add_argument("--present_rules", action="store_true", help="send them where the rules of CONFIG.toml now say")
    discard.add_argument("--yes", action="store_true", help="needed: what is discarded does not come back")
    discard.add_argument(
        "--including_unsent_originals", action="store_true", help="also originals that their destination does not have"
    )
    resend = _add(commands, "resend", "sends objects that the spool still has to a destination, also once more")
    resend.add_argument("uids", nargs="*", metavar="SOP_UID", help="SOP Instance UID of an object or a result")
    resend.add_argument("--series", default="", metavar="UID", help="Series Instance UID: all its objects in the spool")
    resend.add_argument("--destination", required=True, metavar="NAME", help="where to")
    resend.add_argument("--results", action="store_true", help="with the results of the objects")
    commands.add_parser("conformance", help="prints the DICOM conformance statement (PS3.2), in Markdown")
    demo = commands.add_parser("demo", help="runs a sender, a node and a receiver on this machine with phantom images")
    demo.add_argument("--images", type=int, default=20, metavar="N", help="number of images (default: 20)")
    demo.add_argument("--model", default="fast-x2", help="model that upscales them (default: fast-x2)")
    return parser


def _add(commands, name: str, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("config", metavar="CONFIG.toml", help="configuration; see docs/gateway.md")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a sub-command and returns its exit status; see `--help`.

    Args:
        argv: Arguments after the program's name; `sys.argv[1:]` by default.
    """
    arguments = _parser().parse_args(argv)
    try:
        return _run(arguments)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise InputError(f"the gateway needs {error.name}. Run: pip install 'tfmisr[gateway]'") from error


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "demo":
        from tfmisr.gateway import demonstration

        return demonstration.run(arguments.images, arguments.model)
    if arguments.command == "conformance":
        from tfmisr.gateway import conformance

        print(conformance.statement())
        return 0
    return _with_configuration(arguments)


def _with_configuration(arguments: argparse.Namespace) -> int:
    from tfmisr.gateway import checking, node, validation

    settings = validation.read(arguments.config, getattr(arguments, "require_signature", None))
    if arguments.command == "run":
        return node.run(settings)
    if arguments.command == "check":
        print("\n".join(checking.report(settings)))
        return 0
    return _on_queue(arguments, settings)


def _on_queue(arguments: argparse.Namespace, settings) -> int:
    from tfmisr.gateway import operating

    with contextlib.closing(operating.open_queue(settings)) as queue:
        if arguments.command == "status":
            print(operating.status(queue, settings))
        elif arguments.command == "audit":
            print("\n".join(operating.audit(queue)))
        elif arguments.command == "retry":
            print(f"due now: {operating.retry(queue)}")
        elif getattr(arguments, "action", "") == "list":
            print("\n".join(operating.quarantine(queue, settings)) or "nothing is quarantined")
        else:
            print(_change(arguments, queue, settings))
    return 0


def _change(arguments: argparse.Namespace, queue, settings) -> str:
    """Releases, discards or sends again, and returns what was done."""
    from tfmisr.gateway import entries, operating, rerouting

    if arguments.command == "resend":
        if not arguments.uids and not arguments.series:
            raise InputError("expected SOP Instance UIDs, or --series UID. Received: neither")
        what = arguments.uids, arguments.series, arguments.destination, arguments.results
        originals, results = rerouting.resend(queue, settings, *what)
        return f"queued for {arguments.destination}: {originals} originals, {results} results"
    if arguments.action == "discard":
        if not arguments.yes:
            raise InputError(f"add --yes to discard {' '.join(arguments.names)} for ever. Nothing was discarded")
        return f"discarded: {entries.discard(queue, settings, arguments.names, arguments.including_unsent_originals)}"
    if arguments.destination:
        return f"released: {rerouting.release(queue, settings, arguments.names, arguments.destination)}"
    if arguments.present_rules:
        return f"released: {rerouting.release_by_rules(queue, settings, arguments.names)}"
    return f"released: {operating.release(queue, arguments.names)}"


if __name__ == "__main__":
    cli.run(main)
