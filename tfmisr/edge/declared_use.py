"""Compares the header of a DICOM image with the use that a model card declares (T-30).

The card lists for DICOM Attributes the values of the images that the model is for. An Attribute that is absent, empty
or says nothing (Modality "OT", Pixel Spacing 0) contradicts nothing: it is named, and the pixels decide.

Reference:
    DICOM PS3.3 C.7.3.1.1.1 (Modality), C.8.1.1 (View Position), C.8.11.5 (DX Positioning), 10.7 (Pixel Spacing);
    PS3.16 Annex L (terms of Body Part Examined), CID 4009 and CID 4010 (their codes)
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

import pydicom

from tfmisr.edge.dicom_file import suppress_pydicom_messages
from tfmisr.edge.element_values import label

# What is shown depends on these: a contradiction is outside the declared use. One of the others is unusual.
DECISIVE = ("Modality", "BodyPartExamined", "ViewPosition")
KEYWORDS = (
    *DECISIVE,
    "PresentationIntentType",
    "PhotometricInterpretation",
    "BitsStored",
    "PixelSpacing",
    "LossyImageCompression",
)
# A frontal view with one of these words is another one, as in "AP LATERAL".
_OTHER_VIEWS = {"LAT", "LATERAL", "LL", "RL", "OBLIQUE", "AXIAL", "LORDOTIC", "LAO", "RAO", "LPO", "RPO"}
_MOST_VALUES, _LONGEST_VALUE = 64, 64
_UNSPECIFIC = {"Modality": {"OT"}}  # a converted file: no statement about the equipment
# Where Pixel Spacing is absent, as it is in uncalibrated radiographs: at the detector, and of scanned film.
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
# DX images may have codes in place of View Position and Body Part Examined: SNOMED CT, and SNOMED RT of earlier files.
_SEQUENCES = {"ViewPosition": "ViewCodeSequence", "BodyPartExamined": "AnatomicRegionSequence"}
_CODES = {
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("272479007", "R-10214"), "PA"),
    **dict.fromkeys(("399173006", "R-10236"), "LL"),
    **dict.fromkeys(("399198007", "R-10232"), "RL"),
    **dict.fromkeys(("399067008", "R-102CD"), "LATERAL"),
    **dict.fromkeys(("816094009", "51185008", "T-D3000"), "CHEST"),
    **dict.fromkeys(("39607008", "T-28000"), "LUNG"),
}
# Values that messages repeat. In a broken file a value may be anything, even the patient's name.
_TERMS = frozenset(
    "CR DX CT MR US MG NM PT XA RF RG IO PX OP OPT ES GM SM XC SC "
    "ABDOMEN ABDOMENPELVIS ANKLE ARM BRAIN BREAST CALCANEUS CERVIX CHEST CHESTABDOMEN CLAVICLE COCCYX CSPINE ELBOW "
    "EXTREMITY EYE FACE FEMUR FINGER FOOT FOREARM HAND HEAD HEADNECK HEART HIP HUMERUS JAW KIDNEY KNEE LEG LIVER "
    "LSPINE LUNG NECK PELVIS PROSTATE RIB RIBS SCAPULA SHOULDER SKULL SPINE STERNUM THIGH THORAX TIBIA TOE TSPINE "
    "WHOLEBODY WRIST AP PA LL RL RLD LLD RLO LLO LAT LATERAL CC ML LM LMO MLO XCCL XCCM AXIAL OBLIQUE LORDOTIC "
    "RGB PALETTE COLOR MONOCHROME1 MONOCHROME2 YBR FULL 422 ICT RCT FOR PRESENTATION PROCESSING 00 01".split()
)


@dataclasses.dataclass(frozen=True)
class HeaderCheck:
    """What the header of an image says about the declared use.

    Attributes:
        contradictions: Sentences about Attributes of `DECISIVE` that contradict the declared use.
        deviations: Sentences about the other Attributes that do.
        not_stated: Keywords of declared Attributes about which the header says nothing.
    """

    contradictions: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
    not_stated: tuple[str, ...] = ()


def check(header: pydicom.Dataset, declared: Mapping) -> HeaderCheck:
    """Compares a header with the declared use.

    Args:
        header: The Data Set of an image, with or without Pixel Data.
        declared: Keyword to the list of its values, or to `{"minimum": mm, "maximum": mm}`.
    """
    mismatches: dict[str, str] = {}
    missing = []
    with suppress_pydicom_messages():  # values are validated when they are read
        stated = {keyword: _stated(header, keyword) for keyword in declared}
    for keyword, expected in declared.items():
        values = stated[keyword]
        if not values:
            missing.append(keyword)
        elif not _agrees(keyword, values, expected):
            mismatches[keyword] = _sentence(keyword, values, expected)
    decisive = tuple(text for keyword, text in mismatches.items() if keyword in DECISIVE)
    others = tuple(text for keyword, text in mismatches.items() if keyword not in DECISIVE)
    return HeaderCheck(decisive, others, tuple(missing))


def is_valid(declared: object) -> bool:
    """Whether the card's `declared` is one that `check` can follow."""
    return (
        isinstance(declared, dict)
        and set(declared) <= set(KEYWORDS)
        and all(_is_expected(keyword, expected) for keyword, expected in declared.items())
    )


