"""Lists the images of an archive, one at a time: folders, globs, URLs and manifests."""

import glob
import os
import pathlib
import re
import sys
from collections.abc import Iterator

from tfmisr.cluster import manifest, stores
from tfmisr.cluster.manifest import Row
from tfmisr.edge import images
from tfmisr.edge.errors import InputError
from tfmisr.edge.folders import image_files
from tfmisr.inference import output_folder

OPTIONS = ("color", "tile", "max_tile")  # of a row of a manifest
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
_FORMATS |= {".dcm": "DICOM", ".dicom": "DICOM"}
_HEAD = 140  # bytes by which tfmisr.edge.images distinguishes formats


def is_archive(path: str) -> bool:
    """Returns whether an input is a URL, a manifest or a glob, rather than a file or folder of this machine."""
    return stores.is_url(path) or path.lower().endswith(manifest.SUFFIXES) or is_glob(path)


def is_glob(path: str) -> bool:
    """Returns whether a local path has wildcards and is not the name of a file itself."""
    return re.search(r"[*?\[]", path) is not None and not os.path.exists(path)


def glob_files(pattern: str) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields path and name of the image files that match; the name is relative to the part without wildcards."""
    pattern = os.path.expanduser(pattern)
    wild = re.search(r"[*?\[]", pattern)
    root = pathlib.Path(os.path.dirname(pattern[: wild.start()]) or ".")
    for path in map(pathlib.Path, sorted(glob.iglob(pattern, recursive=True))):
        if path.is_file() and _is_image(path):
            yield path, path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _is_image(path):
    try:
        return path.suffix.lower() in images.EXTENSIONS or images.detect_format(path) is not None
    except InputError:
        return True  # unreadable: the error is raised when the file is opened


def rows(inputs: list[str], output: str) -> Iterator[Row]:
    """Yields a row for each image.

    Args:
        inputs: Files, folders, globs, URLs of them, and manifests.
        output: Folder or URL of the results; results in a folder below their sources are not sources.

    Raises:
        InputError: There is nothing at an input, a manifest is not usable, or there are no images at all.
    """
    empty = True
    for text in inputs:
        for row in _rows_of(text, output):
            empty = False
            yield row
    if empty:
        raise InputError(f"expected images (PNG, JPEG, TIFF, DICOM) in {', '.join(inputs)}, found none")


def _rows_of(text, output):
    if text.lower().endswith(manifest.SUFFIXES):
        yield from manifest.read(text, OPTIONS)
    elif stores.is_url(path := stores.local(text)):
        inside = output.rstrip("/") + "/"
        for url, name in stores.files(path, images.EXTENSIONS):
            if not url.startswith(inside) and (file_format := _format_of(url)):
                yield Row(url, _target(name, file_format))
    else:
        yield from _local_rows(text if is_glob(text) else path, output)


def _local_rows(text, output):
    path = pathlib.Path(text)
    if is_glob(text):
        found = glob_files(text)
    elif path.is_dir():
        found = image_files(path, lambda line: print(line, file=sys.stderr))
    elif path.is_file():
        found = [(path, path.name)]
    else:
        raise InputError(f"expected an image or a folder at {path}, found nothing")
    own = None if stores.is_url(output) else os.path.realpath(output) + os.sep
    for file, name in found:
        if own is None or not os.path.realpath(file).startswith(own):
            yield Row(os.path.abspath(file), _target(name, _local_format(file)))


def _local_format(path):
    try:
        return images.detect_format(path)
    except InputError:
        return None


def _format_of(url):
    """Returns the format by the extension, or by the first bytes where there is none: one request for each file."""
    suffix = pathlib.PurePosixPath(url).suffix.lower()
    if suffix in _FORMATS:
        return _FORMATS[suffix]
    system, path = stores.file_system(url)
    with stores.naming(url):
        return images.format_of_bytes(system.cat_file(path, start=0, end=_HEAD))


def _target(name, file_format) -> str:
    return output_folder.result_name(pathlib.PurePosixPath(name), file_format).as_posix()
