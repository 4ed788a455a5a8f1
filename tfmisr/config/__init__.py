"""The configuration of a training run: fields, defaults, checks, JSON files, presets and flags."""

from tfmisr.config.command_line import add_arguments, from_dict, parse, preset, read
from tfmisr.config.fields import ADVERSARIAL_LOSSES, EARLIER_DEFAULTS, Config
from tfmisr.edge.deprecation import renamed

__all__ = [
    "ADVERSARIAL_LOSSES",
    "EARLIER_DEFAULTS",
    "Config",
    "add_arguments",
    "from_dict",
    "parse",
    "preset",
    "read",
]

__getattr__ = renamed(__name__, WITHOUT="EARLIER_DEFAULTS")
