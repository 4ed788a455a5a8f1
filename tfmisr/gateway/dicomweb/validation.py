"""Checks the table `dicomweb` and the sources that use it (G-16, G-19)."""

import re
from collections.abc import Iterator

from tfmisr.gateway.config import Config, Source
from tfmisr.gateway.config_file import Problem


def problems(settings: Config) -> Iterator[Problem]:
    """Yields what is wrong."""
    for index, source in enumerate(settings.sources):
        for key, text in _of_source(source, settings):
            yield Problem("sources", index, key, text)
    users = [(i, each) for i, each in enumerate(settings.sources) if each.dicomweb]
    for number, (index, source) in enumerate(users):
        for _, other in users[:number]:
            if (other.address, other.certificate) == (source.address, source.certificate):
                text = f"expected another address or certificate than that of {other.ae_title}"
                yield Problem("sources", index, "dicomweb", text)
    if settings.dicomweb:
        yield from _of_table(settings, bool(users))


def _of_source(source: Source, settings: Config) -> Iterator[tuple[str, str]]:
    if not source.dicomweb:
        for key in ("retrieve", "certificate"):
            if getattr(source, key):
                yield key, f"{key} needs dicomweb = true"
        return
    if settings.dicomweb is None:
        yield "dicomweb", "dicomweb = true needs a table [dicomweb]"
    if source.certificate and settings.tls is None:
        yield "certificate", "certificate needs a table [tls]"
    if not source.address and not source.certificate:
        needed = "an address or a certificate" if settings.tls else "an address, or a table [tls] and a certificate"
        yield "dicomweb", f"expected {needed}: the AE title of a source is not part of HTTP"


def _of_table(settings: Config, is_used: bool) -> Iterator[Problem]:
    web = settings.dicomweb
    if not web.address:
        yield Problem("dicomweb", 0, "address", "expected an address. Received: an empty string")
    if not re.fullmatch(r"(/[\w.~-]+)*", web.path, re.ASCII):
        yield Problem("dicomweb", 0, "path", f"expected a path as /dicom-web, or none. Received: {web.path}")
    if not is_used:
        yield Problem("dicomweb", 0, "", "nobody may use it: expected dicomweb = true in one of the sources")
    others = [("node", settings.node.port)]
    others += [("monitoring", settings.monitoring.port)] if settings.monitoring else []
    for name, port in others:
        if port and port == web.port:
            yield Problem("dicomweb", 0, "port", f"expected another port than that of {name}. Received: {web.port}")
