"""DICOM conformance statement in the layout of PS3.2, made from the tables that the node itself uses (G-22)."""

from pydicom.uid import UID

import tfmisr
from tfmisr.edge.derived.product import IMPLEMENTATION_CLASS_UID
from tfmisr.gateway import config, receiver, rules, services, tls
from tfmisr.gateway.dicomweb import conformance as web_conformance
from tfmisr.gateway.incoming import SUFFIX

_OVERVIEW = """\
The node receives composite objects with the Storage Service Class, keeps them on its disk, and sends them on unchanged.
For images that a rule names it makes a derived image of higher resolution and sends it after the original; of CT and MR
series that a rule names, a derived series of thinner slices. With a table `dicomweb` it also receives over DICOMweb,
and answers searches and retrievals of what its disk still holds. It has no query and no retrieval over DIMSE, no
modality worklist, no media and no printing."""

_ANNEX = """\
Attributes of derived images: docs/conformance.md of this release. Those that the node makes state no time of
processing, unless `record_times` is configured: Instance Creation Date and Time, Series Date and Time and Contribution
DateTime are absent, and Content Date and Time have no value where the source has one. The same source gives the same
bytes each time. Enhanced images are excepted: Content Date and Time are Type 1 there."""


def statement() -> str:
    """Returns the conformance statement in Markdown."""
    sections = (
        ("# DICOM conformance statement: tfmisr gateway", f"Version {tfmisr.__version__}."),
        ("## 1 Conformance statement overview", _OVERVIEW + "\n\n" + _services()),
        ("## 3 Introduction", "Terms are those of PS3.1 to PS3.8. SCP: Service Class Provider; SCU: user."),
        ("## 4 Networking", ""),
        ("### 4.1 Implementation model", _model()),
        ("### 4.2 AE specifications", _policies()),
        ("#### 4.2.1 SOP Classes", _classes()),
        ("#### 4.2.2 Transfer Syntaxes", _syntaxes()),
        ("#### 4.2.3 Association acceptance", _acceptance()),
        ("#### 4.2.4 Status of C-STORE responses of the node (SCP)", _statuses()),
        ("#### 4.2.5 Behavior on C-STORE responses of a destination (SCU)", _outcomes()),
        *web_conformance.sections(),
        ("### 4.3 Network interfaces", "TCP/IP, IPv4 and IPv6. Address and port are configured; none is fixed."),
        ("### 4.4 Configuration", _configuration()),
        ("## 5 Media interchange", "None."),
        ("## 6 Support of character sets", "Objects are not decoded but for rules, which compare the repertoire of CS "
         "and UI, so every Specific Character Set is kept. Derived images keep that of their source."),
        ("## 7 Security", _security()),
        ("## 8 Annexes", _ANNEX),
    )  # fmt: skip
    return "\n\n".join(part for section in sections for part in section if part)


