"""The flags and environment variables from which a process learns of the other processes of a distributed run.

Slurm sets the variables of a step in each task (https://slurm.schedmd.com/srun.html); an indexed job of Kubernetes
sets `JOB_COMPLETION_INDEX` in each pod (https://kubernetes.io/docs/concepts/workloads/controllers/job).
"""

import argparse
import dataclasses
from collections.abc import Mapping

from tfmisr.edge.errors import InputError

# A step started by srun has all of these, a batch script or an interactive shell has not.
_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
_FLAGS = ("coordinator", "num_processes", "process_index")


@dataclasses.dataclass(frozen=True)
class Processes:
    """The processes of a run, and which one this is.

    Attributes:
        coordinator: Address HOST:PORT of process 0; `None`: from Slurm's variables.
        count: Number of processes.
        index: This process, from 0.
        heartbeat_timeout: Seconds without a sign of life after which a process counts as lost.
        connect_timeout: Seconds to wait for the other processes at the start.
    """

    coordinator: str | None = None
    count: int = 1
    index: int = 0
    heartbeat_timeout: int = 60
    connect_timeout: int = 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a distributed run to a parser; they are no part of a run's configuration."""
    group = parser.add_argument_group(
        "training on several hosts",
        "with --distribute data_parallel and KERAS_BACKEND=jax; the same command in each process. In a Slurm step "
        "(srun) all are found in Slurm's variables.",
    )
    defaults, number = Processes(), {"type": int, "metavar": "N", "default": argparse.SUPPRESS}
    text = "address of process 0, with a free port"
    group.add_argument("--coordinator", metavar="HOST:PORT", default=argparse.SUPPRESS, help=text)
    group.add_argument("--num_processes", **number, help="number of processes")
    text = "this process, from 0 (default: JOB_COMPLETION_INDEX of an indexed job of Kubernetes)"
    group.add_argument("--process_index", **number, help=text)
    text = "seconds without a sign of life after which a process counts as lost"
    text += f" (default: {defaults.heartbeat_timeout})"
    group.add_argument("--heartbeat_timeout", **number, help=text)
    text = f"seconds to wait at the start until all processes are there (default: {defaults.connect_timeout})"
    group.add_argument("--connect_timeout", **number, help=text)


def take(arguments: argparse.Namespace) -> dict:
    """Removes the flags of a distributed run from a namespace, which then holds those of `tfmisr.config`; returns them.

    Args:
        arguments: The parsed flags.
    """
    names = [*_FLAGS, "heartbeat_timeout", "connect_timeout"]
    return {name: vars(arguments).pop(name) for name in names if name in arguments}


def processes(given: dict, distribute: str, environment: Mapping[str, str]) -> Processes:
    """Returns the processes that the flags or the environment name.

    Args:
        given: What `take` returns.
        distribute: The run's `distribute`; Slurm's variables are read for `data_parallel` alone.
        environment: The environment variables.

    Raises:
        InputError: A flag is missing, out of range, or needs `--distribute data_parallel`.
    """
    seconds = {name: given[name] for name in ("heartbeat_timeout", "connect_timeout") if name in given}
    for name, value in seconds.items():
        if value < 1:
            raise InputError(f"{name} must be at least 1. Received: {value}")
    named = {name: given.get(name) for name in _FLAGS}
    first = next((name for name in _FLAGS if named[name] is not None), None)
    if first is None:
        return _of_slurm(environment, seconds) if distribute == "data_parallel" else Processes(**seconds)
    if distribute != "data_parallel":
        raise InputError(f"--{first} needs --distribute data_parallel. Received: {distribute}")
    if named["process_index"] is None and environment.get("JOB_COMPLETION_INDEX", "").isdigit():
        named["process_index"] = int(environment["JOB_COMPLETION_INDEX"])
    if missing := [name for name in _FLAGS if named[name] is None]:
        raise InputError(f"--{first} needs --{missing[0]}: give --coordinator, --num_processes and --process_index")
    return _checked(*named.values(), seconds)


def _of_slurm(environment, seconds):
    if not all(name in environment for name in _SLURM):
        return Processes(**seconds)
    return Processes(None, int(environment["SLURM_NTASKS"]), int(environment["SLURM_PROCID"]), **seconds)


def _checked(coordinator, count, index, seconds):
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f"coordinator must be HOST:PORT, such as node1:29500. Received: {coordinator}")
    if count < 1:
        raise InputError(f"num_processes must be at least 1. Received: {count}")
    if not 0 <= index < count:
        raise InputError(f"process_index must be from 0 to {count - 1}, below num_processes. Received: {index}")
    return Processes(coordinator, count, index, **seconds)
