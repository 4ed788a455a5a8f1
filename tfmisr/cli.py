"""What every command shares: a user's mistake is one line and exit status 2, never a traceback."""

import errno
import os
import pathlib
import sys
from collections.abc import Callable

from tfmisr.edge.errors import InputError

# Modules that the extra [train] brings.
_TRAINING = {
    "tensorflow",
    "keras",
    "tensorflow_datasets",
    "etils",
    "scipy",
    "sklearn",
    "threadpoolctl",
    "matplotlib",
    "keras_tuner",
    "tensorboard",
}


def run(main: Callable[[], int | None]) -> None:
    """Runs `main` and exits: 0 done, 2 a user's mistake, 130 interrupted, 1 anything else."""
    # At 2, TensorFlow 2.17 still says three times at its import that a CUDA library is registered already.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        status = main() or 0
        sys.stdout.flush()
    except BrokenPipeError as error:
        status = _unheard(error)
    except KeyboardInterrupt:
        status = _say("interrupted; start the same command again, a run or a folder goes on where it stopped", 130)
    except InputError as error:
        status = _say(error, 2)
    except ModuleNotFoundError as error:
        status = _missing(error)
    except OSError as error:
        status = _operating_system(error)
    sys.exit(status)


def _unheard(error: BrokenPipeError) -> int:
    """Ends quietly where whoever read the output, such as `head`, has enough of it."""
    try:
        print(flush=True)  # is it the output, or a pipe of the command's own?
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13  # as if SIGPIPE had ended it
    raise error


def _say(message, status: int) -> int:
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    return status


def _missing(error: ModuleNotFoundError) -> int:
    name = (error.name or "").partition(".")[0]
    if name == "tensorflow_io":
        return _say(
            "this command needs tensorflow-io, which goes with TensorFlow 2.16 and 2.17 alone. "
            "Run, in an environment of its own: pip install 'tfmisr[train,tfio]'",
            2,
        )
    if name not in _TRAINING:
        raise error
    return _say(
        f"this command needs TensorFlow and more ({name} is missing), which the base install leaves out. "
        "Run: pip install 'tfmisr[train]'",
        2,
    )


def _operating_system(error: OSError) -> int:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _say(f"no space left on the disk{where}; free some, then start the command again", 2)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _say(f"not permitted{where}: {error.strerror}; choose a folder you can write", 2)
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG):
        return _say(f"expected another path{where}: {error.strerror}", 2)
    raise error


def require_writable(folder) -> None:
    """Makes the folder where it is not there yet.

    Raises:
        InputError: It cannot be made, or cannot be written.
    """
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise InputError(f"expected a folder to write at {folder}: {error.strerror}; choose another") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"expected a folder to write at {folder}, which is read-only; choose another")


def check_writable(folder) -> None:
    """Checks before long work that a folder could be made and written; makes nothing.

    Raises:
        InputError: It could not.
    """
    there = pathlib.Path(folder).absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "is read-only" if there.is_dir() else "is no folder"
        raise InputError(f"expected a folder to write at {folder}, but {there} {why}; choose another")
