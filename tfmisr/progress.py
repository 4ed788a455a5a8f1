"""Progress bars: live in a terminal, a line every half minute in a log file."""

import sys
import typing
from collections.abc import Iterable

from tqdm import tqdm


def bar(iterable: Iterable | None = None, **kwargs: typing.Any) -> tqdm:
    """Returns a `tqdm` bar, with the arguments of `tqdm.tqdm`; in a log file, it is silent for half a minute."""
    live = sys.stderr.isatty()
    timing = {"mininterval": 0.5} if live else {"mininterval": 30, "delay": 30}
    return tqdm(iterable, dynamic_ncols=True, **timing, **kwargs)
