"""Runs one function on many inputs, in the processes of this machine or on a Dask cluster of many machines.

    with cluster.connect("tcp://scheduler:8786", cluster.Options(memory_limit=2**31)) as client:
        for outcome in cluster.run(client, "tfmisr.inference.cluster_jobs:upscale", jobs, retries=2, timeout=300):
            ...

Dask distributed (Rocklin, SciPy 2015, https://distributed.dask.org) places the work and repeats that of lost workers.
Each worker thread hands its input to a process of its own (`tfmisr.cluster.isolation`): an input that crashes, hangs or
exhausts the memory ends that process and not the worker, so that the failure belongs to exactly one input and no other
has to be repeated. An address of "" runs the same on this machine without Dask.

Nothing here is imported before it is used, and Dask only for an address.
"""

from tfmisr import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    connection=("Options", "connect"),
    flags=("add_flags", "options"),
    runner=("Job", "Outcome", "run"),
)