def _is_expected(keyword: str, expected: object) -> bool:
    if keyword == "PixelSpacing":
        if not isinstance(expected, dict) or set(expected) != {"minimum", "maximum"}:
            return False
        ends = expected["minimum"], expected["maximum"]
        return all(type(end) in (int, float) and math.isfinite(end) for end in ends) and 0 < ends[0] <= ends[1]
    kind = int if keyword == "BitsStored" else str
    return (
        isinstance(expected, list)
        and 0 < len(expected) <= _MOST_VALUES
        and all(type(value) is kind and len(str(value)) <= _LONGEST_VALUE for value in expected)
    )


def _stated(header: pydicom.Dataset, keyword: str) -> list:
    """Returns the values of an Attribute that say something, none if it is absent, empty or broken."""
    if keyword == "PixelSpacing":
        return next(filter(None, (_spacing(header, each) for each in _SPACINGS)), [])
    value = _value(header, keyword)
    if keyword == "BitsStored":
        return [value] if isinstance(value, int) else []
    texts = [value] if isinstance(value, str) else []
    found = [text for text in map(_normalized, texts) if text and text not in _UNSPECIFIC.get(keyword, ())]
    return found or list(_coded(header, keyword))


def _value(header: pydicom.Dataset, keyword: str) -> object:
    """Returns an Attribute's value, `None` if it is absent or broken."""
    try:
        return header.get(keyword)
    except Exception:  # noqa: BLE001  pydicom converts values on access, and broken ones raise anything
        return None


def _spacing(header: pydicom.Dataset, keyword: str) -> list[float]:
    value = _value(header, keyword)
    if keyword == "PixelSpacing" and value is None:
        value = _value(_measures(header), keyword)
    try:
        numbers = [float(each) for each in value]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return []
    return numbers if len(numbers) == 2 and all(math.isfinite(n) and n > 0 for n in numbers) else []


def _measures(header: pydicom.Dataset) -> pydicom.Dataset:
    """Returns the Item of Pixel Measures Sequence (0028,9110) of an Enhanced image, an empty one without."""
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in _items(header, sequence)[:1]:
            for item in _items(group, "PixelMeasuresSequence")[:1]:
                return item
    return pydicom.Dataset()


def _items(header: pydicom.Dataset, keyword: str) -> list[pydicom.Dataset]:
    value = _value(header, keyword)
    return list(value) if isinstance(value, pydicom.Sequence) else []


def _coded(header: pydicom.Dataset, keyword: str) -> Iterator[str]:
    for item in _items(header, _SEQUENCES.get(keyword, ""))[:1]:
        term = _CODES.get(str(_value(item, "CodeValue") or ""))
        if term:
            yield term


def _normalized(text: str) -> str:
    """Returns a text in capitals, with single blanks in place of other characters: "Chest_PA" as "CHEST PA"."""
    return " ".join(re.findall(r"[A-Z0-9]+", text.upper()))


def _agrees(keyword: str, values: list, expected: list | Mapping) -> bool:
    if isinstance(expected, Mapping):
        return all(0.99 * expected["minimum"] <= value <= 1.01 * expected["maximum"] for value in values)
    if isinstance(values[0], int):
        return values[0] in expected
    known = set(map(_normalized, expected))
    words = set(values[0].split())
    if keyword == "ViewPosition" and not (words & _OTHER_VIEWS) <= known:
        return False
    # Consoles append details, such as "PORT CHEST" and "PA ERECT": one of the words is enough.
    return values[0] in known or not known.isdisjoint(words)


def _sentence(keyword: str, values: list, expected: list | Mapping) -> str:
    if isinstance(expected, Mapping):
        shown = " x ".join(f"{value:.3g}" for value in values) + " mm"
        return f"{label(keyword)} is {shown}, the model is for {expected['minimum']:g} to {expected['maximum']:g} mm"
    words = str(values[0]).split()
    shown = str(values[0]) if isinstance(values[0], int) or _TERMS.issuperset(words) else "another value"
    return f"{label(keyword)} is {shown}, the model is for {', '.join(map(str, expected))}"
