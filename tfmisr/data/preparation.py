"""Preparation of datasets by TFDS: errors in one line, leftovers of killed processes, what earlier runs began with."""

import contextlib
import errno
import io
import json
import os
import pathlib

from tensorflow_datasets.core.utils import tqdm_utils

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import remove_stale_temporaries


def prepare(builder, quiet: bool = False) -> None:
    """Prepares a dataset where that is not done yet, also by another process.

    Args:
        builder: `tfds.core.DatasetBuilder`.
        quiet: Without TFDS's bars and lines, for builders that have a bar and a report of their own.

    Raises:
        InputError: It cannot be read or downloaded.
        OSError: The disk is full.
    """
    try:
        with _without_tfds_bars() if quiet else contextlib.nullcontext():
            builder.download_and_prepare()
    except InputError:
        raise
    except Exception as error:
        if _prepared_meanwhile(builder):
            return
        # TensorFlow's and requests' errors carry no number of the operating system's.
        full = os.strerror(errno.ENOSPC)
        if full in str(error):
            raise OSError(errno.ENOSPC, full, builder.data_path) from error
        if any(kind.__name__ in ("ConnectionError", "DownloadError") for kind in type(error).__mro__):
            raise InputError(
                f"{builder.name} cannot be downloaded; check the network and the proxy (https_proxy). "
                f"Received: {type(error).__name__}"
            ) from error
        raise


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
    """Returns whether another process has finished the same dataset, of which the builder is then told."""
    if not (pathlib.Path(builder.data_path) / "dataset_info.json").is_file():
        return False
    builder.info.read_from_directory(builder.data_path)
    return True


def drop_leftovers(prepared: pathlib.Path) -> None:
    """Removes what a preparation that was killed more than a day ago has left: it may be some ten GB."""
    remove_stale_temporaries(prepared.parent.glob(f"incomplete.*_{prepared.name}"))


def prepared_for(runs) -> set[str]:
    """Returns the names of the prepared datasets that runs have begun with."""
    found = set()
    for path in (pathlib.Path(run) / "environment.json" for run in runs):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            environment = json.loads(path.read_text(encoding="utf-8"))
            found |= {(environment.get(key) or {}).get("prepared") for key in ("data", "lr_data")}
    return found - {None}
