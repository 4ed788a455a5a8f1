"""What the node offers and answers: SOP Classes, Transfer Syntaxes and C-STORE statuses (PS3.4 Annex B, PS3.7 C).

The receiver, the sender and the conformance statement use these tables.
"""

import dataclasses

from pydicom import uid
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance, Verification

import tfmisr
from tfmisr.edge.derived.product import IMPLEMENTATION_CLASS_UID

VERIFICATION = Verification
COMMITMENT, COMMITMENT_INSTANCE = StorageCommitmentPushModel, StorageCommitmentPushModelInstance
STORAGE_CLASSES = tuple(context.abstract_syntax for context in AllStoragePresentationContexts)
# Objects are kept and sent on as they came, so every encoding is accepted; none is converted. Of those that a
# presentation context offers, the first of this order is taken: explicit value representations keep most.
_FIRST = (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian)
TRANSFER_SYNTAXES = tuple(dict.fromkeys((*_FIRST, *map(uid.UID, ALL_TRANSFER_SYNTAXES))))
# Presentation context identifiers are the odd numbers of one byte (PS3.8 9.3.2.2).
MAX_CONTEXTS = 128
IMPLEMENTATION_VERSION_NAME = f"TFMISR_{tfmisr.__version__}"[:16]


@dataclasses.dataclass(frozen=True)
class Status:
    """A status of a C-STORE response.

    Attributes:
        code: Status (0000,0900).
        comment: Error Comment (0000,0902), at most 64 characters; no comment on success.
        cause: When the node answers with it.
    """

    code: int
    comment: str
    cause: str


STORED = Status(0x0000, "", "data and queue entry are on the disk, or were already: the same bytes came before")
NO_SPACE = Status(0xA700, "Out of resources: no space left", "the disk is full or below its reserve")
NOT_WRITTEN = Status(0xA700, "Out of resources: could not be stored", "the disk or the queue reports another error")
STOPPING = Status(0xA700, "Out of resources: the node is stopping", "the request came after SIGTERM")
MISMATCH = Status(0xA900, "Data set does not match SOP Class or Instance UID", "the command set names another UID")
UNPARSABLE = Status(0xC000, "Cannot understand: not a readable data set", "the data set is empty or broken")
CONFLICT = Status(0xC001, "Another instance with this UID was received", "the UID came before with other bytes")
QUARANTINE_FULL = Status(
    0xA700,
    "Out of resources: quarantine is full",
    "the UID came before with other bytes; quarantine is full, see `quarantine_mb`",
)
NOT_ACCEPTED = Status(0x0122, "SOP Class not accepted here", "the command set names a class that is not accepted")
NO_RULE = Status(0x0124, "Not authorized: no routing rule applies", "no rule of the configuration applies")
NOWHERE = Status(
    0x0124, "Not authorized: its only destination is its sender", "the object came from the only AE it would be sent to"
)
STATUSES = (
    *(STORED, NO_SPACE, NOT_WRITTEN, STOPPING, QUARANTINE_FULL, MISMATCH, UNPARSABLE, CONFLICT, NOT_ACCEPTED),
    *(NO_RULE, NOWHERE),
)


@dataclasses.dataclass(frozen=True)
class Rejection:
    """An A-ASSOCIATE-RJ (PS3.8 9.3.4): result, source, reason, and when it is sent."""

    result: int
    source: int
    reason: int
    text: str
    cause: str


CALLED_AE = Rejection(1, 1, 7, "called AE title not recognized", "the called AE title is not that of the node")
CALLING_AE = Rejection(1, 1, 3, "calling AE title not recognized", "AE title or IP address is not among the sources")
LOCAL_LIMIT = Rejection(
    2, 3, 2, "local limit exceeded", "too many associations, the disk is below its reserve, or the node is stopping"
)
REJECTIONS = (CALLED_AE, CALLING_AE, LOCAL_LIMIT)


def entity(ae_title: str, acse_timeout: float, dimse_timeout: float, network_timeout: float) -> AE:
    """Returns an application entity with the node's identity and time-outs, and without presentation contexts."""
    made = AE(ae_title=ae_title)
    made.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    made.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    made.acse_timeout, made.dimse_timeout = acse_timeout, dimse_timeout
    made.network_timeout = made.connection_timeout = network_timeout
    return made


# Statuses of a destination: what follows from them.
SENT, RETRY, REFUSED = "sent", "retry", "refused"
WARNINGS = (0xB000, 0xB006, 0xB007)
OUTCOMES = (
    ("0000", SENT, "stored"),
    ("B000, B006, B007", SENT, "stored, with a warning that is recorded"),
    ("A7xx", RETRY, "out of resources: sent again until it is stored"),
    ("any other", REFUSED, "sent again a number of times, then quarantined"),
)


def outcome(code: int) -> str:
    """Returns `SENT`, `RETRY` or `REFUSED` for the status of a destination's C-STORE response."""
    if code == 0x0000 or code in WARNINGS:
        return SENT
    return RETRY if 0xA700 <= code <= 0xA7FF else REFUSED
