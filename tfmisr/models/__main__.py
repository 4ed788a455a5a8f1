"""python -m tfmisr.models: lists the models of the zoo, and counts their weights and multiply-adds."""

import argparse
import ast
import pathlib
import re

from tfmisr import cli, models
from tfmisr.edge.errors import InputError, check_name

SIDE = 960  # of the output image that costs are counted for, in pixels; a multiple of every scale


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.models",
        description="Lists the zoo: each network's name, its variants with the default first, and its paper's year. "
        "With --scale it builds them and counts weights and multiply-adds.",
    )
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="of models, or with --scale model/variant (default: all)"
    )
    parser.add_argument("--scale", type=int, metavar="S", help="count weights and multiply-adds at this scale")
    parser.add_argument("--channels", type=int, metavar="N", help="with --scale: 1 or 3 (default: 1)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    names = arguments.names or models.names()
    for name in names:
        models.check(name)
    if arguments.scale is None:
        if arguments.channels is not None:
            raise InputError(f"--channels needs --scale. Received: --channels {arguments.channels}")
        print(aligned([("model", "variants", "year", ""), *(summary(name) for name in names)]))
        return 0
    models.check_scale(arguments.scale)
    header = ("model", "weights", "multiply-adds of an output megapixel")
    print(aligned([header, *(counted(name, arguments.scale, arguments.channels or 1) for name in names)], ">"))
    return 0


def summary(name: str) -> tuple[str, str, str, str]:
    """Returns name, variants, the paper's year and the first docstring line of a model, without importing it."""
    name, variant, _ = models.parse_model_spec(name)
    tree = ast.parse((pathlib.Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
    text = ast.get_docstring(tree)
    variants = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "VARIANTS" for target in node.targets)
    )
    variants = [key.value for key in variants.keys]
    if variant:
        check_name(f"variant of {name}", variant, variants)
    # Neither part of a longer number nor of a URL.
    year = re.search(r"(?<![\d/.])(?:19|20)\d\d(?!\d|\.\d)", text)
    first = text.splitlines()[0]
    return name, ", ".join(variants), year[0] if year else "-", first


def counted(name: str, scale: int, channels: int) -> tuple[str, str, str]:
    """Returns a network's name, its weights and its multiply-adds for a million pixels of output.

    Weights are those in inference, where wide linear blocks have been collapsed.
    """
    from tfmisr.layers.collapsible import collapsed
    from tfmisr.models._cost import multiply_adds

    network = collapsed(models.create(name, scale, channels))
    count = multiply_adds(network, SIDE // scale, SIDE // scale) * 1e6 / SIDE**2
    return name, f"{network.count_params():,}", f"{count / 1e9:,.2f} G"


def aligned(rows: list[tuple[str, ...]], side: str = "<") -> str:
    """Returns the rows as lines of aligned columns, the first one to the left, the others by `side`, `<` or `>`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [f"{cell:{side}{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
