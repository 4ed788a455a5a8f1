"""What every command shares: a user's mistake is one line and exit status 2, never a traceback."""

import argparse
import atexit
import contextlib
import errno
import importlib.machinery
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator

from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.files import DISK_FULL, printable
from tfmisr.edge.stderr_filter import filter_stderr

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

_INTERRUPTED = []  # not empty after Ctrl-C


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are one line each, with the nearest flag or choice; exit status 2."""

    _given = ()

    def parse_known_args(self, args=None, namespace=None):
        """As argparse does; also of each sub-command, whose unknown flags argparse would report as the command's."""
        self._given = list(sys.argv[1:] if args is None else args)
        namespace, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return namespace, rest

    def error(self, message):
        """Prints the message in one line and exits."""
        unknown = self._unknown()
        choice = re.match(r"(.*?invalid choice: ['\"]?(.+?)['\"]? \(choose from (.+)\))$", message, re.DOTALL)
        if unknown:
            message = f"unknown flag {unknown}{hint(unknown, self._flags(), 0.5)}"
        elif choice:
            message = choice[1] + hint(choice[2], re.findall(r"[^\s,'\"]+", choice[3]), 0.5)
        self.exit(_say(f"{message} (see {self.prog} --help)", 2))

    def _flags(self):
        return [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]

    def _unknown(self):
        """Returns the first flag of the command line that is none of this parser's, nor short for one of them."""
        known = self._flags()
        for text in self._given:
            flag = text.partition("=")[0]
            if flag == "--" or text in self._commands():
                return None
            if flag.startswith("--") and not any(other.startswith(flag) for other in known):
                return flag
        return None

    def _commands(self):
        return [name for action in self._actions if isinstance(action.choices, dict) for name in action.choices]


class _Quiet:
    """Finds TensorFlow as always, and imports it without what its libraries say of themselves."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """See `importlib.abc.MetaPathFinder`."""
        if name != "tensorflow" or not (spec := importlib.machinery.PathFinder.find_spec(name, path)):
            return None
        execute = spec.loader.exec_module

        def quietly(module):
            with filter_stderr():
                execute(module)

        spec.loader.exec_module = quietly
        return spec


def prepare_output() -> None:
    """Keeps TensorFlow from talking of itself, and printing from failing at a character that cannot be encoded.

    Names of files need not be valid text, and not every terminal has every letter: such are escaped (`\\xfc`).
    """
    # At 2, TensorFlow 2.17 still says three times at its import that a CUDA library is registered already.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if _Quiet not in sys.meta_path:
        sys.meta_path.insert(0, _Quiet)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def run(main: Callable[[], int | None]) -> None:
    """Runs `main` and exits: 0 done, 2 a user's mistake, 130 interrupted, 1 anything else."""
    prepare_output()
    atexit.register(_end_at_once)  # before others register, which come first then
    try:
        status = main() or 0
        sys.stdout.flush()
    except BrokenPipeError as error:
        status = _unheard(error)
    except KeyboardInterrupt:
        _INTERRUPTED.append(True)
        status = _say("interrupted; start the same command again, a run or a folder goes on where it stopped", 130)
    except InputError as error:
        status = _say(error, 2)
    except ModuleNotFoundError as error:
        status = _missing(error)
    except OSError as error:
        status = _operating_system(error)
    sys.exit(status)


def _end_at_once():
    """Ends an interrupted command without taking TensorFlow down first, which lasts several seconds."""
    if _INTERRUPTED:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(130)


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
    if (told := explained(error, "this command")) is error:
        raise error
    return _say(told, 2)


@contextlib.contextmanager
def naming_extras(what: str) -> Iterator[None]:
    """Names the extra to install in the ModuleNotFoundError of a `with` block; see `explained`."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (told := explained(error, what)) is error:
            raise
        raise told from error


def explained(error: ModuleNotFoundError, what: str) -> ModuleNotFoundError:
    """Returns an error that names the extra to install, or the same where no extra brings the module.

    Args:
        error: What an import raised.
        what: What needs the module, the beginning of the sentence.
    """
    name = (error.name or "").partition(".")[0]
    if name == "tensorflow_io":
        text = (
            f"{what} needs tensorflow-io, which goes with TensorFlow 2.16 and 2.17 alone. "
            "Run, in an environment of its own: pip install 'tfmisr[train,tfio]'"
        )
    elif name in _TRAINING:
        text = (
            f"{what} needs TensorFlow and more ({name} is missing), which the base install leaves out. "
            "Run: pip install 'tfmisr[train]'"
        )
    else:
        return error
    return ModuleNotFoundError(text, name=error.name)


def _operating_system(error: OSError) -> int:
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes, os.PathLike)) else ""
    where = f" ({name})" if name else ""
    if error.errno in DISK_FULL:
        # Without a name nobody knows which disk it is.
        where = f" for {name}: {_free(name)} are free" if name else ""
        return _say(f"no space left on the disk{where}; free more, then start the command again", 2)
    if error.errno == errno.EFBIG:
        return _say(f"file too large{where}: the file system or a limit (ulimit -f) allows no larger file", 2)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _say(f"not permitted{where}: {error.strerror}; choose a folder you can write", 2)
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG):
        return _say(f"expected another path{where}: {error.strerror}", 2)
    raise error


def _free(name: str) -> str:
    """Returns how much of the disk that holds a file is free."""
    there = pathlib.Path(name).absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    with contextlib.suppress(OSError):
        return f"{shutil.disk_usage(there).free / 1e6:,.1f} MB"
    return "few bytes"


def require_writable(folder) -> None:
    """Makes the folder where it is not there yet.

    Raises:
        InputError: It cannot be made, or cannot be written.
    """
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise InputError(f"expected a folder to write at {folder}: {error.strerror}; choose another") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"expected a folder to write at {folder}, which is read-only; choose another")


def check_text(folder, flag: str) -> None:
    """Checks the name of a folder that TensorFlow writes to, which takes no name that is not valid UTF-8.

    Raises:
        InputError: It is none.
    """
    path = os.fspath(folder)
    if printable(path) != path:
        raise InputError(f"TensorFlow writes only where names are valid UTF-8; choose another {flag} than {path}")


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
