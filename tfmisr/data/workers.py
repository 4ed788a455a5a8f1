"""Worker processes that make the training batches of a run, in the order of the steps.

Each worker maps the pixel cache and writes the pixels of batches, in the type that they are stored in, into shared
memory; this process converts them to float32. Worker `i` of `n` makes every n-th batch. Batches are pure functions of
(seed, step), so they are those of one process, bit for bit. The queue is bounded: no worker is more than `_AHEAD`
batches ahead.

Workers are plain interpreters that import this package's NumPy part, not children of `multiprocessing`: those import
the caller's main module, which may import TensorFlow or lack the guard that starting processes needs. They end when
their standard input is closed, and so with this process, however it ends.
"""

import itertools
import math
import mmap
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
import typing
from collections.abc import Iterator, Sequence

import numpy as np

from tfmisr.data.pixel_cache import as_float
from tfmisr.edge.errors import InputError

_AHEAD = 2  # batches of each worker: one that is made while the other waits to be taken
_REQUEST = struct.Struct("<qq")  # step and slot
_DONE, _FAILED = b".", b"!"
_COMMAND = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from tfmisr.data import workers; workers.serve()"
)


class Sampler(typing.Protocol):
    """What makes batches: `tfmisr.data.pipeline.PatchSampler` and the like; it is pickled."""

    def pixels(self, step: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Returns the parts of one batch; see `tfmisr.data.pipeline.PatchSampler.pixels`."""


class WorkerBatches(Iterator):
    """Iterates over the batches of the steps `start` to `stop`, made by `count` processes.

    Args:
        sampler: Makes the batches.
        start: The first step.
        stop: The step after the last one, or `None`.
        count: Number of processes.

    Attributes:
        error: What ended the iteration before its last step, or `None`.

    Raises:
        InputError: A worker failed or was killed, while iterating; or the system has no such shared memory.
    """

    def __init__(self, sampler: Sampler, start: int, stop: int | None, count: int):
        if os.name != "posix":
            raise InputError("--data_workers needs Linux or macOS. Received: another system; use --data_workers 0")
        self.error: InputError | None = None
        self._processes: list[subprocess.Popen] = []
        self._closed = False
        self._step, self._stop = start, stop
        layout = [(array.shape, array.dtype) for part in sampler.pixels(start) for array in part]
        self._requests = itertools.count(start) if stop is None else iter(range(start, stop))
        with tempfile.TemporaryFile() if not hasattr(os, "memfd_create") else _memory_file() as file:
            file.truncate(count * _AHEAD * sum(map(_size, layout)))
            self._slots = _slots(file.fileno(), layout)
            self._start(sampler, layout, file.fileno(), count)
        # Slot k belongs to worker k % count.
        for slot in range(len(self._slots)):
            self._request(slot)
        self._order = itertools.cycle(range(len(self._slots)))

    def _start(self, sampler, layout, descriptor, count):
        content = pickle.dumps([*map(os.path.abspath, sys.path)]) + pickle.dumps((descriptor, layout, sampler))
        try:
            for _ in range(count):
                # A session of its own: Ctrl-C goes to this process alone.
                process = subprocess.Popen(
                    [sys.executable, "-c", _COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                    pass_fds=[descriptor], start_new_session=True,
                )  # fmt: skip
                self._processes.append(process)
            for process in self._processes:
                _write(process, content)
        except BaseException:
            self.close()
            raise

    def __next__(self) -> tuple[np.ndarray, ...]:
        if self._closed or (self._stop is not None and self._step >= self._stop):
            self.close()
            raise StopIteration
        slot = next(self._order)
        self._wait(slot % len(self._processes))
        arrays = self._slots[slot]
        batch = tuple(_converted(*part) for part in zip(arrays[::2], arrays[1::2], strict=True))
        self._step += 1
        self._request(slot)
        return batch

    def _request(self, slot):
        step = next(self._requests, None)
        if step is not None:
            _write(self._processes[slot % len(self._processes)], _REQUEST.pack(step, slot))

    def _wait(self, index):
        """Waits until a worker has made its next batch."""
        process = self._processes[index]
        answer = process.stdout.read(1)
        if answer == _DONE:
            return
        if self._closed:
            raise StopIteration
        text = _failure(process, process.stdout.read() if answer == _FAILED else b"")
        self.close()
        self.error = InputError(f"data worker {index + 1} of {len(self._processes)} {text}, at step {self._step}")
        raise self.error

    def close(self) -> None:
        """Ends the processes."""
        self._closed = True
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                pipe.close()


def _converted(pixels, max_vals):
    """Returns the pixels as float32 in memory of their own: the worker writes its next batch where they were."""
    converted = as_float(pixels, max_vals)
    return converted.copy() if converted is pixels else converted


def _memory_file():
    return open(os.memfd_create("tfmisr-batches"), "r+b", buffering=0)


def _size(part: tuple[tuple, np.dtype]) -> int:
    """Returns the bytes of an array of this shape and type, rounded up to those of a cache line."""
    shape, dtype = part
    return -(-math.prod(shape) * dtype.itemsize // 64) * 64


def _slots(descriptor: int, layout: Sequence[tuple[tuple, np.dtype]]) -> list[list[np.ndarray]]:
    """Returns the arrays of each slot in the shared memory."""
    memory, offset, slots = mmap.mmap(descriptor, 0), 0, []
    while offset < len(memory):
        slots.append([])
        for shape, dtype in layout:
            flat = np.frombuffer(memory, dtype, math.prod(shape), offset)
            slots[-1].append(flat.reshape(shape))
            offset += _size((shape, dtype))
    return slots


def _write(process, content: bytes) -> None:
    try:
        while content:
            content = content[process.stdin.write(content) :]
    except BrokenPipeError:
        pass  # its next answer, which is missing, says why


def _failure(process, message: bytes) -> str:
    """Returns why a worker gave no batch."""
    if message:
        return f"failed: {message.decode()}"
    status = process.wait()
    if status >= 0:
        return f"ended with exit status {status}; its error is printed above"
    by = f"was killed by {signal.Signals(-status).name}"
    memory = ", as the system does where memory runs out: try fewer --data_workers" if status == -signal.SIGKILL else ""
    return f"{by}{memory}; the same command resumes the run"


def serve() -> None:
    """Makes the batches that standard input asks for, until it is closed; runs in a worker."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", 0)
    os.dup2(2, 1)  # whatever else is printed is no answer
    try:
        descriptor, layout, sampler = pickle.load(requests)
        slots = _slots(descriptor, layout)
        while request := requests.read(_REQUEST.size):
            step, slot = _REQUEST.unpack(request)
            arrays = (array for part in sampler.pixels(step) for array in part)
            for target, array in zip(slots[slot], arrays, strict=True):
                target[...] = array
            answers.write(_DONE)
    except BrokenPipeError:
        pass
    except Exception as error:  # noqa: BLE001  reported by the process that reads the answer
        traceback.print_exc()
        answers.write(_FAILED + f"{type(error).__name__}: {error}".encode())
