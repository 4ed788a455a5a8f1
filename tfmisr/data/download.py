"""Downloads large files over HTTP: resumes interrupted downloads and verifies MD5 sums."""

import hashlib
import http.client
import os
import pathlib
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request

import tqdm

import tfmisr
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import add_path_to_errors

CHUNK = 1 << 20
TIMEOUT = 60  # seconds without data
ATTEMPTS = 6  # in a row without data
_AGENT = f"tfmisr/{tfmisr.__version__}"


class _TransientError(Exception):
    """An error after which a download may be retried; `wait` is the server's Retry-After in seconds."""

    def __init__(self, message, wait=0.0):
        super().__init__(message)
        self.wait = wait


def download(url: str, path: str | os.PathLike, md5: str | None = None) -> pathlib.Path:
    """Downloads one file atomically.

    An incomplete download is kept in `path` + `.part`, also when the process is killed; a later call resumes it if the
    server supports ranges and its file has not changed.

    Args:
        url: http or https address.
        path: Path of the file.
        md5: The published MD5 sum, checked before the file is renamed; a file that differs is deleted.

    Raises:
        InputError: No network, no such file, no space, or not the published file.
    """
    path = pathlib.Path(path)
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"the address of a download must be http or https. Received: {url}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    _fetch(url, part)
    if md5 and (received := md5_of(part)) != md5:
        _discard(part)
        raise InputError(
            f"{path.name} must have the published md5 sum {md5}. Received: {received} from {url}; the file was "
            "deleted: try again, or use another source"
        )
    os.replace(part, path)
    _tag(part).unlink(missing_ok=True)
    return path


def md5_of(path: str | os.PathLike) -> str:
    """Returns the MD5 sum of a file, as 32 hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)  # so that it also works under FIPS
    with open(path, "rb") as file, _bar(f"checking {os.path.basename(path)}") as bar:
        bar.reset(os.path.getsize(path))
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def bytes_kept(path: pathlib.Path) -> int:
    """Returns the number of bytes of an incomplete download to `path`."""
    part = _part(path)
    return part.stat().st_size if part.exists() else 0


def require_free_space(folder: str | os.PathLike, needed: int) -> None:
    """Checks that `needed` bytes are free on the disk of `folder`, which need not exist yet.

    Raises:
        InputError: They are not.
    """
    existing = pathlib.Path(folder).expanduser().absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(
            f"{_amount(needed)} of free disk space are needed in {folder}. Received: {_amount(free)}; "
            "free some, or choose another folder"
        )


def _amount(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"


def _part(path):
    return path.with_name(path.name + ".part")


def _tag(part):
    return part.with_name(part.name + ".etag")


def _discard(part):
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)


def _bar(title, leave=False):
    # `disable=None`: no bar where stderr is not a terminal.
    return tqdm.tqdm(desc=title, unit="B", unit_scale=True, disable=None, leave=leave, mininterval=0.5)


def _fetch(url, part):
    failures = 0
    with _bar(part.stem, leave=True) as bar:
        while True:
            before = _size(part)
            try:
                return _fetch_once(url, part, bar)
            except _TransientError as error:
                failures = 0 if _size(part) > before else failures + 1
                if failures == ATTEMPTS:
                    raise InputError(
                        f"{url} could not be downloaded in {ATTEMPTS} attempts ({error}); the incomplete file is kept: "
                        "start the same command again later"
                    ) from error
                time.sleep(max(error.wait, _pause(failures)))


def _pause(failures: int) -> float:
    return min(60.0, 2.0**failures / 2)


def _size(part) -> int:
    return part.stat().st_size if part.exists() else 0


def _fetch_once(url, part, bar):
    start = _size(part)
    try:
        response = urllib.request.urlopen(_request(url, part, start), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        return _check_status(error, url, part, start)
    except urllib.error.URLError as error:
        return _unreachable(url, error.reason, start)
    except (http.client.HTTPException, OSError) as error:
        raise _transient(error) from error
    with response:
        _receive(response, part, start, bar)


def _transient(error) -> _TransientError:
    return _TransientError(f"{type(error).__name__}: {error}")


def _request(url, part, start):
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if _tag(part).exists():
            headers["If-Range"] = _tag(part).read_text()
    return urllib.request.Request(url, headers=headers)


def _receive(response, part, start, bar):
    if response.headers.get_content_type() == "text/html":
        raise InputError(
            f"expected a file from {response.url}, received a web page: a login, a proxy's notice, or a moved "
            "file; open the address in a browser"
        )
    if response.status != 206 or not _range(response).startswith(f"bytes {start}-"):
        start = 0  # the server sends the complete file: it does not support ranges, or its file has changed
        if response.status == 206:
            _discard(part)
            raise _TransientError(f"the server sent another range than requested: {_range(response)!r}")
    length = response.length
    if length is not None:
        require_free_space(part.parent, length)
        bar.reset(start + length)
    else:
        bar.reset()
    bar.update(start)
    _save_validator(response, part, fresh=not start)
    with add_path_to_errors(part), open(part, "ab" if start else "wb") as file:
        received = _copy(response, file, bar)
    if length is not None and received < length:
        raise _TransientError(f"the connection ended after {received:,} of {length:,} bytes")


def _range(response) -> str:
    return response.headers.get("Content-Range", "")


def _save_validator(response, part, fresh):
    # RFC 9110, 13.1.5: a weak ETag must not be used in If-Range.
    tag = response.headers.get("ETag", "")
    tag = response.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    if fresh:
        _discard(part)
        if tag:
            _tag(part).write_text(tag)


def _copy(response, file, bar) -> int:
    received = 0
    for chunk in _chunks(response):
        file.write(chunk)
        received += len(chunk)
        bar.update(len(chunk))
    file.flush()
    os.fsync(file.fileno())
    return received


def _chunks(response):
    while True:
        try:
            chunk = response.read1(CHUNK)
        except (http.client.HTTPException, OSError) as error:
            raise _transient(error) from error
        if not chunk:
            return
        yield chunk


def _check_status(error, url, part, start):
    error.close()
    if error.code == 416 and start:
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return  # the download was complete; its sum is checked next
        _discard(part)
        raise _TransientError("the file on the server is shorter than the incomplete download") from error
    if error.code in (408, 429) or error.code >= 500:
        wait = error.headers.get("Retry-After", "")
        raise _TransientError(f"HTTP {error.code}", min(float(wait), 120) if wait.isdigit() else 0.0) from error
    raise InputError(
        f"expected a file at {url}, received HTTP {error.code} {error.reason}; check the address"
    ) from error


def _unreachable(url, reason, start):
    host = urllib.parse.urlsplit(url).hostname
    if start == 0 and not isinstance(reason, TimeoutError):
        raise InputError(
            f"{host} cannot be reached ({reason}); check the network and the proxy (https_proxy), or download "
            "by hand and give the folder with --manual_dir"
        )
    raise _TransientError(f"{host} cannot be reached: {reason}")
