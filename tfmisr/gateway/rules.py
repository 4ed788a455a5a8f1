"""Routing: which rule of the configuration applies to an object, and which series it belongs to."""

import contextlib

import pydicom

from tfmisr.gateway import header as header_reading
from tfmisr.gateway.config import Config, Rule
from tfmisr.gateway.schema import Member

NO_SERIES = "its Series Instance UID is missing"


def select(settings: Config, header: pydicom.Dataset, calling_ae: str) -> Rule | None:
    """Returns the first rule whose conditions all hold, or `None`.

    Args:
        settings: The configuration.
        header: Data set with SOP Class UID, Modality, Body Part Examined and Image Type, as far as present.
        calling_ae: AE title of the sender.
    """
    return next((rule for rule in settings.rules if _applies(rule, header, calling_ae)), None)


def _applies(rule: Rule, header: pydicom.Dataset, calling_ae: str) -> bool:
    conditions = (
        (rule.calling_ae, calling_ae),
        (rule.modality, _text(header, "Modality")),
        (rule.body_part, _text(header, "BodyPartExamined")),
        (rule.sop_class, _text(header, "SOPClassUID")),
    )
    types = {str(value).strip() for value in _values(header.get("ImageType"))}
    return all(not allowed or value in allowed for allowed, value in conditions) and types.issuperset(rule.image_type)


def _text(header: pydicom.Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()


def _values(value) -> list:
    return list(value) if isinstance(value, list | tuple | pydicom.multival.MultiValue) else [value] if value else []


def destinations(settings: Config, rule: Rule, calling_ae: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the destinations of the object and of its result.

    An object does not go back to the AE that sent it, so that two nodes never send it to and fro; its result may.
    """
    titles = {each.name: each.ae_title for each in settings.destinations}
    original = tuple(name for name in rule.destinations if titles[name] != calling_ae)
    return original, rule.destinations if rule.model or rule.volume else ()


def tags(settings: Config) -> tuple[str, ...]:
    """Returns the keywords of Attributes that the rules need."""
    more = header_reading.SERIES_TAGS if any(rule.volume for rule in settings.rules) else ()
    return (*header_reading.TAGS, *more)


def member(rule: Rule, header: pydicom.Dataset) -> Member | None:
    """Returns what an object says about its series; `None` where the rule has no volume method, or it has no series."""
    uid = _text(header, "SeriesInstanceUID") if rule.volume else ""
    if not uid:
        return None
    return Member(uid, rule.volume, str(rule.spacing), rule.complete_after_seconds, _expected(rule, header))


def _expected(rule: Rule, header: pydicom.Dataset) -> int:
    """Returns the number of images of a series; 0 where the Attribute that should state it is missing or broken."""
    if isinstance(rule.expected_images, int):
        return rule.expected_images
    with contextlib.suppress(Exception):  # the value is the sender's; without it the time decides
        return max(int(header.get(rule.expected_images) or 0), 0)
    return 0


def reason(rule: Rule, series: Member | None) -> str:
    """Returns why there is nothing to process, or an empty string."""
    if rule.volume:
        return "" if series else NO_SERIES
    return "" if rule.model else "by rule"