def _grid(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _services() -> str:
    rows = [("Storage", "yes", "yes"), ("Verification", "no", "yes"), ("Storage Commitment Push Model", "yes", "no")]
    rows.append(("DICOMweb Studies Service, Store transaction (STOW-RS)", "user agent", "origin server"))
    rows.append(("DICOMweb Studies Service, Search transaction (QIDO-RS)", "no", "origin server"))
    rows.append(("DICOMweb Studies Service, Retrieve transaction (WADO-RS)", "no", "origin server"))
    return _grid(("Service", "SCU", "SCP"), rows)


def _model() -> str:
    return (
        "One Application Entity is SCP of Storage and Verification, and SCU of Storage. An object is acknowledged when "
        f"its data (first a file `*{SUFFIX}`) and its entry in the queue are flushed to the disk. It is sent to "
        "each destination of its rule, not to the AE that sent it; a derived image follows once its source was stored "
        "there. Where a rule names a volume method, objects are sent on like others and grouped by Series Instance UID "
        "and calling AE title. A group is complete with the number of images that is configured or that "
        f"{' or '.join(rules.COUNTS)} states, else after {config.Rule.complete_after_seconds:g} s (configured) "
        "without a new one. One derived series is made of it, and sent to a destination once that has stored all "
        "objects of the group; a series with fewer images than that number, missing slices or more than one spacing "
        "has none. An object that comes later is sent on; it opens a group without a derived series again, and changes "
        "nothing otherwise. "
        "A response that is lost leads to a second C-STORE of the same instance: delivery is at least once. "
        "Where a destination is configured so, N-ACTION asks it to commit what it has stored, again after "
        f"{config.Destination.commitment_seconds:g} s (configured) without a report; N-EVENT-REPORT is accepted on "
        "that association and on one that the destination requests. Until the commitment the object is kept. "
        "A destination may take objects by STOW-RS (PS3.18 10.5) instead of C-STORE: one in each request, as "
        "application/dicom; the response is asked for as application/dicom+json. It has stored an object which the "
        "response names so; failure and warning reasons are treated as the statuses below, HTTP status 408, 425, 429 "
        "and 5xx as out of resources, any other as refused."
    )


def _policies() -> str:
    rows = [
        ("Application context name", "1.2.840.10008.3.1.1.1"),
        ("Implementation class UID", IMPLEMENTATION_CLASS_UID),
        ("Implementation version name", services.IMPLEMENTATION_VERSION_NAME),
        ("Maximum PDU length received", f"{receiver.MAX_PDU:,} bytes"),
        ("Associations accepted at the same time", f"configured; default {config.Node.max_associations}"),
        ("Associations requested at the same time", "one for each destination"),
        ("Outstanding asynchronous operations", "one; the window is not negotiated"),
        ("Presentation contexts of a request", f"one for each SOP Class and syntax, at most {services.MAX_CONTEXTS}"),
    ]
    return _grid(("Policy", "Value"), rows)


def _classes() -> str:
    rows = [(UID(each).name, str(each), "SCU and SCP") for each in services.STORAGE_CLASSES]
    rows.append((UID(services.COMMITMENT).name, str(services.COMMITMENT), "SCU"))
    rows.append((UID(services.VERIFICATION).name, str(services.VERIFICATION), "SCP"))
    return _grid(("SOP Class", "UID", "Role"), rows)


def _syntaxes() -> str:
    text = (
        "Each is accepted for each storage SOP Class; an object is sent in the one it came in. None is converted.\n\n"
    )
    return text + _grid(("Transfer Syntax", "UID"), [(each.name, str(each)) for each in services.TRANSFER_SYNTAXES])


def _acceptance() -> str:
    rows = [(str(e.result), str(e.source), str(e.reason), e.text, e.cause) for e in services.REJECTIONS]
    text = (
        "Among the Transfer Syntaxes that a presentation context proposes the node takes the first in the table above. "
        "An association that proposes nothing but Verification is accepted while the disk is full.\n\n"
    )
    return text + _grid(("Result", "Source", "Reason", "Meaning", "When"), rows)


def _statuses() -> str:
    rows = [(f"{each.code:04X}", each.comment or "Success", each.cause) for each in services.STATUSES]
    return _grid(("Status", "Error Comment (0000,0902)", "When"), rows)


def _outcomes() -> str:
    return _grid(("Status", "Outcome", "Meaning"), [(code, name, text) for code, name, text in services.OUTCOMES])


def _configuration() -> str:
    node = config.Node
    rows = [
        ("acse_timeout", f"{node.acse_timeout:g} s; a connection without an association is closed after it"),
        ("dimse_timeout", f"{node.dimse_timeout:g} s"),
        ("network_timeout", f"{node.network_timeout:g} s; a silent association, or a PDU that has not come, ends it"),
        ("quarantine_mb", f"{node.quarantine_mb:g} MB for objects that come with the UID of another one"),
        ("retry_seconds", f"{config.Destination.retry_seconds:g} s, doubled up to the cap"),
        ("retry_cap_seconds", f"{config.Destination.retry_cap_seconds:g} s"),
        ("attempts", f"{config.Destination.attempts}, where a destination refuses an object"),
        ("complete_after_seconds", f"{config.Rule.complete_after_seconds:g} s, of a series with a volume method"),
    ]
    return _grid(("Parameter", "Default"), rows)


def _security() -> str:
    return (
        "Without a table `tls` connections are plain TCP. With it, in both directions: TLS 1.2 or later, "
        f"authentication of both sides by certificates, the cipher suites `{tls.CIPHERS}` (OpenSSL's notation) for "
        "TLS 1.2, as the BCP 195 TLS Secure Transport Connection Profile (PS3.15 B.9) recommends. The AE title of a "
        "caller, and where configured its IP address, must be listed. User identity is not negotiated. DICOMweb uses "
        "the same certificates; see 4.2.6."
    )
