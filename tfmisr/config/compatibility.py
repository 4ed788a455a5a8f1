"""Resuming runs and sweeps of earlier versions, whose files lack the fields that were added later.

Where today's default of an added field differs from what the earlier version did (`EARLIER_DEFAULTS` of
`tfmisr.config.fields`), a resumed run or sweep keeps the earlier behavior.
"""

import dataclasses
import json
import pathlib
import typing
from collections.abc import Container

from tfmisr.edge.deprecation import renamed

if typing.TYPE_CHECKING:
    from tfmisr.config.fields import Config


def with_earlier_defaults(config: "Config", given: Container[str], earlier_defaults: dict) -> "Config":
    """Returns `config` with the earlier default of each added field that the user did not set.

    Args:
        config: A run.
        given: Names of the fields that the user set.
        earlier_defaults: Added fields and what earlier versions did.
    """
    kept = {name: value for name, value in earlier_defaults.items() if name not in given}
    return dataclasses.replace(config, **kept)


def predates(path: pathlib.Path, fields: Container[str], key: str | None = None) -> bool:
    """Returns whether a JSON file exists and holds none of the added fields.

    Args:
        path: A run's `config.json` or a sweep's `sweep.json`.
        fields: Names of the added fields.
        key: Key of the object in the file that holds a run's fields; `None`: the file's top level.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return not set(fields) & set(stored[key] if key else stored)
    except (OSError, ValueError, TypeError, KeyError):
        return False  # whoever reads the file next reports what is wrong with it


__getattr__ = renamed(__name__, earlier="with_earlier_defaults", lacks="predates")
