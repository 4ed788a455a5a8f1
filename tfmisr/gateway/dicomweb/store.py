"""Store transaction (STOW-RS, PS3.18 10.5): what arrives is acknowledged once it is on the disk, as by C-STORE."""

import contextlib
from collections.abc import Callable

from tfmisr.gateway import header, services
from tfmisr.gateway.dicomweb import multipart, part10, report, tables
from tfmisr.gateway.dicomweb.messages import DICOM, JSON, MULTIPART, XML, Refused, Request, Response, choose, media_type
from tfmisr.gateway.dicomweb.report import Outcome
from tfmisr.gateway.incoming import IncomingFile
from tfmisr.gateway.offers import Offer
from tfmisr.gateway.services import Status

MAX_PARTS = 10_000
_RETRY_AFTER = ("Retry-After", "30")  # seconds
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID")


class Store:
    """The transaction.

    Args:
        keep: Takes an object in and returns its status; nothing is acknowledged but `services.STORED`.
        has_space: Whether anything is accepted now.
    """

    def __init__(self, keep: Callable[[Offer], Status], has_space: Callable[[], bool]) -> None:
        self._keep, self._has_space = keep, has_space

    def __call__(self, request: Request, peer: str, studies_url: str, study: str) -> tuple[Response, list[Outcome]]:
        """Stores the parts of a request, one after the other.

        Args:
            request: The request.
            peer: AE title of the source.
            studies_url: URL of the studies.
            study: Study Instance UID that the instances must have; empty for any.

        Raises:
            Refused: The request is malformed, too long or of another media type, or there is no space.
        """
        content = media_type(request.headers.get("content-type", ""))
        if content.name != MULTIPART or content.parameters.get("type", "").lower() != DICOM:
            raise Refused(415, f'expected Content-Type: {MULTIPART}; type="{DICOM}"; boundary=...')
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "expected no Content-Encoding", ("Accept-Encoding", "identity"))
        kind = choose(request, JSON, XML)
        if not self._has_space():
            raise Refused(503, services.NO_SPACE.comment, _RETRY_AFTER)
        outcomes = []
        for part in multipart.parts(request.body, content.parameters.get("boundary", "")):
            if len(outcomes) == MAX_PARTS:
                raise Refused(413, f"expected at most {MAX_PARTS} instances in a request")
            outcomes.append(self._store(part, peer, study))
        if not outcomes:
            raise Refused(400, "expected at least one instance")
        status = report.status_of(outcomes)
        headers = (_RETRY_AFTER,) if status == 503 else ()
        return Response(status, kind, report.body(outcomes, studies_url, kind), headers=headers), outcomes

    def _store(self, part: multipart.Part, peer: str, study: str) -> Outcome:
        kind = media_type(part.headers.get("Content-Type", DICOM))
        if kind.name != DICOM:
            return Outcome(services.UNPARSABLE)
        with contextlib.closing(IncomingFile()) as file:
            try:
                meta = part10.receive(part.data(), file)
            except part10.Unreadable:
                return Outcome(services.UNPARSABLE)
            found = _uids(file, meta.transfer_syntax)
            if meta.transfer_syntax not in services.TRANSFER_SYNTAXES:
                status = tables.NO_SYNTAX
            elif study and not found and not file.error:
                status = services.UNPARSABLE
            elif study and found and found[0] != study:
                status = tables.OTHER_STUDY
            else:
                status = self._offer(meta, peer, file)
        return Outcome(status, meta.sop_class_uid, meta.sop_instance_uid, *(found or ()))

    def _offer(self, meta: part10.Meta, peer: str, file: IncomingFile) -> Status:
        uid = meta.sop_class_uid
        return self._keep(Offer(uid, meta.sop_instance_uid, uid, meta.transfer_syntax, peer, file))


def _uids(file: IncomingFile, syntax: str) -> tuple[str, str] | None:
    """Returns Study and Series Instance UID; `None` where nothing can be read, of which `keep` finds the reason."""
    if file.error:
        return None
    try:
        found = header.parse(file.path, syntax, _UIDS)
        return str(found.get(_UIDS[0], "") or ""), str(found.get(_UIDS[1], "") or "")
    except Exception:  # noqa: BLE001
        return None
