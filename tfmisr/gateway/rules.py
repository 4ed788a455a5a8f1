"""Routing: which rule of the configuration applies to an object, and which series it belongs to."""

import contextlib
import pathlib

import pydicom

from tfmisr.gateway import header
from tfmisr.gateway.config import Config, Rule
from tfmisr.gateway.schema import Member

COUNTS = ("ImagesInAcquisition", "NumberOfSeriesRelatedInstances")  # what `expected_images` may name
NO_SERIES = "its Series Instance UID is missing, or cannot be read"


def select(settings: Config, found: pydicom.Dataset, calling_ae: str) -> Rule | None:
    """Returns the first rule whose conditions all hold, or `None`.

    Args:
        settings: The configuration.
        found: Data set with SOP Class UID, Modality, Body Part Examined and Image Type, as far as present.
        calling_ae: AE title of the sender.
    """
    return next((rule for rule in settings.rules if _applies(rule, found, calling_ae)), None)


def _applies(rule: Rule, found: pydicom.Dataset, calling_ae: str) -> bool:
    conditions = (
        (rule.calling_ae, calling_ae),
        (rule.modality, _text(found, "Modality")),
        (rule.body_part, _text(found, "BodyPartExamined")),
        (rule.sop_class, _text(found, "SOPClassUID")),
    )
    types = {str(value).strip() for value in _values(found.get("ImageType"))}
    return all(not allowed or value in allowed for allowed, value in conditions) and types.issuperset(rule.image_type)


def _text(found: pydicom.Dataset, keyword: str) -> str:
    return str(found.get(keyword) or "").strip()


def _values(value) -> list:
    return list(value) if isinstance(value, list | tuple | pydicom.multival.MultiValue) else [value] if value else []


def destinations(settings: Config, rule: Rule, calling_ae: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the destinations of the object and of its result.

    An object does not go back to the AE that sent it, so that two nodes never send it to and fro; its result may.
    """
    titles = {each.name: each.ae_title for each in settings.destinations}
    original = tuple(name for name in rule.destinations if titles[name] != calling_ae)
    return original, rule.destinations if rule.model or rule.volume else ()


def member(rule: Rule, path: pathlib.Path, syntax: str) -> Member | None:
    """Returns what an object says about its series; `None` where the rule has no volume method, or it has no series.

    Args:
        rule: The rule that applies to it.
        path: Its file.
        syntax: Its Transfer Syntax UID.
    """
    if not rule.volume:
        return None
    try:
        found = header.parse(path, syntax, ("SeriesInstanceUID", *COUNTS))
        uid = _text(found, "SeriesInstanceUID")
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001
        return None  # it is sent on all the same
    if not uid:
        return None
    return Member(uid, rule.volume, str(rule.spacing), rule.complete_after_seconds, _expected(rule, found))


def _expected(rule: Rule, found: pydicom.Dataset) -> int:
    """Returns the number of images of a series; 0 where the Attribute that should state it is missing or broken."""
    if isinstance(rule.expected_images, int):
        return rule.expected_images
    with contextlib.suppress(Exception):  # the value is the sender's; without it the time decides
        return max(int(found.get(rule.expected_images) or 0), 0)
    return 0


def reason(rule: Rule, series: Member | None) -> str:
    """Returns why there is nothing to process, or an empty string."""
    if rule.volume:
        return "" if series else NO_SERIES
    return "" if rule.model else "by rule"
