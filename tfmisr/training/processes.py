"""The processes of a distributed run: how they find each other, agree, and end together.

One process runs per host, or per group of devices of a host, all with the same command (single program, multiple
data). JAX connects them (`jax.distributed`, https://docs.jax.dev/en/latest/multi_process.html): process 0 has the
coordination service, whose heartbeats notice a lost process. Process 0 alone writes files.
"""

import atexit
import contextlib
import dataclasses
import hashlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.training import fatal_messages
from tfmisr.training.process_flags import Processes

# Reports of a connection that broke, in the errors of JAX's collectives (Gloo, NCCL) and of its coordination service.
_LOST = ("Gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "coordination service")
_LEAVE_SECONDS = 5


_current = Processes()


def count() -> int:
    """Returns the number of processes of the run; 1 outside of `joined`."""
    return _current.count


def is_writer() -> bool:
    """Returns whether this process writes the run's files: process 0 does."""
    return _current.index == 0


@contextlib.contextmanager
def joined(processes: Processes) -> Iterator[None]:
    """Connects to the other processes of a run while the block runs; does nothing for a single process.

    An exception ends the process without waiting for the others, which end in turn when they miss it.

    Args:
        processes: The processes.

    Raises:
        InputError: The backend is not JAX, or process 0 cannot be reached.
    """
    global _current
    if processes.count == 1:
        yield
        return
    import keras

    if (backend := keras.backend.backend()) != "jax":
        raise InputError(f"training in {processes.count} processes needs KERAS_BACKEND=jax. Received: {backend}")
    _connect(processes)
    _current = processes
    try:
        yield
        leave()
    except BaseException as error:
        _end_after(error)
        raise
    finally:
        _current = Processes()


def _connect(processes):
    import jax

    if processes.coordinator:
        _reach(processes)
    fatal_messages.redirect(processes.count)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # It catches SIGTERM and only takes note of it: a scheduler could not end the process.
    jax.config.update("jax_enable_preemption_service", False)
    where = {"coordinator_address": processes.coordinator, "num_processes": processes.count}
    where |= {"process_id": processes.index, "cluster_detection_method": "deactivate"}
    try:
        jax.distributed.initialize(
            **(where if processes.coordinator else {"cluster_detection_method": "slurm"}),
            # Not one device per process, as JAX does in Slurm: all that Slurm or the user leaves visible.
            local_device_ids=[],
            initialization_timeout=processes.connect_timeout,
            heartbeat_timeout_seconds=processes.heartbeat_timeout,
        )
    except RuntimeError as error:
        raise InputError(f"JAX cannot connect the processes ({error}); start each in a new Python process") from error


def _reach(processes):
    """Waits until the coordinator's port is open; the failure of JAX's own client aborts the process."""
    host, _, port = processes.coordinator.rpartition(":")
    host = host.strip("[]")
    if processes.index == 0:
        return _require_free(int(port))
    end = time.monotonic() + processes.connect_timeout
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=max(end - time.monotonic(), 0.1)):
                return None
        except OSError as error:
            if time.monotonic() + 0.2 > end:
                raise InputError(
                    f"process {processes.index} cannot reach the coordinator, process 0, at {processes.coordinator} "
                    f"within {processes.connect_timeout} s ({error}); check --coordinator, and that process 0 runs"
                ) from error
        time.sleep(0.2)


def _require_free(port):
    with contextlib.closing(socket.socket(socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise InputError(
                f"process 0 cannot listen at port {port} ({error}); choose another --coordinator"
            ) from error


def leave() -> None:
    """Waits for the other processes and disconnects; what follows is done by each process alone."""
    global _current
    if _current.count > 1:
        import jax

        jax.distributed.shutdown()
        _current = dataclasses.replace(_current, count=1)


def _end_after(error):
    """Makes the process end after an exception without JAX's shutdown, which waits minutes for the others."""
    status = {KeyboardInterrupt: 130, InputError: 2}.get(type(error), 1)
    atexit.register(_end, status)
    # JAX raises a ValueError or a JaxRuntimeError, depending on the computation.
    if status == 1 and any(word in str(error) for word in _LOST):
        fatal_messages.report_lost(_current.count)
        raise SystemExit(1) from error


def _end(status):
    if status == 2:  # usually the mistake is the same in all processes: let them say so before their connection breaks
        import jax

        thread = threading.Thread(target=jax.distributed.shutdown, daemon=True)
        thread.start()
        thread.join(_LEAVE_SECONDS)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)


def in_turn() -> contextlib.AbstractContextManager:
    """Returns a context that process 0 leaves before the others enter it: what it prepares they find."""
    return contextlib.nullcontext() if count() == 1 else _in_turn()


@contextlib.contextmanager
def _in_turn():
    if not is_writer():
        _gathered(np.zeros(1, np.uint8))
    yield
    if is_writer():
        _gathered(np.zeros(1, np.uint8))


def require_equal(values: Mapping[str, object], advice: str) -> None:
    """Checks that all processes have the same values; each must call it, with the same names.

    Args:
        values: Values by name, with a `repr` that is the same in all processes.
        advice: What to do otherwise, for the error message.

    Raises:
        InputError: A value differs; every process raises it.
    """
    if count() == 1:
        return
    names = sorted(values)
    _compare(["the names of what is compared"], [names], "start the same version of tfmisr in all processes")
    _compare(names, [values[name] for name in names], advice)


def _compare(names, values, advice):
    digests = [hashlib.sha256(repr(value).encode()).digest() for value in values]
    found = _gathered(np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1))
    process, position, _ = np.argwhere(found != found[0])[0] if (found != found[0]).any() else (0, 0, 0)
    if process:
        raise InputError(
            f"process {process} differs from process 0: {names[position]} is {values[position]!r} in process "
            f"{_current.index}; {advice}"
        )


def _gathered(array):
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array))
