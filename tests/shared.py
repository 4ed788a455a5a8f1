"""What is made once for all tests, and for all processes that run them."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable


def once(tmp_path_factory, name: str, make: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Returns the folder `name`, filled by `make(folder)` in whichever process asks first; others wait for it.

    Args:
        tmp_path_factory: pytest's fixture; its folder, or with pytest-xdist that of all processes, holds the folder.
        name: Name of the folder, one for each thing that is made.
        make: Fills the empty folder that it is given.
    """
    import fcntl

    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / name, base / f"{name}.done"
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def prepare_phantoms(folder: pathlib.Path) -> None:
    """Prepares the built-in dataset, in half a minute."""
    command = [sys.executable, "-m", "tfmisr.prepare", "chest_phantom", "--data_dir", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
