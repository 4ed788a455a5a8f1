"""The fields of a training run: defaults, checks, files and flags."""

from tfmisr.config.fields import (
    ADVERSARIAL_LOSSES,
    WITHOUT,
    Config,
    add_arguments,
    from_dict,
    parse,
    preset,
    read,
)

__all__ = [
    "ADVERSARIAL_LOSSES",
    "Config",
    "WITHOUT",
    "add_arguments",
    "from_dict",
    "parse",
    "preset",
    "read",
]
