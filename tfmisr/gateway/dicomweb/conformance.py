"""What the conformance statement says about DICOMweb, from the tables that the service itself uses (G-22)."""

from tfmisr.gateway import config, services
from tfmisr.gateway.dicomweb import connection, matching, multipart, part10, store, tables


def sections() -> list[tuple[str, str]]:
    """Returns headings and texts."""
    return [
        ("#### 4.2.6 DICOMweb: connections", _connections()),
        ("#### 4.2.7 DICOMweb: Store (STOW-RS, PS3.18 10.5)", _store()),
        ("#### 4.2.8 DICOMweb: Search (QIDO-RS, PS3.18 10.6)", _search()),
        ("#### 4.2.9 DICOMweb: Retrieve (WADO-RS, PS3.18 10.4)", _retrieve()),
    ]


def _grid(*rows: tuple[str, ...]) -> str:
    lines = [rows[0], ("---",) * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _connections() -> str:
    rows = [
        ("Address, port and path before `/studies`", f"configured; the default of the path is {config.Dicomweb.path}"),
        ("Protocol", "HTTP/1.1, over TLS with authentication of both sides where a table `tls` is configured"),
        ("User agents", "sources with `dicomweb = true`, by IP address, by a name in the certificate, or both"),
        ("Connections at the same time", f"configured; default {config.Dicomweb.max_connections}"),
        ("Request header", f"at most {connection.MAX_HEADER:,} bytes, complete within `acse_timeout`"),
        (
            "Body",
            f"no pause of `network_timeout`, and at least {connection.SLOWEST:,} bytes/s on average over it; "
            "its size is not bounded",
        ),
        ("Between two requests of a connection", f"{connection.IDLE_SECONDS:g} s"),
    ]
    return _grid(("Policy", "Value"), *rows)


def _store() -> str:
    text = (
        "`POST /studies` and `POST /studies/{study}` take multipart/related; type=application/dicom, streamed to the "
        f"disk, with at most {store.MAX_PARTS:,} instances; for each {multipart.MAX_PART_HEADER:,} bytes of header and "
        f"{part10.MAX_META:,} bytes of File Meta Information. An instance is acknowledged as by C-STORE: its data and "
        "its entry in the queue are on the disk. The data set is kept byte by byte; preamble and File Meta Information "
        "are written again. SOP Classes and Transfer Syntaxes are those of 4.2.1 and 4.2.2. The response is "
        "application/dicom+json or application/dicom+xml; a part that names no instance is in Other Failures Sequence "
        "(0008,119A)."
    )
    reasons = [(f"{each.code:04X}", each.cause) for each in tables.FAILURES]
    tables_ = [_grid(("HTTP status", "When"), *tables.STORE_STATUSES), _grid(("Failure Reason", "When"), *reasons)]
    return "\n\n".join([text, *tables_])


def _search() -> str:
    text = (
        "`GET /studies`, `/series`, `/instances`, `/studies/{study}/series`, `/studies/{study}/instances` and "
        "`/studies/{study}/series/{series}/instances` answer with application/dicom+json. Originals and results are "
        "found as long as they are on the disk. Matching: single value, list of UIDs, universal, wildcard, range; a "
        "study or series matches if one of its instances does. Names are compared without regard to case. "
        f"`limit` (at most {matching.MAX_LIMIT:,}, the default), `offset`, `includefield` (a keyword or tag below, or "
        "`all`); `fuzzymatching=true` and every other key are refused with 400. Where results or fields are left out, "
        "a Warning header says so."
    )
    rows = [
        (level, *(", ".join(names[level]) for names in (tables.MATCHED, tables.RETURNED, tables.INCLUDED)))
        for level in tables.LEVELS
    ]
    return f"{text}\n\n" + _grid(("Level", "Keys, also returned", "Returned", "With includefield"), *rows)


def _retrieve() -> str:
    text = (
        "`GET` of `/studies/{study}`, `.../series/{series}` and `.../instances/{instance}`: multipart/related; "
        "type=application/dicom, or for an instance application/dicom, each file as it is stored: none is converted. "
        f"Without a parameter transfer-syntax that is {services.TRANSFER_SYNTAXES[0].name}, and 406 for an instance in "
        "another; `transfer-syntax=*` takes all. `.../metadata`: application/dicom+json, without group 7FE0 and "
        "without longer binary, text and numeric values, for which there is no bulk data resource. Refused by name: "
        f"{', '.join(tables.REFUSED_RESOURCES)}."
    )
    return f"{text}\n\n" + _grid(("HTTP status", "When"), *tables.READ_STATUSES)
