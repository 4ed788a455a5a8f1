"""The language of `--loss`: weighted sums such as `charbonnier + 0.1*ms_ssim(scales=2)`. Imports no TensorFlow.

    sum    = term { "+" term }
    term   = [ number "*" ] name [ "(" option "=" value { "," option "=" value } ")" ]

A value is a number, a word, words joined by "+", or a path, in double quotes where it holds a comma or parentheses.
"""

import dataclasses
import math
import re

from tfmisr.edge.errors import InputError, check_name

_LONGEST = 1000
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TERM = re.compile(
    rf"\s*(?:(?P<weight>{_NUMBER})\s*\*\s*)?(?P<name>[A-Za-z_]\w*)\s*"
    r'(?:\((?P<options>(?:[^()"]|"[^"]*")*)\)\s*)?(?P<end>\+|$)'
)
_OPTION = re.compile(r'\s*(?P<name>\w+)\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<plain>[^,"]*?))\s*(?P<end>,|$)')


@dataclasses.dataclass(frozen=True)
class _Number:
    default: float
    low: float = 0.0

    def read(self, text):
        value = float(text) if re.fullmatch(_NUMBER, text) else math.nan
        if self.low < value < math.inf:
            return value
        raise ValueError(f"a number above {self.low:g}")


@dataclasses.dataclass(frozen=True)
class _Whole:
    default: int
    low: int
    high: int

    def read(self, text):
        if re.fullmatch(r"\d{1,9}", text) and self.low <= int(text) <= self.high:
            return int(text)
        raise ValueError(f"a whole number from {self.low} to {self.high}")


@dataclasses.dataclass(frozen=True)
class _Word:
    choices: tuple[str, ...]

    @property
    def default(self):
        return self.choices[0]

    def read(self, text):
        if text in self.choices:
            return text
        raise ValueError(f"one of {', '.join(self.choices)}")


@dataclasses.dataclass(frozen=True)
class _Text:
    default: str = ""

    def read(self, text):
        if text:
            return text
        raise ValueError("not empty")


# What black and white are to a network, as a factor and an offset of [0, 1].
VALUE_RANGES = {"unit": (1.0, 0.0), "signed": (2.0, -1.0), "bytes": (255.0, 0.0)}

_DISTANCE = _Word(("l1", "l2"))
# Loss to its options.
_LOSSES = {
    "mse": {},
    "mae": {},
    "charbonnier": {"epsilon": _Number(1e-3)},
    "ssim": {},
    "ms_ssim": {"scales": _Whole(3, 1, 5)},
    "gradient": {"kind": _Word(("sobel", "difference"))},
    "frequency": {"kind": _Word(("complex", "amplitude", "focal")), "alpha": _Number(1.0)},
    "total_variation": {},
    "perceptual": {
        "layers": _Text("conv5_4"),
        "activation": _Word(("before", "after")),
        "distance": _DISTANCE,
        "weights": _Text(),
    },
}
# What `perceptual` takes where it is given a network of one's own.
_NETWORK = {
    "network": _Text(),
    "layers": _Text(),
    "value_range": _Word(tuple(VALUE_RANGES)),
    "distance": _DISTANCE,
}
NAMES = tuple(_LOSSES)


@dataclasses.dataclass(frozen=True)
class Term:
    """One loss of a sum.

    Attributes:
        weight: Its factor.
        name: One of `NAMES`.
        options: Its options by name, those that were not given included.
    """

    weight: float
    name: str
    options: dict


def parse(text: str) -> list[Term]:
    """Returns the terms of an expression.

    Raises:
        InputError: It is none, or names a loss, an option or a value that there is not.
    """
    if len(text) > _LONGEST:
        raise InputError(f"loss must have at most {_LONGEST} letters. Received: {len(text)}")
    terms, start = [], 0
    while True:
        found = _TERM.match(text, start)
        if not found:
            raise InputError(
                "loss must be a sum of losses, such as charbonnier + 0.1*ms_ssim(scales=2). "
                f"Received: {text!r}, which cannot be read from {text[start:].strip()!r} on"
            )
        terms.append(_term(found))
        if not found["end"]:
            return terms
        start = found.end()


def check(text: str, side: int) -> None:
    """Checks an expression for images of `side` x `side` high-resolution pixels.

    Raises:
        InputError: As `parse` does, or a loss needs larger images.
    """
    for term in parse(text):
        if side < (needed := smallest_side(term)):
            hint = ", or fewer scales" if term.name == "ms_ssim" else ""
            raise InputError(
                f"loss {term.name} needs patches of at least {needed} high-resolution pixels. Received: {side}; "
                f"give a larger --patch_size{hint}"
            )


def smallest_side(term: Term) -> int:
    """Returns how many pixels the sides of an image must have for a loss."""
    if term.name == "ms_ssim":
        return 10 * 2 ** (term.options["scales"] - 1) + 1  # the window of 11 on the last scale
    if "network" in term.options:
        return 1  # only the network knows
    return {"ssim": 11, "gradient": 3, "total_variation": 2, "perceptual": 16}.get(term.name, 1)


def _term(found) -> Term:
    weight, name = found["weight"], found["name"]
    weight = 1.0 if weight is None else float(weight)
    if not 0 < weight < math.inf:
        raise InputError(f"the weight of a loss must be above 0. Received: {found['weight']}*{name}")
    check_name("loss", name, list(NAMES))
    given = _options(name, found["options"] or "")
    known = _NETWORK if name == "perceptual" and "network" in given else _LOSSES[name]
    values = {option: kind.default for option, kind in known.items()}
    for option, text in given.items():
        if not known:
            raise InputError(f"loss {name} has no options. Received: {option}={text}")
        check_name(f"option of loss {name}", option, list(known))
        values[option] = _read(known[option], f"{option} of loss {name}", text)
    return Term(weight, name, values)


def _options(name, text) -> dict[str, str]:
    given, start = {}, 0
    while text[start:].strip():
        found = _OPTION.match(text, start)
        if not found or found["name"] in given:
            raise InputError(f"loss {name} takes options as name=value, each once. Received: {text.strip()!r}")
        given[found["name"]] = found["plain"] if found["quoted"] is None else found["quoted"]
        start = found.end()
    return given


def _read(kind, what, text):
    try:
        return kind.read(text)
    except ValueError as error:
        raise InputError(f"{what} must be {error}. Received: {text!r}") from None
