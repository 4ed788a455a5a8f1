"""Checks a configuration before the node starts: AE titles, ports, rules, models, folders, certificates (G-19)."""

import contextlib
import dataclasses
import datetime
import ipaddress
import math
import os
import pathlib
import re
from collections.abc import Iterator

from pydicom import uid

from tfmisr import classical
from tfmisr.edge import card, resize, shipped
from tfmisr.edge.errors import InputError, hint
from tfmisr.gateway import authenticity, config, config_file, series_validation, services, tls
from tfmisr.gateway.config import Config, Rule
from tfmisr.gateway.config_file import Problem
from tfmisr.gateway.dicomweb import validation as dicomweb
from tfmisr.gateway.toml_lines import Lines

_LEAST = {
    "node": {"port": 0, "max_associations": 1, "acse_timeout": 0.1, "dimse_timeout": 0.1, "network_timeout": 0.1}
    | {"reserve_mb": 0, "keep_hours": 0, "quarantine_mb": 0},
    "processing": {"processes": 1, "threads": 1, "timeout": 0.1, "attempts": 1, "retry_seconds": 0.01}
    | {"volume_timeout": 0.1, "volume_memory_gb": 0.1},
    "monitoring": {"port": 0},
    "dicomweb": {"port": 0, "max_connections": 1},
    "destinations": {"port": 1, "retry_seconds": 0.01, "retry_cap_seconds": 0.01, "attempts": 1}
    | {"commitment_seconds": 1},
}


def read(path: str | os.PathLike, key: str | os.PathLike | None = None) -> Config:
    """Reads and checks a configuration.

    Args:
        path: The TOML file.
        key: PEM file of the public key with which the file and its models must be signed; `None` for no signatures.

    Raises:
        InputError: It is wrong, and the message names the line; or it is not signed.
    """
    path = pathlib.Path(path)
    if key is not None:
        key = pathlib.Path(key).expanduser().absolute()
        authenticity.require_configuration(path, key)
    values, text = config_file.parse_toml(path)
    settings = config_file.build(path, values, text)
    settings = dataclasses.replace(settings, rules=tuple(_resolved(rule, path.parent) for rule in settings.rules))
    settings = dataclasses.replace(settings, signed_by=key)
    for problem in _problems(settings):
        raise config_file.located(path, Lines(text), problem)
    return settings


def _resolved(rule: Rule, folder: pathlib.Path) -> Rule:
    """Returns a rule with SOP Classes as UIDs and the path of a model file relative to the configuration."""
    classes = tuple(str(getattr(uid, name, name)) if name.isidentifier() else name for name in rule.sop_class)
    model = rule.model
    if model and not _is_name(model) and (folder / model.removesuffix("+")).exists():
        model = str((folder / model).absolute())
    return dataclasses.replace(
        rule, sop_class=classes, model=model, volume=series_validation.resolved(rule.volume, folder)
    )


def _is_name(model: str) -> bool:
    return shipped.is_name(model.removesuffix("+")) or model in (*resize.METHODS, *classical.METHODS)


def _problems(settings: Config) -> Iterator[Problem]:
    yield from _signature_problems(settings)  # first: the card of an unsigned model is not read
    yield from _number_problems(settings)
    yield from _peer_problems(settings)
    for index, rule in enumerate(settings.rules):
        for key, text in _rule_problems(rule, settings):
            yield Problem("rules", index, key, text)
    yield from dicomweb.problems(settings)
    yield from _spool_problems(settings)
    yield from _tls_problems(settings)


def _signature_problems(settings: Config) -> Iterator[Problem]:
    for index, rule in enumerate(settings.rules):
        for key in ("model", "volume"):
            try:
                if getattr(rule, key) and settings.signed_by:
                    authenticity.require_model(getattr(rule, key), settings.signed_by)
            except InputError as error:
                yield Problem("rules", index, key, str(error))


def _number_problems(settings: Config) -> Iterator[Problem]:
    for table, least in _LEAST.items():
        found = getattr(settings, table)
        for index, item in enumerate(found if isinstance(found, tuple) else [found] if found else []):
            for key, minimum in least.items():
                value = getattr(item, key)
                if not math.isfinite(value) or value < minimum:
                    yield Problem(table, index, key, f"expected {key} of at least {minimum}. Received: {value}")
                if key == "port" and value > 65535:
                    yield Problem(table, index, key, f"expected a port up to 65535. Received: {value}")


