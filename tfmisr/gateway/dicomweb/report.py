"""The Store Instances Response (PS3.18 10.5.3.2, Annex I.2) in DICOM JSON (Annex F) or XML (PS3.19 A.1)."""

import dataclasses
import json
import xml.etree.ElementTree as ET

from pydicom.datadict import keyword_for_tag

from tfmisr.gateway.dicomweb.messages import JSON
from tfmisr.gateway.services import STORED, Status

_RETRIEVE_URL, _FAILURE_REASON = "00081190", "00081197"
_CLASS, _INSTANCE = "00081150", "00081155"
_FAILED, _STORED, _OTHER = "00081198", "00081199", "0008119A"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one part of a request.

    Attributes:
        status: As of C-STORE.
        sop_class_uid: As the part names it; empty where it names none.
        sop_instance_uid: The same.
        study: Study Instance UID, where it is known.
        series: Series Instance UID, where it is known.
    """

    status: Status
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study: str = ""
    series: str = ""


def status_of(outcomes: list[Outcome]) -> int:
    """Returns the HTTP status for the outcomes of a request (PS3.18 Table 10.5.3-1)."""
    stored = [each.status is STORED for each in outcomes]
    if any(stored):
        return 200 if all(stored) else 202
    return 503 if all(0xA700 <= each.status.code <= 0xA7FF for each in outcomes) else 409


def body(outcomes: list[Outcome], studies_url: str, kind: str) -> bytes:
    """Returns the response.

    Args:
        outcomes: Of the parts, in order.
        studies_url: URL of the studies, for Retrieve URL (0008,1190).
        kind: `application/dicom+json` or `application/dicom+xml`.
    """
    found = data_set(outcomes, studies_url)
    return json.dumps(found).encode() if kind == JSON else _xml(found)


def data_set(outcomes: list[Outcome], studies_url: str) -> dict:
    """Returns the response as of DICOM JSON."""
    stored = [each for each in outcomes if each.status is STORED]
    failed = [each for each in outcomes if each.status is not STORED]
    studies = {each.study for each in stored}
    found = {}
    if len(studies) == 1 and (study := studies.pop()):
        found[_RETRIEVE_URL] = _element("UR", f"{studies_url}/{study}")
    sequences = {
        _FAILED: [_reference(each) | _reason(each) for each in failed if each.sop_instance_uid],
        _STORED: [_reference(each) | _url(each, studies_url) for each in stored],
        _OTHER: [_reason(each) for each in failed if not each.sop_instance_uid],
    }
    return found | {tag: _element("SQ", *items) for tag, items in sequences.items() if items}


def _element(vr: str, *values: object) -> dict:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def _reference(outcome: Outcome) -> dict:
    return {_CLASS: _element("UI", outcome.sop_class_uid), _INSTANCE: _element("UI", outcome.sop_instance_uid)}


def _reason(outcome: Outcome) -> dict:
    return {_FAILURE_REASON: _element("US", outcome.status.code)}


def _url(outcome: Outcome, studies_url: str) -> dict:
    if not (outcome.study and outcome.series):
        return {_RETRIEVE_URL: _element("UR")}
    path = f"{outcome.study}/series/{outcome.series}/instances/{outcome.sop_instance_uid}"
    return {_RETRIEVE_URL: _element("UR", f"{studies_url}/{path}")}


def _xml(found: dict) -> bytes:
    root = ET.Element("NativeDicomModel", {"xml:space": "preserve"})
    _fill(root, found)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _fill(parent: ET.Element, found: dict) -> None:
    for tag, element in found.items():
        keyword = keyword_for_tag(int(tag, 16))
        attribute = ET.SubElement(parent, "DicomAttribute", {"tag": tag, "vr": element["vr"], "keyword": keyword})
        for number, value in enumerate(element.get("Value", ()), 1):
            if isinstance(value, dict):
                _fill(ET.SubElement(attribute, "Item", {"number": str(number)}), value)
            else:
                ET.SubElement(attribute, "Value", {"number": str(number)}).text = str(value)
