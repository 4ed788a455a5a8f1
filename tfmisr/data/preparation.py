"""Preparation of datasets by TFDS: one-line errors, cleanup after killed processes, datasets of earlier runs."""

import contextlib
import errno
import io
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator

import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils

from tfmisr.data.dataset_builder import parts_folder
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import remove_stale_temporaries

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]


def prepare(builder: tfds.core.DatasetBuilder, quiet: bool = False) -> None:
    """Prepares a dataset, unless this or another process has done so.

    Args:
        builder: Builder of the dataset.
        quiet: Suppress the progress bars and messages of TFDS, for builders that print their own.

    Raises:
        InputError: It cannot be read or downloaded.
        OSError: The disk is full.
    """
    try:
        quietly = _without_tfds_bars() if quiet else contextlib.nullcontext()
        with quietly, _under_way(pathlib.Path(builder.data_path)):
            builder.download_and_prepare()
        remove_incomplete(pathlib.Path(builder.data_path))
    except InputError:
        raise
    except Exception as error:
        if _prepared_meanwhile(builder):
            return
        # Errors of TensorFlow and requests have no errno.
        full = os.strerror(errno.ENOSPC)
        if full in str(error):
            raise OSError(errno.ENOSPC, full, builder.data_path) from error
        if any(base.__name__ in ("ConnectionError", "DownloadError") for base in type(error).__mro__):
            raise InputError(
                f"{builder.name} cannot be downloaded; check the network and the proxy (https_proxy). "
                f"Received: {type(error).__name__}"
            ) from error
        raise


@contextlib.contextmanager
def _under_way(prepared: pathlib.Path) -> Iterator[None]:
    """Removes what killed preparations left, unless another one is under way, and tells others of this one.

    Processes that prepare one dataset share a lock, which the system takes from those that end, however they end. Where
    there are no locks, what is a day old is removed.
    """
    if fcntl is None or (prepared / "dataset_info.json").is_file():
        yield
        return
    prepared.parent.mkdir(parents=True, exist_ok=True)
    lock = prepared.parent / f".{prepared.name}.lock"
    with open(lock, "a", encoding="ascii") as file:
        with contextlib.suppress(OSError):  # another process holds it, or the file system has no locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for folder in _incomplete(prepared):
                shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH)
        yield
    if (prepared / "dataset_info.json").is_file():  # nobody prepares it any more
        lock.unlink(missing_ok=True)


def _incomplete(prepared: pathlib.Path) -> list[pathlib.Path]:
    return list(prepared.parent.glob(f"incomplete.*_{prepared.name}"))


@contextlib.contextmanager
def _without_tfds_bars():
    shown = getattr(tqdm_utils, "_active", True)
    tqdm_utils.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tqdm_utils.display_progress_bar(shown)


def _prepared_meanwhile(builder) -> bool:
    """Returns whether another process has prepared the same dataset; if so, updates the builder's info from it."""
    if not (pathlib.Path(builder.data_path) / "dataset_info.json").is_file():
        return False
    builder.info.read_from_directory(builder.data_path)
    return True


def remove_incomplete(prepared: pathlib.Path) -> None:
    """Removes the files of preparations that were killed more than a day ago; `prepare` removes later ones.

    Parts of a dataset that is not prepared yet are kept: the next preparation resumes with them.
    """
    remove_stale_temporaries(_incomplete(prepared))
    if (prepared / "dataset_info.json").is_file():
        shutil.rmtree(parts_folder(prepared), ignore_errors=True)


def datasets_of(runs: Iterable[str | os.PathLike]) -> set[str]:
    """Returns the names of the prepared datasets that runs were started with, from their `environment.json`."""
    names = set()
    for path in (pathlib.Path(run) / "environment.json" for run in runs):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            environment = json.loads(path.read_text(encoding="utf-8"))
            names |= {(environment.get(key) or {}).get("prepared") for key in ("data", "lr_data")}
    return names - {None}


__getattr__ = renamed(__name__, drop_leftovers="remove_incomplete", prepared_for="datasets_of")
