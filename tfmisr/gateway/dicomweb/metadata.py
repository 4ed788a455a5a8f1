"""The Attributes of a file as DICOM JSON (PS3.18 Annex F), in bounded memory."""

import io
import json
import pathlib
import zlib

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tfmisr.gateway import header
from tfmisr.gateway.dicomweb.messages import Refused

LONGEST = 65_536  # bytes of a value that metadata has
# Value Representations whose longer values are left out (PS3.18 10.4.3.3.2).
BULK = frozenset("OB OD OF OL OV OW UN UC UT LT ST DS IS FL FD SL SS SV UL US UV".split())
_LONGEST_SEQUENCE = 1 << 26  # bytes


def check(path: pathlib.Path, syntax: str) -> None:
    """Raises `Refused` (406) for a deflated data set that becomes too large."""
    if syntax == DeflatedExplicitVRLittleEndian:
        try:
            header.inflate(path)
        except (ValueError, zlib.error) as error:
            raise Refused(406, "metadata of a deflated data set that is broken or too long is not offered") from error


def read(path: pathlib.Path, syntax: str) -> dict:
    """Returns the Attributes of a file, but for pixel data and values of more than `LONGEST` bytes.

    Raises:
        Exception: Any error of pydicom, for a broken file.
    """
    if syntax == DeflatedExplicitVRLittleEndian:
        found = read_dataset(io.BytesIO(header.inflate(path)), False, True)
    else:
        found = pydicom.dcmread(path, stop_before_pixels=True, defer_size=LONGEST)
    for tag, element in list(found.items()):  # `get_item` would read what is deferred
        if _is_left_out(element):
            del found[tag]
    if "SpecificCharacterSet" in found:
        texts = found.to_json_dict(suppress_invalid_tags=True)
        texts["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}  # JSON is UTF-8 (PS3.18 F.2)
        return texts
    return found.to_json_dict(suppress_invalid_tags=True)


def dump(content: dict) -> str:
    """Returns DICOM JSON as text; numbers that are not finite are empty values: JSON has none (RFC 8259 6)."""
    try:
        return json.dumps(content, allow_nan=False)
    except ValueError:
        return json.dumps(json.loads(json.dumps(content), parse_constant=lambda _: None))


def _is_left_out(element: object) -> bool:
    length = getattr(element, "length", 0)  # of an element that is not decoded yet
    if element.tag.group == 0x7FE0:
        return True
    if not 0 < length < 0xFFFFFFFF or length <= LONGEST:
        return False
    vr = element.VR or _vr(element.tag)
    return vr in BULK or length > _LONGEST_SEQUENCE


def _vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return "UN"
