"""Shared by all commands: argument parsing, errors of users in one line with exit status 2, and output settings."""

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
import typing
from collections.abc import Callable, Iterator, Sequence

from tfmisr.edge.errors import InputError, Terminated, hint
from tfmisr.edge.files import DISK_FULL, printable, temporary_name
from tfmisr.edge.stderr_filter import filter_stderr

# Modules that the extra [train] brings.
_TRAINING = set("tensorflow keras tensorflow_datasets etils scipy sklearn matplotlib keras_tuner tensorboard".split())
_NO_BACKEND = "Unable to import backend : "  # Keras's message on an unknown KERAS_BACKEND

_INTERRUPTED = []  # holds the exit status after Ctrl-C or SIGTERM


class Parser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that reports errors in one line, with the closest flag or choice; exit status 2."""

    _given = ()

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parses as argparse does, and reports unknown flags of a sub-command as that sub-command's."""
        self._given = list(sys.argv[1:] if args is None else args)
        namespace, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return namespace, rest

    def error(self, message: str) -> typing.NoReturn:
        """Prints the message in one line to stderr and exits with status 2."""
        unknown = self._unknown()
        choice = re.match(r"(.*?invalid choice: ['\"]?(.+?)['\"]? \(choose from (.+)\))$", message, re.DOTALL)
        if unknown:
            flags = self._flags(a for a in self._actions if not isinstance(a, OldFlag))
            message = f"unknown flag {unknown}{hint(unknown, flags, 0.5)}"
        elif choice:
            message = choice[1] + hint(choice[2], re.findall(r"[^\s,'\"]+", choice[3]), 0.5)
        self.exit(_report(f"{message} (see {self.prog} --help)", 2))

    @staticmethod
    def _flags(actions):
        return [flag for action in actions for flag in action.option_strings if flag.startswith("--")]

    def _unknown(self):
        """Returns the first flag on the command line that is neither a flag of this parser nor an abbreviation."""
        known = self._flags(self._actions)
        for text in self._given:
            flag = text.partition("=")[0]
            if flag == "--" or text in self._commands():
                return None
            if flag.startswith("--") and not any(other.startswith(flag) for other in known):
                return flag
        return None

    def _commands(self):
        return [name for action in self._actions if isinstance(action.choices, dict) for name in action.choices]


class OldFlag(argparse.Action):
    """The old name of a flag, accepted for one release: does what the flag does, after a warning.

    Args:
        option_strings: The old name.
        dest: As of `argparse.Action`.
        current: Action of the flag under its new name.
        **kwargs: As of `argparse.Action`.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, current: argparse.Action, **kwargs):
        super().__init__(option_strings, dest, **kwargs)
        self.current = current

    def __call__(self, parser, namespace, values, option_string=None):
        """See `argparse.Action`."""
        print(f"warning: {option_string} is now called {self.current.option_strings[0]}", file=sys.stderr)
        self.current(parser, namespace, values, option_string)


def add_old_flag(group: argparse._ActionsContainer, old: str, new: str) -> None:
    """Adds the old name of a flag, which `--help` does not show.

    Args:
        group: The parser or group that has the flag.
        old: Old name, with its dashes.
        new: New name, with its dashes.
    """
    current = group._option_string_actions[new]
    same = {key: getattr(current, key) for key in ("dest", "nargs", "const", "type", "choices")}
    hidden = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    group.add_argument(old, action=OldFlag, current=current, **same, **hidden)


class _Quiet:
    """Imports TensorFlow without the messages that its libraries print."""

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
    """Suppresses TensorFlow's messages, and escapes characters that the terminal cannot encode (`\\xfc`)."""
    # At level 2, TensorFlow 2.17 still prints three messages about registered CUDA libraries.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if _Quiet not in sys.meta_path:
        sys.meta_path.insert(0, _Quiet)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def run(main: Callable[[], int | None]) -> None:
    """Runs `main` and exits: 0 for success, 2 for a user's error, 1 for any other; 130 or 143 if Ctrl-C or SIGTERM."""
    prepare_output()
    atexit.register(_exit_at_once)  # handlers that are registered later run first
    try:
        status = main() or 0
        sys.stdout.flush()
    except BrokenPipeError as error:
        status = _broken_pipe(error)
    except (KeyboardInterrupt, Terminated) as error:
        what, number = (error, 143) if isinstance(error, Terminated) else ("interrupted", 130)
        status = _report(f"{what}; start the same command again to resume", number)
        _INTERRUPTED.append(status)
    except InputError as error:
        status = _report(error, 2)
    except ModuleNotFoundError as error:
        status = _missing(error)
    except ValueError as error:
        if not str(error).startswith(_NO_BACKEND):
            raise
        name = str(error).removeprefix(_NO_BACKEND)
        status = _report(f"expected KERAS_BACKEND=tensorflow or jax. Received: {name}", 2)
    except OSError as error:
        status = _operating_system(error)
    sys.exit(status)


