"""What a loss declares about itself, `LOSS = Loss("mae", ...)` in a module of `tfmisr.losses`, and all of these."""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Mapping

from tfmisr import _rows
from tfmisr.edge.errors import check_name

NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


@dataclasses.dataclass(frozen=True)
class Number:
    """An option that is a number above `low`."""

    default: float
    low: float = 0.0

    def read(self, text: str) -> float:
        """Returns the value of a text, or raises a `ValueError` with what it must be."""
        value = float(text) if re.fullmatch(NUMBER, text) else math.nan
        if self.low < value < math.inf:
            return value
        raise ValueError(f"a number above {self.low:g}")


@dataclasses.dataclass(frozen=True)
class Integer:
    """An option that is a whole number from `low` to `high`."""

    default: int
    low: int
    high: int

    def read(self, text: str) -> int:
        """Returns the value of a text, or raises a `ValueError` with what it must be."""
        if re.fullmatch(r"\d{1,9}", text) and self.low <= int(text) <= self.high:
            return int(text)
        raise ValueError(f"a whole number from {self.low} to {self.high}")


@dataclasses.dataclass(frozen=True)
class Choice:
    """An option that is one of some words, the first of them by default."""

    choices: tuple[str, ...]

    @property
    def default(self) -> str:
        """The first of the words."""
        return self.choices[0]

    def read(self, text: str) -> str:
        """Returns the text, or raises a `ValueError` with what it must be."""
        if text in self.choices:
            return text
        raise ValueError(f"one of {', '.join(self.choices)}")


@dataclasses.dataclass(frozen=True)
class Text:
    """An option that is any text but an empty one, such as a path."""

    default: str = ""

    def read(self, text: str) -> str:
        """Returns the text, or raises a `ValueError` with what it must be."""
        if text:
            return text
        raise ValueError("not empty")


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss that `--loss` and `tfmisr.losses.get` know by its name. All fields but `loss` are literals; see `_rows`.

    Attributes:
        name: Name in expressions.
        loss: Class, a `keras.losses.Loss`, called with the options by name, `reduction` and `dtype`.
        options: Option to its `Number`, `Integer`, `Choice` or `Text`, with the defaults of the class.
        min_side: Pixels that the sides of an image need; where they depend on an option, its name and a dictionary
            from its values to the pixels.
        selected_by: Option that selects this row among several of the same name; empty: the one without such an option.
        order: Place in lists, small numbers first; losses of equal order are sorted by name.
    """

    name: str
    loss: Callable
    options: Mapping[str, Number | Integer | Choice | Text] = dataclasses.field(default_factory=dict)
    min_side: int | tuple[str, dict[int | str, int]] = 1
    selected_by: str = ""
    order: int = 1000

    def smallest_side(self, options: Mapping) -> int:
        """Returns the pixels that the sides of an image need with these options."""
        if isinstance(self.min_side, int):
            return self.min_side
        option, sides = self.min_side
        return sides[options[option]]


@functools.cache
def rows() -> tuple[Loss, ...]:
    """Returns all rows in order, from the text of the modules: Keras is not imported."""
    from tfmisr import losses

    return tuple(_rows.read(losses.__name__, losses.__path__, Loss, "loss", Number, Integer, Choice, Text))


def names() -> list[str]:
    """Returns the names of all losses in order."""
    return list(dict.fromkeys(row.name for row in rows()))


def find(name: str, options: Mapping) -> Loss:
    """Returns the row of a loss with these options.

    Raises:
        InputError: There is no loss of this name.
    """
    check_name("loss", name, names())
    same_name = [row for row in rows() if row.name == name]
    selected = [row for row in same_name if row.selected_by and row.selected_by in options]
    return next(iter(selected), None) or next(row for row in same_name if not row.selected_by)
