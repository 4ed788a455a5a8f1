"""Files on this machine and in object stores, by path or URL (fsspec, https://filesystem-spec.readthedocs.io).

A file appears complete or not at all: on a file system by a temporary name and a rename, in an object store by its own
put, which shows an object once all of its bytes have arrived (S3: PutObject and CompleteMultipartUpload).
"""

import contextlib
import datetime
import functools
import hashlib
import os
import pathlib
import posixpath
import re
import secrets
import tempfile
import typing
from collections.abc import Iterator

from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.files import atomic_write

if typing.TYPE_CHECKING:
    import fsspec

# Stores whose put is atomic; others get a temporary name and a move.
_ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "memory"}
_CHUNK = 2**20
_FOLDERS_LISTED = 8  # at a time; a million objects in one folder take about 1 GB


def is_url(path: str) -> bool:
    """Returns whether a path is a URL such as `s3://bucket/key`; `file://` is one too."""
    return re.match(r"[a-z][a-z0-9+.-]+://", path) is not None


def local(path: str) -> str:
    """Returns the absolute path of a local file or of a `file://` URL, other URLs as they are."""
    if path.startswith("file://"):
        path = path.removeprefix("file://").removeprefix("localhost")
    return path if is_url(path) else os.path.abspath(os.path.expanduser(path))


def join(folder: str, name: str) -> str:
    """Returns the path of a file in a folder; `name` is relative, with "/"."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, *name.split("/"))


def file_system(url: str) -> tuple["fsspec.AbstractFileSystem", str]:
    """Returns the file system of a URL, and the path in it.

    Raises:
        InputError: No such file system is known, a package for it is missing, or it refuses the URL.
    """
    protocol = url.partition("://")[0]
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise InputError(f"{protocol}:// needs fsspec. Run: pip install 'tfmisr[cluster]'") from error
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise InputError(f"{protocol}:// needs another package: {error}") from error
    except (ValueError, OSError) as error:
        known = sorted(fsspec.available_protocols())
        raise InputError(f"{protocol}://: {error}{hint(protocol, known, 0.6)}") from error


@contextlib.contextmanager
def naming(url: str) -> Iterator[None]:
    """Raises what a file system's library raises as an `OSError`, without the request that it may quote."""
    try:
        yield
    except (InputError, OSError):
        raise
    except Exception as error:
        raise OSError(None, f"{type(error).__name__} of {url.partition('://')[0]}://") from error


def size_and_stamp(path: str, listed: bool = False) -> tuple[int, str] | None:
    """Returns the size of a file and a text that changes with its content; `None` where there is no file.

    The text holds size and time of modification, for an object what its store calls it (ETag, checksum or time).

    Args:
        path: Path or URL.
        listed: Look a URL up in a listing of its folder that is made once: one request for many files.
    """
    if not is_url(path):
        try:
            info = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return info.st_size, f"{info.st_size} {info.st_mtime_ns}"
    if listed:
        parent, _, name = path.rpartition("/")
        return _listing(parent).get(name)
    system, inside = file_system(path)
    with naming(path), contextlib.suppress(FileNotFoundError):
        system.invalidate_cache(inside)
        return _size_and_stamp(system.info(inside))
    return None


@functools.lru_cache(_FOLDERS_LISTED)
def _listing(url: str) -> dict[str, tuple[int, str]]:
    system, path = file_system(url)
    with naming(url):
        system.invalidate_cache(path)
        try:
            found = system.ls(path, detail=True)
        except FileNotFoundError:
            return {}
    return {posixpath.basename(i["name"]): _size_and_stamp(i) for i in found if i["type"] == "file"}


def _size_and_stamp(info) -> tuple[int, str]:
    keys = ("ETag", "etag", "md5Hash", "crc32c", "mtime", "LastModified", "updated", "last_modified", "created")
    mark = next((info[key] for key in keys if info.get(key)), "")
    if isinstance(mark, datetime.datetime):  # memory:// has a number in a listing
        mark = mark.timestamp()
    digest = hashlib.sha256(str(mark).encode()).hexdigest()[:16]
    return int(info.get("size") or 0), f"{info.get('size')} {digest}"


def forget_listings() -> None:
    """Drops the listings behind `size_and_stamp`, after files have changed."""
    _listing.cache_clear()


def files(url: str, extensions: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yields URL and name, relative with "/", of the files below a URL or of a glob, sorted within each folder.

    Args:
        url: Folder, file, or glob (`*`, `?`, `[`, `**`).
        extensions: Only names with these, or without any, are taken; hidden ones never.
    """
    system, path = file_system(url)
    with naming(url):
        if glob := re.search(r"[*?\[]", path):
            root = path[: glob.start()].rpartition("/")[0]
            found = sorted(system.glob(path))
            yield from _named(system, root, [p for p in found if system.isfile(p)], extensions)
        elif system.isfile(path):
            yield system.unstrip_protocol(path), posixpath.basename(path)
        else:
            for _, _, inside in system.walk(path, detail=True):
                yield from _named(system, path, sorted(info["name"] for info in inside.values()), extensions)


def _named(system, root, paths, extensions):
    for path in paths:
        name = path[len(root.rstrip("/")) :].lstrip("/") if root else path
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
        if not hidden and posixpath.splitext(name)[1].lower() in (*extensions, ""):
            yield system.unstrip_protocol(path), name


@contextlib.contextmanager
def fetched(path: str) -> Iterator[pathlib.Path]:
    """Yields a local file with the content of a file, with the same extension; a copy where it is in a store."""
    if not is_url(path):
        yield pathlib.Path(path)
        return
    system, inside = file_system(path)
    suffix = posixpath.splitext(inside)[1][:10]
    with tempfile.TemporaryDirectory(prefix="tfmisr-") as folder:
        copy = pathlib.Path(folder) / f"source{suffix}"
        with naming(path):
            system.get_file(inside, str(copy))
        yield copy


@contextlib.contextmanager
def published(path: str) -> Iterator[pathlib.Path]:
    """Yields a local path to write to; after the block, the file is at `path`, complete.

    What is yielded for a local `path` is this path itself: the block writes it atomically, as all writers here do.
    """
    if not is_url(path):
        yield pathlib.Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="tfmisr-") as folder:
        copy = pathlib.Path(folder) / f"target{posixpath.splitext(path)[1][:10]}"
        yield copy
        put(copy, path)


def put(file: pathlib.Path, url: str) -> None:
    """Copies a local file to a URL, atomically."""
    system, path = file_system(url)
    with naming(url):
        if url.partition("://")[0] in _ATOMIC:
            system.put_file(str(file), path)
            return
        folder, _, name = path.rpartition("/")
        system.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{secrets.token_hex(8)}.{name[-40:]}"
        try:
            system.put_file(str(file), temporary)
            system.mv(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                if system.exists(temporary):
                    system.rm_file(temporary)


def read_bytes(path: str) -> bytes | None:
    """Returns the content of a small file, `None` where there is none."""
    if is_url(path):
        system, inside = file_system(path)
        with naming(path), contextlib.suppress(FileNotFoundError):
            return system.cat_file(inside)
        return None
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return pathlib.Path(path).read_bytes()
    return None


def write_bytes(path: str, content: bytes) -> None:
    """Writes a small file atomically, and creates its folder."""
    if is_url(path):
        with published(path) as copy:
            copy.write_bytes(content)
        return
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def sha256(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a local file in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