def _exit_at_once():
    """Ends an interrupted command without the shutdown of TensorFlow, which takes several seconds."""
    if _INTERRUPTED:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(_INTERRUPTED[-1])


def _broken_pipe(error: BrokenPipeError) -> int:
    """Returns the exit status if the reader of the output, such as `head`, has closed it; raises `error` otherwise."""
    try:
        print(flush=True)  # fails again if the broken pipe is the output
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13  # as if SIGPIPE had ended it
    raise error


def _report(message, status: int) -> int:
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    return status


def _missing(error: ModuleNotFoundError) -> int:
    if (explanation := explained(error, "this command")) is error:
        raise error
    return _report(explanation, 2)


@contextlib.contextmanager
def naming_extras(what: str) -> Iterator[None]:
    """Names the extra to install in the ModuleNotFoundError of a `with` block; see `explained`."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (explanation := explained(error, what)) is error:
            raise
        raise explanation from error


def explained(error: ModuleNotFoundError, what: str) -> ModuleNotFoundError:
    """Returns an error that names the extra to install, or `error` itself if no extra has the module.

    Args:
        error: The error of an import.
        what: What needs the module, as the subject of the message.
    """
    name = (error.name or "").partition(".")[0]
    if name == "tensorflow_io":
        text = (
            f"{what} needs tensorflow-io, which works only with TensorFlow 2.16 and 2.17. "
            "Run, in a separate environment: pip install 'tfmisr[train,tfio]'"
        )
    elif name in _TRAINING:
        text = (
            f"{what} needs TensorFlow and more ({name} is missing), which the base install leaves out. "
            "Run: pip install 'tfmisr[train]'"
        )
    elif name in ("jax", "jaxlib"):
        text = f"{what} with KERAS_BACKEND=jax needs JAX. Run: pip install 'tfmisr[jax]' or 'tfmisr[jax-cuda]'"
    elif name == "torch":
        text = "expected KERAS_BACKEND=tensorflow or jax. Received: torch, whose package is not installed"
    else:
        return error
    return ModuleNotFoundError(text, name=error.name)


def _operating_system(error: OSError) -> int:
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes, os.PathLike)) else ""
    where = f" ({name})" if name else ""
    if error.errno in DISK_FULL:
        # Without a file name the disk is unknown.
        where = f" for {name}: {_free(name)} are free" if name else ""
        return _report(f"no space left on the disk{where}; free some, then start the command again", 2)
    if error.errno == errno.EFBIG:
        return _report(f"file too large{where}: the file system or a limit (ulimit -f) allows no larger file", 2)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _report(f"not permitted{where}: {error.strerror}; choose a folder you can write", 2)
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG):
        return _report(f"expected another path{where}: {error.strerror}", 2)
    raise error


def _free(name: str) -> str:
    """Returns the free space of the disk that holds a file, as text."""
    existing = pathlib.Path(name).absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    with contextlib.suppress(OSError):
        return f"{shutil.disk_usage(existing).free / 1e6:,.1f} MB"
    return "few bytes"


def require_writable(folder: str | os.PathLike) -> None:
    """Creates a folder if it does not exist.

    Raises:
        InputError: It cannot be created or written.
    """
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise InputError(f"expected a writable folder at {folder}: {error.strerror}; choose another") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"expected a writable folder at {folder}, which is read-only; choose another")


def check_text(folder: str | os.PathLike, flag: str) -> None:
    """Checks that the name of a folder is valid UTF-8, as TensorFlow needs it to write there.

    Args:
        folder: The folder.
        flag: The flag that sets it, for the error message.

    Raises:
        InputError: It is not.
    """
    path = os.fspath(folder)
    if printable(path) != path:
        raise InputError(f"TensorFlow writes only where names are valid UTF-8; choose another {flag} than {path}")


def check_writable(folder: str | os.PathLike) -> None:
    """Checks before long work that a folder can be created and written; nothing is left there.

    Raises:
        InputError: It cannot.
    """
    path = pathlib.Path(folder).absolute()
    existing = next(part for part in (path, *path.parents) if part.exists())
    try:  # permissions say nothing of /proc, or of a share that only the server protects
        temporary_name(existing / "probe").mkdir()
        temporary_name(existing / "probe").rmdir()
    except OSError as error:
        raise InputError(f"expected a writable folder at {folder}: {error.strerror}; choose another") from error
