"""Upscales many files in one or several processes; an error in one does not stop the others."""

import concurrent.futures
import concurrent.futures.process
import contextlib
import errno
import multiprocessing
import signal
import typing
from collections.abc import Iterator

from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import DISK_FULL, remove_orphaned_temporaries
from tfmisr.inference.examination import OUT_OF_SCOPE, OutOfScope
from tfmisr.inference.upscaled import Upscaled

if typing.TYPE_CHECKING:
    from tfmisr.inference.batch import BatchUpscaler

# Errors of the file system: the next image would fail as well.
_FATAL = (*DISK_FULL, errno.EROFS)


def upscale_all(upscaler: "BatchUpscaler", jobs: list[tuple], processes: int = 1) -> Iterator[tuple]:
    """Upscales all files; an error in one does not stop the others.

    Args:
        upscaler: Upscaler of the batch.
        jobs: Tuples of input file, output file and, where the file has none of its own, the intensity scale of its
            series, and a file for its half-widths.
        processes: Number of processes; each loads the network.

    Yields:
        Tuples (input file, `Upscaled`, error message or `None`) in order of completion.

    Raises:
        InputError: A process died.
        OSError: The disk is full or read-only.
    """
    if processes == 1:
        yield from (_attempt(upscaler, *job) for job in jobs)
        return
    # TensorFlow does not survive a fork.
    context = multiprocessing.get_context("spawn")
    existing, completed = set(multiprocessing.active_children()), False
    with concurrent.futures.ProcessPoolExecutor(processes, context, _ignore_interrupts) as pool:
        with _interrupts_blocked():
            futures = [pool.submit(_attempt, upscaler, *job) for job in jobs]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
            completed = True
        except concurrent.futures.process.BrokenProcessPool as error:
            raise InputError(
                "a process died unexpectedly, perhaps for lack of memory; run the same command again, "
                "with fewer --processes"
            ) from error
        finally:
            if not completed:  # pending futures fail with the processes; canceling them would break the executor
                _kill(set(multiprocessing.active_children()) - existing, {target.parent for _, target, *_ in jobs})


def _ignore_interrupts():
    """Ignores Ctrl-C, which a terminal sends to every process: the parent process ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cli.prepare_output()


@contextlib.contextmanager
def _interrupts_blocked():
    """Delays Ctrl-C for this process and for those it starts meanwhile, on systems with signal masks."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _kill(processes, folders):
    """Kills processes in the middle of an image, which may take minutes, and removes their temporary files."""
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
    remove_orphaned_temporaries(*folders)


def _attempt(upscaler, source, target, *rest):
    try:
        return source, upscaler(source, target, *rest), None
    except OutOfScope as error:
        return source, Upscaled("", OUT_OF_SCOPE), str(error)
    except InputError as error:
        return source, Upscaled(""), str(error) if str(source) in str(error) else f"{source}: {error}"
    except MemoryError:
        return source, Upscaled(""), f"{source}: not enough memory"
    except OSError as error:
        if error.errno in _FATAL:
            raise
        return source, Upscaled(""), f"{source}: {error.strerror or type(error).__name__}"
