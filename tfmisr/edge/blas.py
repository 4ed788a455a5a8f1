"""Threads of NumPy's matrix products."""

import contextlib
import functools
import typing

if typing.TYPE_CHECKING:
    import threadpoolctl


@functools.cache
def _libraries() -> "threadpoolctl.ThreadpoolController":
    import threadpoolctl

    return threadpoolctl.ThreadpoolController().select(user_api="blas")


def single_threaded() -> contextlib.AbstractContextManager:
    """Returns a context in which matrix products take one thread of this process.

    They are small here, and more threads do not make them faster; but the threads of several processes wait for each
    other: two processes took 2.4 times as long.
    """
    return typing.cast(contextlib.AbstractContextManager, _libraries().limit(limits=1))
