"""`python -m tfmisr.card`: prints the model card of a `.tflite` file in Markdown, signs and verifies files."""

import argparse
import pathlib
import sys

from tfmisr import cli, signing
from tfmisr.edge import card, shipped
from tfmisr.edge.consistency import Consistency

# Fields in sections of their own, or of no use to a reader.
_SECTIONS = ("training", "protocol", "scores", "calibration", "against_keras")
_TEXTS = ("intended_use", "limits", "consistency")


def _parser():
    parser = cli.Parser(
        prog="python -m tfmisr.card",
        description="Prints model cards, signs files and verifies signatures. tfmisr.card MODEL is short for "
        "tfmisr.card show MODEL.",
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    show = subparsers.add_parser(
        "show",
        help="prints the model card of a .tflite file in Markdown",
        description="Prints the model card of a .tflite file in Markdown: what the model is, how it was trained and "
        "compared, its limits, and how its results are made to agree with their input.",
    )
    show.add_argument(
        "model", metavar="MODEL", help=f"a .tflite file, or one that comes with tfmisr ({', '.join(shipped.names())})"
    )
    show.set_defaults(run=_show)
    signing.add_parsers(subparsers)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] not in ("show", "sign", "verify", "-h", "--help"):
        argv = ["show", *argv]
    arguments = _parser().parse_args(argv)
    return arguments.run(arguments)


def _show(arguments: argparse.Namespace) -> int:
    name = arguments.model
    path = shipped.path(name) if shipped.is_name(name) else pathlib.Path(name).expanduser()
    print(markdown(card.read(path)))
    return 0


def markdown(fields: dict) -> str:
    """Returns a card, as `tfmisr.edge.card.read` returns it, in Markdown."""
    shown = card.latest(fields) | {"card_version": fields["card_version"]}
    plain = {key: value for key, value in shown.items() if key not in (*_SECTIONS, *_TEXTS, "name")}
    parts = [
        f"# {shown.get('name', 'Model')}",
        shown.get("intended_use", ""),
        _table(plain),
        f"## Agreement with the input\n\n{_consistency(fields)}",
        *(f"## {_title(key)}\n\n{_section(shown[key])}" for key in _SECTIONS if shown.get(key)),
        *(["## Limits\n\n" + "\n".join(f"- {line}" for line in shown["limits"])] if shown.get("limits") else []),
    ]
    return "\n\n".join(filter(None, parts))


def _title(key: str) -> str:
    return key.replace("_", " ").capitalize().replace("keras", "Keras")


def _consistency(fields: dict) -> str:
    if not fields["consistency"]:
        return "Results are not corrected to agree with the input."
    correction = Consistency.from_card(fields["consistency"], fields["scale"])
    return (
        f"Results are corrected until their down-sampling gives the input within the rounding: {correction}. "
        "This excludes contradictions to the input; it does not show that added detail is real."
    )


def _section(value: object) -> str:
    """Returns a field of several values; those of several models, such as scores, as one table."""
    if isinstance(value, dict) and value and all(isinstance(each, dict) for each in value.values()):
        columns = list(dict.fromkeys(key for each in value.values() for key in each))
        rows = [[name, *(_cell(each.get(key)) for key in columns)] for name, each in value.items()]
        return _rows(["", *columns], rows)
    return _table(value) if isinstance(value, dict) else str(value)


def _table(fields: dict) -> str:
    return _rows(["field", "value"], [[key, _cell(value)] for key, value in fields.items()])


def _rows(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    """Returns a value on one line, without characters that end a cell of a table."""
    if isinstance(value, float):
        value = f"{value:.6g}"
    elif isinstance(value, list):
        value = ", ".join(map(_cell, value))
    elif isinstance(value, dict):
        value = ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    text = "none" if value is None else str(value)
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    cli.run(main)
