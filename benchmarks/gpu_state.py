"""The state of a training in few files of limited size: what a machine that keeps nothing gives back.

The state is a tar file of the working directories: configuration, history, last checkpoint and finished networks. It is
cut into parts `state-<number>-<i>of<n>`, since what comes back is limited to a few files of at most 16 MiB; the newest
complete set counts.
"""

import contextlib
import io
import pathlib
import re
import tarfile
import threading
from collections.abc import Iterator

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write

PART = 15 * 2**20
_NAME = re.compile(r"state-(\d+)-(\d+)of(\d+)")
_POLL = 1.0  # seconds


def _parts(folder: pathlib.Path) -> dict[int, list[pathlib.Path]]:
    """Returns number to parts in order, of the complete states."""
    found = {}
    for path in folder.glob("state-*"):
        if match := _NAME.fullmatch(path.name):
            number, i, count = map(int, match.groups())
            found.setdefault((number, count), {})[i] = path
    return {n: [parts[i] for i in sorted(parts)] for (n, count), parts in found.items() if len(parts) == count}


def _files(workdir: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files to keep: all but event files, evaluations and all checkpoints but the last of each run."""
    runs = [path for path in workdir.iterdir() if path.is_dir()]
    files = [path for path in workdir.iterdir() if path.is_file()]
    for run in runs:
        files += [path for path in run.iterdir() if path.is_file() and not path.name.startswith(".")]
        if not (run / "model.keras").is_file():
            files += sorted((run / "checkpoints").glob("step-*.npz"))[-1:]
    return files


def save(workdir: pathlib.Path, output: pathlib.Path, part: int = PART) -> None:
    """Writes the state of `workdir` to `output`, and deletes the earlier state when it is complete."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in sorted(_files(workdir)):
            archive.add(path, str(path.relative_to(workdir)))
    data, earlier = content.getvalue(), list(output.glob("state-*"))
    number = max(_parts(output), default=0) + 1
    count = -(-len(data) // part)
    for i in range(count):
        with atomic_write(output / f"state-{number}-{i + 1}of{count}") as temporary:
            temporary.write_bytes(data[i * part : (i + 1) * part])
    for path in earlier:
        path.unlink(missing_ok=True)


def restore(folder: pathlib.Path, workdir: pathlib.Path) -> None:
    """Unpacks the newest complete state in `folder` to `workdir`.

    Raises:
        InputError: There is none.
    """
    states = _parts(folder)
    if not states:
        raise InputError(f"expected a complete state (files state-1-1of2, state-1-2of2) in {folder}; check --resume")
    data = b"".join(path.read_bytes() for path in states[max(states)])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(workdir, filter="data")


def remove(output: pathlib.Path) -> None:
    """Deletes the state of a finished training."""
    for path in output.glob("state-*"):
        path.unlink()


@contextlib.contextmanager
def copied(workdir: pathlib.Path, output: pathlib.Path) -> Iterator[None]:
    """Saves the state beside a training, whenever a run in `workdir` has a new checkpoint, and when the block ends."""
    done = threading.Event()
    seen = set()

    def watch():
        while not done.wait(_POLL):
            there = set(workdir.glob("*/checkpoints/step-*.npz"))
            if there - seen:
                seen.update(there)
                # A file may be deleted while it is read, by the next checkpoint: the next look finds that one.
                with contextlib.suppress(FileNotFoundError):
                    save(workdir, output)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        save(workdir, output)
