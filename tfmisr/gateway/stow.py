"""Sends to a destination over HTTP: the Store transaction of DICOMweb, STOW-RS (PS3.18 10.5; G-16).

One request for each object, streamed from its file as it is (multipart/related, application/dicom). It counts as stored
only where the response names it among the stored instances; the codes of failures and warnings are those of C-STORE.
"""

import contextlib
import http.client
import json
import pathlib
import ssl
import uuid
from collections.abc import Iterator

from pydicom.filereader import read_file_meta_info

from tfmisr.gateway import services, tls
from tfmisr.gateway.schema import Delivery
from tfmisr.gateway.sender import Sender, Unreachable

_CHUNK, _LONGEST_RESPONSE = 1 << 18, 1 << 20  # bytes
_STORED, _FAILED, _INSTANCE = "00081199", "00081198", "00081155"
_FAILURE_REASON, _WARNING_REASON = "00081197", "00081196"
_ANSWERS = (200, 202, 409)  # stored; some, or with warnings; none
_LATER = (408, 425, 429)  # and 5xx: the service is what is at fault


class _Connection(http.client.HTTPConnection):
    """HTTP in place of an association."""

    is_established = True


class _SecureConnection(http.client.HTTPSConnection):
    """HTTPS in place of an association."""

    is_established = True


class StowSender(Sender):
    """A sender to a destination with `stow_path`; all but the transfer is as with C-STORE."""

    @contextlib.contextmanager
    def _association(self, pairs: set[tuple[str, str]]) -> Iterator[http.client.HTTPConnection]:
        target, seconds = self._destination, self._settings.node.network_timeout
        try:
            if target.tls:
                context = tls.client_context(self._settings.tls)
                connection = _SecureConnection(target.address, target.port, timeout=seconds, context=context)
            else:
                connection = _Connection(target.address, target.port, timeout=seconds)
        except ValueError as error:  # InputError of the certificates
            raise Unreachable(f"no connection ({type(error).__name__})") from error
        with contextlib.closing(connection):
            yield connection

    def _send(self, connection: http.client.HTTPConnection, delivery: Delivery) -> None:
        path = self._spool.folder / delivery.file
        if not path.is_file():
            self._refused(delivery, "its file is missing in the spool", final=True)
            return
        try:
            uid = str(read_file_meta_info(path).MediaStorageSOPInstanceUID)
            status, body = self._post(connection, path, delivery.transfer_syntax)
        except (OSError, ssl.SSLError, http.client.HTTPException) as error:
            connection.close()
            raise Unreachable(f"the request failed ({type(error).__name__})", delivery) from error
        if status >= 500 or status in _LATER:
            raise Unreachable(f"HTTP status {status}", delivery)
        code = outcome(body, uid) if status in _ANSWERS else None
        if code is None:
            self._refused(delivery, f"HTTP status {status}, and nothing about the instance")
        else:
            self._conclude(delivery, path.stat().st_size, code)

    def _post(self, connection: http.client.HTTPConnection, path: pathlib.Path, syntax: str) -> tuple[int, bytes]:
        """Sends a file and returns the status and the body of the response."""
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom; transfer-syntax={syntax}\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        connection.putrequest("POST", self._destination.stow_path)
        connection.putheader("Accept", "application/dicom+json")
        connection.putheader("Content-Type", f'multipart/related; type="application/dicom"; boundary={boundary}')
        connection.putheader("Content-Length", str(len(head) + path.stat().st_size + len(tail)))
        connection.endheaders(head)
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                connection.send(chunk)
        connection.send(tail)
        with connection.getresponse() as response:
            body = response.read(_LONGEST_RESPONSE)
            if response.read(1):
                connection.close()
            return response.status, body


def outcome(body: bytes, uid: str) -> int | None:
    """Returns the code of an instance in a Store Instances Response (PS3.18 10.5.3.2, DICOM JSON).

    Args:
        body: Body of the response.
        uid: SOP Instance UID.

    Returns:
        0 or the Warning Reason of a stored instance, the Failure Reason of another one; `None` where the response does
        not name the instance or cannot be read.
    """
    try:
        response = json.loads(body)
        failed = [item for item in _items(response, _FAILED) if _value(item, _INSTANCE) == uid]
        if failed:
            code = _value(failed[0], _FAILURE_REASON)
            return code if isinstance(code, int) and services.outcome(code) != services.SENT else 0x0110
        stored = [item for item in _items(response, _STORED) if _value(item, _INSTANCE) == uid]
        code = _value(stored[0], _WARNING_REASON) if stored else None
        return None if not stored else code if code in services.WARNINGS else 0
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None


def _items(response: dict, tag: str) -> list[dict]:
    return response.get(tag, {}).get("Value") or []


def _value(item: dict, tag: str) -> object:
    values = item.get(tag, {}).get("Value")
    return values[0] if values else None
