"""Who a peer is: the entry of `sources` that fits its AE title, IP address and certificate (G-06, G-10)."""

import dataclasses
import ipaddress
from collections.abc import Iterable

from tfmisr.gateway.config import Source


@dataclasses.dataclass(frozen=True)
class Peer:
    """The other side of an HTTP connection.

    Attributes:
        address: IP address.
        names: DNS names and Common Names of its verified certificate; empty without TLS.
    """

    address: str
    names: frozenset[str] = frozenset()


def may_associate(source: Source, ae_title: str, address: str) -> bool:
    """Whether a source has this calling AE title and address; one of DICOMweb requests no association."""
    return source.ae_title == ae_title and not source.dicomweb and _has_address(source, address)


def of_dicomweb(sources: Iterable[Source], peer: Peer) -> Source | None:
    """Returns the first source of DICOMweb that a peer is, or `None`."""
    return next((source for source in sources if source.dicomweb and _is(source, peer)), None)


def _is(source: Source, peer: Peer) -> bool:
    return _has_address(source, peer.address) and (not source.certificate or source.certificate.lower() in peer.names)


def _has_address(source: Source, address: str) -> bool:
    return not source.address or same_address(source.address, address)


def same_address(first: str, second: str) -> bool:
    """Compares IP addresses; an IPv4 address may come as IPv6 (RFC 4291 2.5.5.2)."""
    one, other = ipaddress.ip_address(first), ipaddress.ip_address(second.partition("%")[0])
    return one in (other, getattr(other, "ipv4_mapped", None))


def certificate_names(certificate: dict | None) -> frozenset[str]:
    """Returns the DNS names (RFC 5280 4.2.1.6) and Common Names of a certificate, in lower case.

    Args:
        certificate: As of `ssl.SSLSocket.getpeercert`; `None` for none.
    """
    found = certificate or {}
    names = {value for kind, value in found.get("subjectAltName", ()) if kind == "DNS"}
    names |= {value for part in found.get("subject", ()) for kind, value in part if kind == "commonName"}
    return frozenset(name.lower() for name in names)
