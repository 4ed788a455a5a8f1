"""What an earlier version began: the same command goes on with it as it began.

Its files lack the fields that came later. Where today's default of such a field is another than what was done then
(`tfmisr.config.WITHOUT`), the run or sweep keeps what was done then.
"""

import dataclasses
import json
import pathlib


def earlier(config, given, without: dict):
    """Returns the configuration as earlier versions had it: fields that came later and were not given as then."""
    return dataclasses.replace(config, **{name: value for name, value in without.items() if name not in given})


def lacks(path: pathlib.Path, without: dict, inside: str | None = None) -> bool:
    """Returns whether a JSON file is there and holds none of the fields that came later.

    Args:
        path: A run's `config.json` or a sweep's `sweep.json`.
        without: The fields.
        inside: Key of the object that holds the fields; `None`: the file's own.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return not set(without) & set(found[inside] if inside else found)
    except (OSError, ValueError, TypeError, KeyError):
        return False  # whoever reads it next names what is wrong with it
