"""Progress bars: live in a terminal, a line every half minute in a log file."""

import sys

from tqdm import tqdm


def bar(iterable=None, **kwargs) -> tqdm:
    """Returns a `tqdm` bar; arguments as there. In a log file, what is done within half a minute leaves no line."""
    live = sys.stderr.isatty()
    timing = {"mininterval": 0.5} if live else {"mininterval": 30, "delay": 30}
    return tqdm(iterable, dynamic_ncols=True, **timing, **kwargs)
