"""`python -m tfmisr.card`: prints a model card in Markdown, adds what evaluations found, signs and verifies files."""

import argparse
import json
import pathlib
import shutil
import sys

from tfmisr import cli, signing
from tfmisr.edge import card, card_evidence, plane_card, shipped, uncertainty
from tfmisr.edge.card_sections import (
    applicability_section,
    cell,
    measurements_section,
    rows,
    table,
    task_section,
    uncertainty_section,
)
from tfmisr.edge.consistency import Consistency
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write

# Fields in sections of their own, or of no use to a reader.
_SECTIONS = ("slices", "training", "protocol", "scores", "calibration", "against_keras")
_TEXTS = ("intended_use", "limits", "consistency", "uncertainty", "applicability", "task", "measurements")


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
        "compared, its limits, how its results are made to agree with their input, what its half-widths promise, which "
        "images it is for, and what it is worth for detecting things. With --task or --ct_bias it writes a new file.",
    )
    show.add_argument(
        "model", metavar="MODEL", help=f"a .tflite file, or one that comes with tfmisr ({', '.join(shipped.names())})"
    )
    show.add_argument(
        "--task",
        metavar="OBSERVE.json",
        help="add the detectability that python -m tfmisr.observe found: its observe.json",
    )
    show.add_argument(
        "--ct_bias",
        metavar="METRICS.json",
        help="add the mean bias in HU that python -m tfmisr.evaluate --measures bias found on CT slices: its "
        "metrics.json. A bias above 1 HU is then stated among the limits",
    )
    show.add_argument("--output", metavar="FILE.tflite", help="for the model with the new card; its weights stay")
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
    path = _path(arguments.model)
    # What evaluations of images find is no part of the card of a through-plane network.
    is_plane = not arguments.output and path.is_file() and card.kind_of(path) == plane_card.KIND
    fields = card.read(path, plane_card.KIND if is_plane else None)
    if bool(arguments.task or arguments.ct_bias) != bool(arguments.output):
        raise InputError("expected --output together with --task or --ct_bias: the file is not changed in place")
    if arguments.output:
        fields = _write(arguments, path, fields)
    print(markdown(fields))
    return 0


def _path(name: str) -> pathlib.Path:
    return shipped.path(name) if shipped.is_name(name) else pathlib.Path(name).expanduser()


def _write(arguments: argparse.Namespace, path: pathlib.Path, fields: dict) -> dict:
    """Writes the file with what evaluations found in its card, its head beside it, and returns the card."""
    output = pathlib.Path(arguments.output).expanduser()
    if output.suffix != ".tflite" or (output.exists() and output.samefile(path)):
        raise InputError(f"--output must be another .tflite file than the model. Received: {output}")
    if output.name.endswith(uncertainty.SUFFIX):
        raise InputError(f"--output must be named as a model and no uncertainty head. Received: {output}")
    cli.check_writable(output.parent)
    names = list(dict.fromkeys([path.stem, str(fields.get("name"))]))
    if arguments.task:
        fields = card_evidence.with_task(fields, _json(arguments.task), names)
    if arguments.ct_bias:
        fields = card_evidence.with_ct_bias(fields, _json(arguments.ct_bias), names)
    cli.require_writable(output.parent)
    if (head := uncertainty.find(path)) is not None:
        with atomic_write(uncertainty.beside(output)) as temporary:
            shutil.copyfile(head, temporary)
    with atomic_write(output) as temporary:
        temporary.write_bytes(card.replace(path.read_bytes(), fields))
    return card.read(output)


def _json(name: str) -> dict:
    path = pathlib.Path(name).expanduser()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error})") from error
    return content if isinstance(content, dict) else {}


def markdown(fields: dict) -> str:
    """Returns a card, as `tfmisr.edge.card.read` returns it, in Markdown."""
    shown = card.latest(fields) | {"card_version": fields["card_version"]}
    plain = {key: value for key, value in shown.items() if key not in (*_SECTIONS, *_TEXTS, "name")}
    parts = [
        f"# {shown.get('name', 'Model')}",
        shown.get("intended_use", ""),
        table(plain),
        "" if fields.get("kind") == plane_card.KIND else f"## Agreement with the input\n\n{_consistency(fields)}",
        uncertainty_section(fields),
        applicability_section(fields),
        task_section(fields),
        measurements_section(fields),
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
        lines = [[name, *(cell(each.get(key)) for key in columns)] for name, each in value.items()]
        return rows(["", *columns], lines)
    return table(value) if isinstance(value, dict) else str(value)


if __name__ == "__main__":
    cli.run(main)
