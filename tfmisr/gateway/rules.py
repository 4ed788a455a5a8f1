"""Routing: which rule of the configuration applies to an object."""

import pydicom

from tfmisr.gateway.config import Config, Rule


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
    return original, rule.destinations if rule.model else ()
