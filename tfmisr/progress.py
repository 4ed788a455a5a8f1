"""Progress bars: live in a terminal, a line every half minute in a log file."""

import sys

from tqdm import tqdm


def bar(iterable=None, **kwargs) -> tqdm:
    """Returns a `tqdm` bar; arguments as there."""
    return tqdm(iterable, mininterval=0.5 if sys.stderr.isatty() else 30, dynamic_ncols=True, **kwargs)
