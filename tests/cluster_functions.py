"""What the tests of `tfmisr.cluster` run in isolated processes."""

import os
import pathlib
import signal
import time

from tfmisr.edge.errors import InputError
from tfmisr.inference import cluster_jobs


def attempt(job: dict):
    """Notes the attempt as a file, then does what the job says."""
    if folder := job.get("folder"):
        (pathlib.Path(folder) / f"{job['name']}-{time.time_ns()}-{os.getpid()}").touch()
    match job.get("do"):
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "hang":
            time.sleep(60)
        case "refuse":
            raise InputError("expected something else")
        case "bug":
            raise KeyError("Doe^John")
        case "memory":
            held = bytearray(4 * 10**8)
            held[::4096] = b"x" * len(held[::4096])
            time.sleep(5)
    time.sleep(job.get("seconds", 0))
    return [job["name"], job.get("number")]


def upscale(job: dict) -> dict:
    """Upscales an image, but ends its process at a poison."""
    if "poison" in job["source"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return cluster_jobs.upscale(job)
