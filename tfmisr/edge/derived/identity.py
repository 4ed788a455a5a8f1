"""Writes UIDs, series, dates and Image Type of a derived image (D-01 to D-06, D-10, D-11)."""

import datetime
import uuid

import pydicom
from pydicom.uid import UID, PositronEmissionTomographyImageStorage, generate_uid

from tfmisr.edge import element_values
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.derived import texts, verbatim
from tfmisr.edge.derived.eligibility import ENHANCED, FLUOROSCOPY, ULTRASOUND
from tfmisr.edge.derived.product import NAMESPACE, Product


def identify(
    target: verbatim.Verbatim, product: Product, when: datetime.datetime, series_start: datetime.datetime | None
) -> None:
    """Writes the identity of the derived SOP Instance.

    Attributes of patient, study, frame of reference and acquisition are not changed (D-03).

    Args:
        target: Copy of the source, changed in place.
        product: Determines the UIDs together with those of the source.
        when: Time of processing, with a time zone.
        series_start: Time when processing of the series started; `None` if unknown.
    """
    source = target.SOPInstanceUID, target.SeriesInstanceUID
    own = [product.intensities, product.applicability and f"applicability {product.applicability}"]
    target.SOPInstanceUID = derived_uid(product, "instance", *source, *filter(None, own))
    target.SeriesInstanceUID = derived_uid(product, "series", source[1])
    target.SeriesNumber = int(target.get("SeriesNumber") or 0) + product.series_number_offset
    texts.append(target, "SeriesDescription", "LO", product.label, 64)
    for event, time in {"InstanceCreation": when, "Content": when, "Series": series_start}.items():
        write_date(target, event, time)
    if target.SOPClassUID in ENHANCED:
        enhanced_type(target)
    else:
        target.ImageType = image_type(target, product)


def derived_uid(product: Product, *parts: str) -> UID:
    """Returns a UID that is a hash of the product and the parts (D-02, D-04).

    Args:
        product: The producer; its `key` is part of the hash.
        *parts: Such as the UID of the source.
    """
    names = [product.key, *map(str, parts)]
    if product.uid_root == "2.25":
        return UID(f"2.25.{uuid.uuid5(NAMESPACE, '|'.join(names)).int}")
    return generate_uid(prefix=f"{product.uid_root}.", entropy_srcs=names)


def write_date(target: pydicom.Dataset, event: str, when: datetime.datetime | None) -> None:
    """Writes a date and time, or removes them if `when` is `None`; those of the acquisition are kept (D-06)."""
    target.pop(f"{event}Date", None)
    target.pop(f"{event}Time", None)
    if when is not None:
        when = local_time(target, when)
        target[f"{event}Date"] = pydicom.DataElement(f"{event}Date", "DA", when.strftime("%Y%m%d"))
        target[f"{event}Time"] = pydicom.DataElement(f"{event}Time", "TM", when.strftime("%H%M%S.%f"))


def local_time(target: pydicom.Dataset, when: datetime.datetime) -> datetime.datetime:
    """Returns `when` in the time zone of Timezone Offset From UTC (0008,0201), which applies to all times (C.12.1)."""
    return when.astimezone(element_values.time_zone(target))


def image_type(target: pydicom.Dataset, product: Product) -> list[str]:
    """Returns DERIVED, SECONDARY, value 3 of the source, and the marker after all other values (D-10, D-11).

    PET allows only PRIMARY (C.8.9.4.1.1). Value 3 of XA and RF images states single plane or biplane, and must not be
    empty (C.8.7.1.1.1): where the source lacks it, the marker is omitted.
    """
    types = target.get("ImageType") or []
    types = [types] if isinstance(types, str) else list(types)
    rest = [value for value in types[2:] if value != product.marker] or [""]
    if target.SOPClassUID in ULTRASOUND and len(rest) < 2:
        rest += [""]  # value 4 is the type of ultrasound image (C.8.5.6.1.1)
    second = "PRIMARY" if target.SOPClassUID == PositronEmissionTomographyImageStorage else "SECONDARY"
    if target.SOPClassUID in FLUOROSCOPY and rest == [""]:
        return ["DERIVED", second]
    return ["DERIVED", second, *rest, product.marker]


def enhanced_type(target: pydicom.Dataset) -> None:
    """Writes the four values of Image Type and each Frame Type; the second is always PRIMARY (C.8.16.1).

    Args:
        target: An Enhanced object, changed in place.
    """
    holders = [(target, "ImageType")]
    for group in functional_groups(target):
        for keyword in ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence"):
            holders += [(item, "FrameType") for item in group.get(keyword) or ()]
    for holder, keyword in holders:
        types = list(holder.get(keyword) or [])
        third = types[2] if len(types) > 2 and types[2] else "VOLUME"
        setattr(holder, keyword, ["DERIVED", "PRIMARY", third, "RESAMPLED"])


def functional_groups(ds: pydicom.Dataset) -> list[pydicom.Dataset]:
    """Returns the Items of the shared functional groups, then those of the frames (C.7.6.16)."""
    shared = ds.get("SharedFunctionalGroupsSequence") or []
    return [*shared, *(ds.get("PerFrameFunctionalGroupsSequence") or [])]


__getattr__ = renamed(__name__, new_uid="derived_uid")
