"""Retrieve transaction (WADO-RS, PS3.18 10.4): files as they are, and their metadata."""

import json
import pathlib
import uuid
from collections.abc import Iterator

from pydicom.uid import ExplicitVRLittleEndian

from tfmisr.gateway.dicomweb import metadata
from tfmisr.gateway.dicomweb.catalog import Catalog, Held
from tfmisr.gateway.dicomweb.messages import DICOM, JSON, MULTIPART, Refused, Request, Response, accepted, choose

_CHUNK = 1 << 18  # bytes


class Retrieve:
    """The transaction.

    Args:
        folder: The spool.
        catalog: Its index.
    """

    def __init__(self, folder: pathlib.Path, catalog: Catalog) -> None:
        self._folder, self._catalog = folder, catalog

    def find(self, study: str, series: str = "", uid: str = "") -> list[Held]:
        """Returns the files of a study, series or instance.

        Raises:
            Refused: There is none (404).
            sqlite3.Error: Queue or index cannot be used.
        """
        self._catalog.synchronize()
        found = self._catalog.held(study, series, uid)
        found = [each for each in found if (self._folder / each.file).is_file()]
        if not found:
            raise Refused(404, "not, or no longer, in the spool")
        return found

    def files(self, request: Request, held: list[Held], is_instance: bool) -> Response:
        """Returns files as they are: no Transfer Syntax is converted.

        Args:
            request: The request.
            held: The files.
            is_instance: Whether one part alone may be asked for.

        Raises:
            Refused: The media types of the request do not allow it (406).
        """
        kind = _form({each.syntax for each in held}, request, is_instance)
        paths = [self._folder / each.file for each in held]
        if kind == DICOM:
            length = paths[0].stat().st_size
            return Response(200, f"{DICOM}; transfer-syntax={held[0].syntax}", _read(paths[0]), length)
        boundary = uuid.uuid4().hex
        start = f"\r\n--{boundary}\r\nContent-Type: {DICOM}; transfer-syntax="
        heads = [f"{start}{each.syntax}\r\n\r\n".encode() for each in held]
        tail = f"\r\n--{boundary}--\r\n".encode()
        length = sum(map(len, heads)) + sum(path.stat().st_size for path in paths) + len(tail)
        return Response(
            200, f'{MULTIPART}; type="{DICOM}"; boundary={boundary}', _multipart(heads, paths, tail), length
        )

    def metadata(self, request: Request, held: list[Held]) -> Response:
        """Returns the Attributes of files in DICOM JSON (PS3.18 10.4.1.1.2), without values of bulk data.

        Raises:
            Refused: Another media type is asked for, or a data set inflates to too many bytes (406).
        """
        kind = choose(request, JSON)
        for each in held:
            metadata.check(self._folder / each.file, each.syntax)
        return Response(200, kind, self._metadata(held))

    def _metadata(self, held: list[Held]) -> Iterator[bytes]:
        for number, each in enumerate(held):
            found = metadata.read(self._folder / each.file, each.syntax)
            yield (b"," if number else b"[") + json.dumps(found).encode()
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
