"""TLS with authentication of both sides: TLS 1.2 or later, the suites of BCP 195 (PS3.15 B.9 and B.12)."""

import datetime
import pathlib
import ssl

from tfmisr.edge.errors import InputError
from tfmisr.gateway.config import Tls

# Forward secrecy and authenticated encryption (RFC 9325 4.2); TLS 1.3 has no others.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(files: Tls) -> ssl.SSLContext:
    """Returns the context of the receiver: a caller without a certificate of these authorities is refused.

    Raises:
        InputError: A file is missing, or key and certificate do not belong together.
    """
    return _context(files, ssl.PROTOCOL_TLS_SERVER)


def client_context(files: Tls) -> ssl.SSLContext:
    """Returns the context of the sender: certificate and host name of a destination are verified.

    Raises:
        InputError: As of `server_context`.
    """
    return _context(files, ssl.PROTOCOL_TLS_CLIENT)


def _context(files: Tls, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
        context.load_verify_locations(files.ca)
    except OSError as error:  # ssl.SSLError is one
        raise InputError(
            f"expected PEM files of a certificate, its key without a password, and authorities: "
            f"{error.strerror or type(error).__name__}"
        ) from error
    return context


def _no_password() -> str:
    """Stands for a prompt, for which a service would wait without end."""
    return ""


def expiry(path: pathlib.Path) -> datetime.datetime:
    """Returns when the first certificate of a PEM file expires.

    Raises:
        InputError: There is no certificate.
    """
    try:
        text = path.read_text(encoding="ascii")
        begin = text.index("-----BEGIN CERTIFICATE-----")
        end = text.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
        return _not_after(ssl.PEM_cert_to_DER_cert(text[begin:end]))
    except OSError as error:
        raise InputError(f"expected a certificate at {path}: {error.strerror}") from error
    except (ValueError, IndexError) as error:
        raise InputError(f"expected a PEM certificate at {path}") from error


def _not_after(der: bytes) -> datetime.datetime:
    """Returns `notAfter` (RFC 5280 4.1): the second time of the fifth element of tbsCertificate, version included."""
    certificate = _elements(der)[0][1]
    fields = _elements(_elements(certificate)[0][1])
    validity = fields[4 if fields[0][0] == 0xA0 else 3][1]
    tag, value = _elements(validity)[1]
    text = value.decode("ascii")
    if tag == 0x17:  # UTCTime: two digits of the year, 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.timezone.utc)


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """Returns (tag, content) of the elements in a DER encoding."""
    found, position = [], 0
    while position < len(data):
        tag, length, position = data[position], data[position + 1], position + 2
        if length & 0x80:
            count = length & 0x7F
            length, position = int.from_bytes(data[position : position + count], "big"), position + count
        found.append((tag, data[position : position + length]))
        position += length
    return found
