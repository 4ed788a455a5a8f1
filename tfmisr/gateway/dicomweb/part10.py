"""Writes a DICOM file that arrives by HTTP as pynetdicom writes one that arrives by C-STORE.

The data set is kept byte by byte. Preamble and File Meta Information are written again from its three UIDs: a preamble
may hold a program (https://nvd.nist.gov/vuln/detail/CVE-2019-11687), private meta information names of patients.
"""

import dataclasses
import io
from collections.abc import Iterator

from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pynetdicom.dsutils import create_file_meta

from tfmisr.edge.derived.product import IMPLEMENTATION_CLASS_UID
from tfmisr.gateway import services
from tfmisr.gateway.incoming import IncomingFile

_START = 144  # bytes: preamble, DICM, File Meta Information Group Length (PS3.10 7.1)
MAX_META = 65_536  # bytes
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")  # PS3.5 7.1.2


class Unreadable(Exception):
    """No DICOM file."""


@dataclasses.dataclass(frozen=True)
class Meta:
    """UIDs of the File Meta Information (PS3.10 7.1)."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str


def receive(data: Iterator[bytes], file: IncomingFile) -> Meta:
    """Writes a DICOM file; an error of the disk is kept in `file`.

    Args:
        data: Pieces of the file as it was sent.
        file: Where to.

    Raises:
        Unreadable: It has no File Meta Information with its UIDs.
    """
    meta, rest = _meta(data)
    file.write(b"\0" * 128 + b"DICM")
    made = create_file_meta(
        sop_class_uid=meta.sop_class_uid,
        sop_instance_uid=meta.sop_instance_uid,
        transfer_syntax=meta.transfer_syntax,
        implementation_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version=services.IMPLEMENTATION_VERSION_NAME,
    )
    content = io.BytesIO()
    write_file_meta_info(content, made)
    file.write(content.getvalue())
    file.write(rest)
    for piece in data:
        file.write(piece)
    return meta


def _meta(data: Iterator[bytes]) -> tuple[Meta, bytes]:
    """Returns the UIDs, and what has been read of the data set."""
    head = _at_least(data, b"", _START)
    group_length = head[132:140]
    if head[128:132] != b"DICM" or group_length != b"\x02\x00\x00\x00UL\x04\x00":
        raise Unreadable
    length = _START + int.from_bytes(head[140:_START], "little")
    if length > MAX_META:
        raise Unreadable
    head = _at_least(data, head, length + 2)
    if _end_of_group(head) != length:
        raise Unreadable
    try:
        found = read_dataset(io.BytesIO(head[132:length]), False, True)
        uids = [found.MediaStorageSOPClassUID, found.MediaStorageSOPInstanceUID, found.TransferSyntaxUID]
        meta = Meta(*(str(each) for each in uids))
    except Exception as error:
        raise Unreadable from error
    if not all(dataclasses.astuple(meta)):
        raise Unreadable
    return meta, head[length:]


def _end_of_group(head: bytes) -> int:
    """Returns where the last element of group 0002 ends: a group length that is wrong would cost or add elements."""
    end = _START
    while head[end : end + 2] == b"\x02\x00":
        long = head[end + 4 : end + 6] in _LONG
        size = head[end + 8 : end + 12] if long else head[end + 6 : end + 8]
        end += (12 if long else 8) + int.from_bytes(size, "little")
    return end


def _at_least(data: Iterator[bytes], head: bytes, length: int) -> bytes:
    while len(head) < length:
        piece = next(data, None)
        if piece is None:
            raise Unreadable
        head += piece
    return head
