"""The sub-command `backup`: copies a study, also while it is served."""

import argparse
import os
import pathlib
import shutil
import sqlite3

from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import remove_stale_temporaries, temporary_name


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the parser of the sub-command and returns it."""
    parser = subparsers.add_parser(
        "backup",
        help="copy a study, also while it is served",
        description="Copies a study into a new folder: its images, and a consistent state of its answers, while "
        "readers may answer. To restore, serve the copy.",
    )
    parser.add_argument("folder", metavar="DIR", help="folder of the study, as build wrote it")
    parser.add_argument("copy", metavar="COPY", help="new folder")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Runs the sub-command and returns its exit status; see `--help`."""
    from tfmisr.reader_study import verification
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.store import Store

    target = pathlib.Path(arguments.copy)
    if target.exists():
        raise InputError(f"a backup is a new folder, and there is something at {target}; choose another")
    cli.check_writable(target)
    with Store(Study(arguments.folder)) as store:
        _copy(store, target)
    with Store(Study(target)) as copy:
        if errors := verification.integrity_errors(copy):
            raise InputError(f"{arguments.folder} is not intact, and so is its copy {target}: {errors[0]}")
        rows, head = copy.audit_head()
    print(f"{target}: audit log of {rows} rows, last hash {head}")
    return 0


def _copy(store, target: pathlib.Path) -> None:
    from tfmisr.reader_study import database, frozen

    remove_stale_temporaries(target.parent.glob(temporary_name(target, "*").name))
    temporary, source = temporary_name(target), store.study.folder
    temporary.mkdir(mode=0o700, parents=True)
    try:
        shutil.copy(source / frozen.FILE, temporary)
        shutil.copytree(source / frozen.PIXELS, temporary / frozen.PIXELS)
        _backup(store.database, temporary / database.FILE)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _backup(database, path: pathlib.Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    copy = sqlite3.connect(path)
    try:
        with database.lock:
            database.connection.backup(copy)
    finally:
        copy.close()
