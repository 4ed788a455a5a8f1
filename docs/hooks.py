"""Hooks of MkDocs: pages that are generated when the site is built.

`reference/commands/*.md` are rendered from the commands' own parsers, so that no flag is missing or out of date;
`changelog.md` and `contributing.md` are the files of the repository's root.
"""

import argparse
import contextlib
import pathlib
import re
import sys
from unittest import mock

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parent.parent
FURTHER = {"tuning.parameter_study_report": "writes the report of a parameter study again, from its table alone"}
MEANING = """
Exit status: 0 done; 1 a file or a check is over a limit, or an internal error; 2 bad usage or bad input, in one line
that names what was expected, what was received and what to do; 130 interrupted.
"""


class _Captured(Exception):
    """Carries a parser out of the command that has made it."""


def on_config(config):
    """Lists the generated pages in the navigation."""
    for section in config["nav"]:
        for entry in section.get("Reference", ()):
            if entry.get("Commands") == "reference/commands":
                pages = [{name: f"reference/commands/{_file(name)}"} for name in commands()]
                entry["Commands"] = ["reference/commands/index.md", *pages]
    return config


def on_files(files, config):
    """Adds the generated pages."""
    pages = {"changelog.md": _of_root("CHANGELOG.md"), "contributing.md": _of_root("CONTRIBUTING.md")}
    pages["reference/commands/index.md"] = _index()
    for name, text in commands().items():
        pages[f"reference/commands/{_file(name)}"] = command_page(name, text)
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_content(html, **_):
    """Lets long names of models, as `rcan/num_filters=32,num_groups=2`, break after a comma in the cells of a table."""
    return re.sub(r"(?<=<td>)[a-z0-9]+/[^<]+", lambda match: match[0].replace(",", ",<wbr>"), html)


def commands() -> dict[str, str]:
    """Returns every command with one line on what it does."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from tfmisr.__main__ import COMMANDS

    return {**COMMANDS, **FURTHER}


def parser_of(name: str) -> argparse.ArgumentParser:
    """Returns the parser of a command: it is run until it parses its arguments."""
    from tfmisr import __main__

    def capture(parser, args=None, namespace=None):
        raise _Captured(parser)

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", capture),
        mock.patch.object(sys, "argv", [name]),
        mock.patch.dict(__main__.COMMANDS, FURTHER),
    ):
        try:
            __main__.call([name])
        except _Captured as captured:
            return captured.args[0]
    raise RuntimeError(f"{name} does not parse its arguments with argparse")


def command_page(name: str, text: str) -> str:
    """Returns a command's page: its description, and a table for each group of its flags."""
    parser = parser_of(name)
    lines = [f"# tfmisr {name}", "", f"`python -m tfmisr.{name}`, or `tfmisr {name}`: {text}.", ""]
    return "\n".join([*lines, *_described(parser, 2), MEANING])


def _described(parser, level):
    lines = [_escaped(parser.description or ""), ""]
    for group in parser._action_groups:
        shown = [a for a in group._group_actions if a.help is not argparse.SUPPRESS and a.dest != "help"]
        subcommands = [a for a in shown if isinstance(a, argparse._SubParsersAction)]
        rows = [_row(parser, action) for action in shown if action not in subcommands]
        if rows:
            lines += [f"{'#' * level} {group.title.capitalize()}", ""]
            lines += [f"{_escaped(group.description)}", ""] if group.description else []
            title = "flag" if any(action.option_strings for action in shown) else "argument"
            lines += [
                '<div class="flags" markdown>',
                "",
                f"| {title} | meaning |",
                "|---|---|",
                *rows,
                "",
                "</div>",
                "",
            ]
        for action in subcommands:
            lines += _subcommands(action, level)
    return lines


def _subcommands(action, level):
    lines = []
    for name, parser in action.choices.items():
        lines += [f"{'#' * level} {name}", "", f"`{parser.prog}`", "", *_described(parser, level + 1)]
    return lines


def _row(parser, action):
    formatter = parser._get_formatter()
    explained = _escaped(formatter._expand_help(action)) if action.help else ""
    if action.option_strings:
        flags = [f"`{flag}`" for flag in action.option_strings if not _is_hidden(parser, flag)]
        values = "" if action.nargs == 0 else formatter._format_args(action, action.dest.upper())
        flags[0] = flags[0][:-1] + (f" {values}`" if values else "`")
        name = "<br>".join(flags)
    else:
        name = f"`{formatter._format_args(action, action.metavar or action.dest)}`"
    required = "**required**; " if action.option_strings and action.required else ""
    return f"| {name} | {required}{explained} |"


def _is_hidden(parser, flag):
    return parser._option_string_actions[flag].help is argparse.SUPPRESS


def _escaped(text):
    for character in "\\`*|<[":
        text = text.replace(character, "&lt;" if character == "<" else f"\\{character}")
    return " ".join(text.split())


def _index():
    rows = [f"| [`tfmisr {name}`]({_file(name)}) | {text} |" for name, text in commands().items()]
    intro = (
        "`tfmisr fit ...` is the same as `python -m tfmisr.fit ...`. `tfmisr` alone lists the commands, and `--help` "
        "of each explains its flags; these pages are generated from the same parsers. From Python the commands are "
        "functions with the same names and defaults: [Use tfmisr from Python](../../python.md)."
    )
    return "\n".join(["# Commands", "", intro, "", "| command | what it does |", "|---|---|", *rows, "", MEANING])


def _file(name):
    return f"{name.replace('.', '_')}.md"


def _of_root(name):
    """Returns a file of the root; links to files that are not on the site become their names."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = text.replace("](docs/", "](").replace("](CHANGELOG.md", "](changelog.md")
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)([^)]+)\)", _link, text)


def _link(match):
    with contextlib.suppress(OSError):
        if match[2].partition("#")[0] == "changelog.md" or (ROOT / "docs" / match[2].partition("#")[0]).is_file():
            return match[0]
    return match[1] if match[1].startswith("`") else f"`{match[1]}`"
