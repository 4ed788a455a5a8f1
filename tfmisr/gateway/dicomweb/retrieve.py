"""Retrieve transaction (WADO-RS, PS3.18 10.4): files as they are, and their metadata."""

import pathlib
import typing
import uuid
from collections.abc import Iterator

from pydicom.uid import ExplicitVRLittleEndian

from tfmisr.gateway.dicomweb import metadata
from tfmisr.gateway.dicomweb.catalog import Catalog, Held
from tfmisr.gateway.dicomweb.messages import DICOM, JSON, MULTIPART, Refused, Request, Response, accepted, choose

_CHUNK = 1 << 18  # bytes


class Found(typing.NamedTuple):
    """Files of a study, series or instance, and how many others the spool has lost or removed this moment."""

    held: list[Held]
    missing: int

    def response(self, content_type: str, body: Iterator[bytes], length: int | None = None) -> Response:
        """Returns a response, which says where it is not complete (PS3.18 10.4.3)."""
        text = f'299 tfmisr "{self.missing} files are missing in the spool and are left out"'
        headers = (("Warning", text),) if self.missing else ()
        return Response(206 if self.missing else 200, content_type, body, length, headers)


class Retrieve:
    """The transaction.

    Args:
        folder: The spool.
        catalog: Its index.
    """

    def __init__(self, folder: pathlib.Path, catalog: Catalog) -> None:
        self._folder, self._catalog = folder, catalog

    def find(self, study: str, series: str = "", uid: str = "") -> Found:
        """Returns the files of a study, series or instance.

        Raises:
            Refused: There is none (404).
            sqlite3.Error: Queue or index cannot be used.
        """
        self._catalog.synchronize()
        held = self._catalog.held(study, series, uid)
        present = [each for each in held if (self._folder / each.file).is_file()]
        if not present:
            raise Refused(404, "not, or no longer, in the spool")
        return Found(present, len(held) - len(present))

    def files(self, request: Request, found: Found, is_instance: bool) -> Response:
        """Returns files as they are: no Transfer Syntax is converted.

        Args:
            request: The request.
            found: The files.
            is_instance: Whether one part alone may be asked for.

        Raises:
            Refused: The media types of the request do not allow it (406).
        """
        kind = _form({each.syntax for each in found.held}, request, is_instance)
        paths = [self._folder / each.file for each in found.held]
        if kind == DICOM:
            length = paths[0].stat().st_size
            return found.response(f"{DICOM}; transfer-syntax={found.held[0].syntax}", _read(paths[0]), length)
        boundary = uuid.uuid4().hex
        start = f"\r\n--{boundary}\r\nContent-Type: {DICOM}; transfer-syntax="
        heads = [f"{start}{each.syntax}\r\n\r\n".encode() for each in found.held]
        tail = f"\r\n--{boundary}--\r\n".encode()
        length = sum(map(len, heads)) + sum(path.stat().st_size for path in paths) + len(tail)
        kind = f'{MULTIPART}; type="{DICOM}"; boundary={boundary}'
        return found.response(kind, _multipart(heads, paths, tail), length)

    def metadata(self, request: Request, found: Found) -> Response:
        """Returns the Attributes of files in DICOM JSON (PS3.18 10.4.1.1.2), without values of bulk data.

        Raises:
            Refused: Another media type is asked for, or a data set inflates to too many bytes (406).
        """
        kind = choose(request, JSON)
        for each in found.held:
            metadata.check(self._folder / each.file, each.syntax)
        return found.response(kind, self._metadata(found.held))

    def _metadata(self, held: list[Held]) -> Iterator[bytes]:
        for number, each in enumerate(held):
            found = metadata.read(self._folder / each.file, each.syntax)
            yield (b"," if number else b"[") + metadata.dump(found).encode()
        yield b"]"


def _form(syntaxes: set[str], request: Request, is_instance: bool) -> str:
    """Returns `multipart/related` or `application/dicom`, whichever the request accepts first."""
    for each in accepted(request):
        single = each.name == DICOM and is_instance
        multipart = each.name in (MULTIPART, "multipart/*") and each.parameters.get("type", DICOM).lower() == DICOM
        if each.name == "*/*":
            return MULTIPART
        if single or multipart:
            # Without the parameter the default is asked for (PS3.18 8.7.3.5.2).
            wanted = each.parameters.get("transfer-syntax", str(ExplicitVRLittleEndian))
            if wanted == "*" or syntaxes == {wanted}:
                return DICOM if single else MULTIPART
    forms = [f'{MULTIPART}; type="{DICOM}"'] + [DICOM] * is_instance
    raise Refused(
        406,
        f"offered here: {' and '.join(forms)}, in the Transfer Syntaxes as stored, of which none is converted: "
        f"{', '.join(sorted(syntaxes))}, or transfer-syntax=*",
    )


def _read(path: pathlib.Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def _multipart(heads: list[bytes], paths: list[pathlib.Path], tail: bytes) -> Iterator[bytes]:
    for head, path in zip(heads, paths, strict=True):
        yield head
        yield from _read(path)
    yield tail
