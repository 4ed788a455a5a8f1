"""`python -m tfmisr.gateway check`: prints what the node would do with a configuration (G-19)."""

import contextlib
import datetime

from tfmisr.gateway import operating, tls
from tfmisr.gateway.config import Config, Rule, Source
from tfmisr.gateway.spool import Spool

DAYS_BEFORE_EXPIRY = 30


def report(settings: Config) -> list[str]:
    """Returns lines on a valid configuration; those that begin with `warning:` should be looked at."""
    node = settings.node
    security = "TLS with certificates of both sides" if settings.tls else "no TLS"
    lines = [
        f"{node.ae_title} listens on {node.address} port {node.port}, {security}, at most {node.max_associations} "
        "associations",
        f"spool {node.spool}: objects are kept for {node.keep_hours:g} h after the last destination has them; nothing "
        f"is accepted with less than {node.reserve_mb:g} MB free",
    ]
    if web := settings.dicomweb:
        http = "HTTPS with certificates of both sides" if settings.tls else "HTTP without TLS"
        place = f"{web.address} port {web.port}, path {web.path}/studies"
        lines.append(f"DICOMweb on {place}, {http}, at most {web.max_connections} connections")
    lines += [_source(each) for each in settings.sources]
    if settings.signed_by:
        lines.append(f"configuration and models are signed with the key {settings.signed_by}")
    lines += [_destination(each) for each in settings.destinations]
    lines += [f"rule {number}: {_rule(rule)}" for number, rule in enumerate(settings.rules, 1)]
    lines.append(f"at most {node.quarantine_mb:g} MB of objects that come with the UID of another one are kept")
    lines += ["any other object is refused with status 0124"] if not _has_catch_all(settings) else []
    return [*lines, *_warnings(settings)]


def _source(each: Source) -> str:
    line = f"accepts {each.ae_title} from {each.address or 'any address'}"
    if each.dicomweb:
        line += f" with a certificate of {each.certificate}" if each.certificate else ""
        line += f" over DICOMweb: it may store{', search and retrieve' if each.retrieve else ''}"
    return line


def _destination(each) -> str:
    line = f"sends to {each.name}: {each.ae_title} at {each.address} port {each.port}{', TLS' if each.tls else ''}"
    line += f", STOW-RS {each.stow_path}" if each.stow_path else ""
    return line + (", objects are kept until it has committed them" if each.storage_commitment else "")


def _rule(rule: Rule) -> str:
    conditions = {
        "calling AE": rule.calling_ae,
        "Modality": rule.modality,
        "Body Part Examined": rule.body_part,
        "SOP Class": rule.sop_class,
    }
    parts = [f"{name} is {' or '.join(values)}" for name, values in conditions.items() if values]
    parts += [f"Image Type has {' and '.join(rule.image_type)}"] if rule.image_type else []
    scale = f" x{rule.scale}" if rule.scale else ""
    what = f"the original, then the result of {rule.model}{scale}" if rule.model else "the original"
    what = f"the original, then {_volume(rule)}" if rule.volume else what
    return f"if {' and '.join(parts) or 'no rule before applies'}: {what} to {', '.join(rule.destinations)}"


def _volume(rule: Rule) -> str:
    spacing = "the pixel spacing" if rule.spacing == "iso" else f"{rule.spacing:g} mm"
    count = f"{rule.expected_images} images, else " if rule.expected_images else ""
    return (
        f"of each series that is complete ({count}{rule.complete_after_seconds:g} s without a new image) the slices at "
        f"{spacing} by {rule.volume}"
    )


def _has_catch_all(settings: Config) -> bool:
    return any(not _conditions(rule) for rule in settings.rules)


def _conditions(rule: Rule) -> tuple[str, ...]:
    return rule.calling_ae + rule.modality + rule.body_part + rule.sop_class + rule.image_type


def _waiting(settings: Config) -> list[str]:
    """Returns a warning for each destination that objects of the queue wait for and that the configuration lacks."""
    if not Spool(settings.node.spool).database.is_file():
        return []
    with contextlib.closing(operating.open_queue(settings)) as queue:
        counts = operating.waiting_for_nobody(queue, settings)
    return [
        f"warning: {count} deliveries wait for {name}, which is no destination: they stay until it is one again"
        for name, count in counts.items()
    ]


def _warnings(settings: Config) -> list[str]:
    lines = []
    used = {name for rule in settings.rules for name in rule.destinations}
    lines += [f"warning: no rule sends to {each.name}" for each in settings.destinations if each.name not in used]
    open_rules = [number for number, rule in enumerate(settings.rules, 1) if not _conditions(rule)]
    for number in range(min(open_rules, default=len(settings.rules)) + 1, len(settings.rules) + 1):
        lines.append(f"warning: rule {number} never applies: rule {open_rules[0]} has no conditions")
    lines += _waiting(settings)
    spool = Spool(settings.node.spool, settings.node.reserve_mb * 1e6)
    if spool.folder.is_dir() and not spool.has_space:
        lines.append(f"warning: only {spool.free / 1e6:,.0f} MB are free: nothing would be accepted now")
    if settings.tls:
        now = datetime.datetime.now(datetime.timezone.utc)
        days = (tls.expiry(settings.tls.certificate) - now).days
        if days < DAYS_BEFORE_EXPIRY:
            lines.append(f"warning: the certificate expires in {days} days")
    return lines
