"""The language of `--loss`: weighted sums such as `charbonnier + 0.1*ms_ssim(scales=2)`. Imports no TensorFlow.

    sum    = term { "+" term }
    term   = [ number "*" ] name [ "(" option "=" value { "," option "=" value } ")" ]

A value is a number, a word, words joined by "+", or a path, in double quotes where it holds a comma or parentheses.
"""

import dataclasses
import math
import re
import warnings

from tfmisr.edge.errors import InputError, check_name
from tfmisr.losses import _loss
from tfmisr.losses._loss import NUMBER

_LONGEST = 1000
_TERM = re.compile(
    rf"\s*(?:(?P<weight>{NUMBER})\s*\*\s*)?(?P<name>[A-Za-z_]\w*)\s*"
    r'(?:\((?P<options>(?:[^()"]|"[^"]*")*)\)\s*)?(?P<end>\+|$)'
)
_OPTION = re.compile(r'\s*(?P<name>\w+)\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<plain>[^,"]*?))\s*(?P<end>,|$)')


# Value range of a network's input: factor and offset that map [0, 1] to it.
VALUE_RANGES = {"unit": (1.0, 0.0), "signed": (2.0, -1.0), "bytes": (255.0, 0.0)}


@dataclasses.dataclass(frozen=True)
class Term:
    """One loss of a sum.

    Attributes:
        weight: Its factor.
        name: One of `tfmisr.losses.names()`.
        options: Its options by name, with the defaults of those that were not given.
    """

    weight: float
    name: str
    options: dict


def parse(text: str) -> list[Term]:
    """Returns the terms of an expression.

    Raises:
        InputError: The text is no expression, or a loss, an option or a value in it does not exist.
    """
    if len(text) > _LONGEST:
        raise InputError(f"loss must have at most {_LONGEST} letters. Received: {len(text)}")
    terms, start = [], 0
    while True:
        match = _TERM.match(text, start)
        if not match:
            raise InputError(
                "loss must be a sum of losses, such as charbonnier + 0.1*ms_ssim(scales=2). "
                f"Received: {text!r}, which cannot be read from {text[start:].strip()!r} on"
            )
        terms.append(_term(match))
        if not match["end"]:
            return terms
        start = match.end()


def check(text: str, side: int) -> None:
    """Checks an expression for images of `side` x `side` high-resolution pixels.

    Raises:
        InputError: As for `parse`, or a loss needs larger images.
    """
    for term in parse(text):
        if side < (needed := smallest_side(term)):
            min_side = _loss.find(term.name, term.options).min_side
            hint = "" if isinstance(min_side, int) else f", or fewer {min_side[0]}"
            raise InputError(
                f"loss {term.name} needs patches of at least {needed} high-resolution pixels. Received: {side}; "
                f"give a larger --patch_size{hint}"
            )


def smallest_side(term: Term) -> int:
    """Returns the number of pixels that the sides of an image need for a loss."""
    return _loss.find(term.name, term.options).smallest_side(term.options)


def _term(match) -> Term:
    weight, name = match["weight"], match["name"]
    weight = 1.0 if weight is None else float(weight)
    if not 0 < weight < math.inf:
        raise InputError(f"the weight of a loss must be above 0. Received: {match['weight']}*{name}")
    check_name("loss", name, _loss.names())
    given = _options(name, match["options"] or "")
    known = _loss.find(name, given).options
    values = {option: option_type.default for option, option_type in known.items()}
    for option, text in given.items():
        if not known:
            raise InputError(f"loss {name} has no options. Received: {option}={text}")
        check_name(f"option of loss {name}", option, list(known))
        values[option] = _read(known[option], f"{option} of loss {name}", text)
    return Term(weight, name, values)


def _options(name, text) -> dict[str, str]:
    given, start = {}, 0
    while text[start:].strip():
        match = _OPTION.match(text, start)
        if not match or match["name"] in given:
            raise InputError(f"loss {name} takes options as name=value, each once. Received: {text.strip()!r}")
        given[match["name"]] = match["plain"] if match["quoted"] is None else match["quoted"]
        start = match.end()
    return given


def _read(option_type, what, text):
    try:
        return option_type.read(text)
    except ValueError as error:
        raise InputError(f"{what} must be {error}. Received: {text!r}") from None


def __getattr__(name: str):
    if name == "NAMES":
        warnings.warn(f"{__name__}.NAMES is now tfmisr.losses.names()", DeprecationWarning, stacklevel=2)
        return tuple(_loss.names())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