def _peer_problems(settings: Config) -> Iterator[Problem]:
    holders = [("node", 0, settings.node)]
    holders += [("sources", i, each) for i, each in enumerate(settings.sources)]
    holders += [("destinations", i, each) for i, each in enumerate(settings.destinations)]
    for table, index, each in holders:
        if problem := ae_title_problem(each.ae_title):
            yield Problem(table, index, "ae_title", problem)
    for index, source in enumerate(settings.sources):
        if source.address and not _is_address(source.address):
            yield Problem("sources", index, "address", f"expected an IP address. Received: {source.address}")
    names = [destination.name for destination in settings.destinations]
    for index, name in enumerate(names):
        if not name or name in names[:index]:
            yield Problem(
                "destinations", index, "name", f"expected another name for each destination. Received: {name}"
            )
    for index, each in enumerate(settings.destinations):
        if (each.ae_title, each.port) == (settings.node.ae_title, settings.node.port) and _is_here(each, settings.node):
            yield Problem("destinations", index, "address", f"{each.name} is this node itself")
        if each.stow_path and not re.fullmatch(r"/[!-~]*", each.stow_path):
            yield Problem(
                "destinations", index, "stow_path", f"expected a path as /studies. Received: {each.stow_path}"
            )
        if each.stow_path and each.storage_commitment:
            yield Problem("destinations", index, "storage_commitment", "not offered with stow_path")
    for table, index, each in (holders[0], *holders[1 + len(settings.sources) :]):
        if not each.address:
            yield Problem(table, index, "address", "expected an address. Received: an empty string")


def _is_here(destination: config.Destination, node: config.Node) -> bool:
    """Whether a destination has an address of the node, as far as the configuration says."""
    return destination.address in (node.address, "localhost", "127.0.0.1", "::1")


def ae_title_problem(title: str) -> str:
    """Returns what is wrong with an AE title (PS3.5 6.2), or an empty string."""
    if not 1 <= len(title) <= 16 or title != title.strip() or not title.isascii() or "\\" in title:
        return (
            f"expected an AE title of 1 to 16 ASCII characters without a backslash or outer spaces. Received: {title}"
        )
    return ""


def _is_address(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(text))
    return False


def _rule_problems(rule: Rule, settings: Config) -> Iterator[tuple[str, str]]:
    names = [destination.name for destination in settings.destinations]
    if not rule.destinations:
        yield "destinations", "expected at least one destination"
    if len(set(rule.destinations)) < len(rule.destinations):
        yield "destinations", "expected each destination once"
    for name in rule.destinations:
        if name not in names:
            yield "destinations", f"unknown destination {name}{hint(name, names)}; expected {', '.join(names)}"
    titles = [source.ae_title for source in settings.sources]
    for title in rule.calling_ae:
        if title not in titles:
            yield "calling_ae", f"{title} is not among the sources{hint(title, titles)}"
    for sop_class in rule.sop_class:
        if sop_class not in services.STORAGE_CLASSES:
            yield "sop_class", f"expected a storage SOP Class as UID or keyword. Received: {sop_class}"
    if rule.send not in config.SEND:
        yield "send", f"expected {' or '.join(config.SEND)}. Received: {rule.send}"
    elif rule.send == config.SEND[0] and (rule.model or rule.scale):
        yield "model" if rule.model else "scale", "a rule with send = 'original only' has no model and no scale"
    elif rule.volume or series_validation.changed(rule):
        yield from series_validation.problems(rule)
    elif rule.send == config.SEND[1] and (problem := model_problem(rule.model, rule.scale)):
        yield "model", problem


def model_problem(model: str, scale: int) -> str:
    """Returns what is wrong with a model and its scale (0 for the model's own), or an empty string."""
    if not model:
        return "a rule with send = 'original and result' needs a model or a volume method"
    if model in (*resize.METHODS, *classical.METHODS):
        return "" if 2 <= scale <= 16 else f"{model} needs a scale from 2 to 16. Received: {scale}"
    name = model.removesuffix("+")
    if not shipped.is_name(name) and not pathlib.Path(name).exists():
        names = [*shipped.names(), *resize.METHODS, *classical.METHODS]
        return f"expected a model's file or one of {', '.join(names)}. Received: {model}{hint(model, names, 0.6)}"
    try:
        own = _scale_of(name)
    except InputError as error:
        return str(error)
    if scale and own and scale != own:
        return f"{model} upscales by {own}. Received: scale = {scale}"
    return ""


def _scale_of(name: str) -> int | None:
    path = shipped.path(name) if shipped.is_name(name) else pathlib.Path(name)
    return int(card.read(path)["scale"]) if path.suffix == ".tflite" else None


def _spool_problems(settings: Config) -> Iterator[Problem]:
    folder = settings.node.spool
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield Problem("node", 0, "spool", f"expected a writable folder at {folder}")


def _tls_problems(settings: Config) -> Iterator[Problem]:
    if settings.tls is None:
        for index, destination in enumerate(settings.destinations):
            if destination.tls:
                yield Problem("destinations", index, "tls", "tls = true needs a table [tls] with certificates")
        return
    now = datetime.datetime.now(datetime.timezone.utc)
    for key in ("certificate", "ca"):
        try:
            expiry = tls.expiry(getattr(settings.tls, key))
        except InputError as error:
            yield Problem("tls", 0, key, str(error))
            return
        if expiry <= now:
            yield Problem("tls", 0, key, f"the certificate expired on {expiry:%Y-%m-%d}; renew it")
    try:
        tls.server_context(settings.tls)
        tls.client_context(settings.tls)
    except InputError as error:
        yield Problem("tls", 0, "key", str(error))
