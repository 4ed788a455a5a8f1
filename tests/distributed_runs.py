"""Trains several tiny networks one after the other, alone or as one process of two: a program for the tests.

Arguments: a JSON object with `folder`, `runs` (name to fields of `Config`), `process` (arguments of `Processes`, or
`null`), and `seconds` to wait after each step.
"""

import json
import os
import pathlib
import sys
import time

os.environ["KERAS_BACKEND"] = "jax"

from synthetic import ArraySource, smooth_images

from tfmisr import cli
from tfmisr.config import Config
from tfmisr.models.discriminators import dcgan
from tfmisr.training import callbacks, loop, processes
from tfmisr.training.process_flags import Processes


def main() -> None:
    """Trains."""
    job = json.loads(sys.argv[1])
    folder = pathlib.Path(job["folder"])
    dcgan.build.__defaults__ = (1, 4)
    counted = callbacks.StepCounter.on_train_batch_end

    def slowly(self, batch, logs=None):
        counted(self, batch, logs)
        time.sleep(job.get("seconds", 0))

    callbacks.StepCounter.on_train_batch_end = slowly
    images = {"train": smooth_images(12, 32, 0), "validation": smooth_images(4, 32, 1)}
    own = Processes(*job["process"]) if job.get("process") else Processes()
    source = ArraySource(folder / f"images-{os.getpid()}", images)
    with processes.joined(own):
        for name, fields in job["runs"].items():
            loop.train(Config(**fields, workdir=str(folder / name)), source)


if __name__ == "__main__":
    cli.run(main)
