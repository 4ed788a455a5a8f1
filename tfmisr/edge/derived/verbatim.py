"""Copies DICOM Data Sets so that they are written with the bytes of their source (D-03, D-43).

Text that is not valid in its Specific Character Set (0008,0005) cannot be decoded and encoded without loss, and numbers
and dates have several representations. Values that a derived image copies are therefore never decoded.
"""

import copy
from collections.abc import Callable
from typing import Any

import pydicom
from pydicom import uid
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr_element, write_data_element
from pydicom.hooks import raw_element_vr
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import AMBIGUOUS_VR, CUSTOMIZABLE_CHARSET_VR, STANDARD_VR

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

# Bytes per number, for conversion from big endian.
_WORDS = {"AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4}
_WORDS |= {"FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8}
_PADDED_BY_ZERO = ("UI", "OB", "UN")
_UNDEFINED = 0xFFFFFFFF
Encodings = str | list[str]  # Python's names of character sets
IsKept = Callable[[pydicom.Dataset, BaseTag], bool]

_CHARACTER_SET = Tag(0x0008, 0x0005)


class Verbatim(pydicom.Dataset):
    """A data set that is written with its original bytes, except where a value has been changed.

    pydicom writes the original bytes of a Data Element only until its value is accessed; afterwards it encodes the
    value again. Here access has no such effect.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bytes: dict[BaseTag, RawDataElement] = {}
        for tag in self.keys():
            element = super().get_item(tag)
            if isinstance(element, RawDataElement):
                self._bytes[tag] = element

    def __setitem__(self, key: Any, element: DataElement | RawDataElement) -> None:
        super().__setitem__(key, element)
        if isinstance(element, RawDataElement):
            self._bytes[element.tag] = element

    def get_item(self, key: Any, **options: Any) -> Any:
        """Returns a Data Element for writing: raw if its value has not been changed."""
        element = super().get_item(key, **options)
        if not isinstance(element, DataElement) or element.VR == "SQ":
            return element
        if element.VR in AMBIGUOUS_VR:  # set by the caller; pydicom resolves it only when it encodes a whole Data Set
            return correct_ambiguous_vr_element(element, self, True)
        return self._bytes[element.tag] if self._is_unchanged(element) else element

    def _is_unchanged(self, element: DataElement) -> bool:
        raw = self._bytes.get(element.tag)
        if raw is None or raw.VR != element.VR:
            return False
        encoding = default_encoding if element.tag == _CHARACTER_SET else self.original_character_set
        value = convert_raw_data_element(raw, encoding=encoding, ds=self).value
        return value == element.value or repr(value) == repr(element.value)  # NaN is not equal to itself


def copy_dataset(ds: pydicom.Dataset, is_kept: IsKept, parent_encodings: Encodings = default_encoding) -> Verbatim:
    """Returns a copy of a Data Set for Explicit VR Little Endian; only Sequences are decoded.

    Args:
        ds: The source as it was read; the original bytes of decoded Data Elements are lost.
        is_kept: Function of a Data Set (this one or an Item) and a tag: whether to copy the Data Element.
        parent_encodings: Python's names of the character sets to use if `ds` has no Specific Character Set.

    Raises:
        InputError: A Data Element cannot be copied; the message names it.
    """
    encodings = _encodings(ds, parent_encodings)
    elements = {tag: _element(ds, tag, is_kept, encodings) for tag in ds.keys() if is_kept(ds, tag)}
    target = Verbatim(elements, parent_encoding=parent_encodings)
    # pydicom writes original bytes only if the encoding is unchanged.
    target.set_original_encoding(False, True, encodings)
    return target


def new_item(parent: pydicom.Dataset) -> Verbatim:
    """Returns an empty Item for a Sequence of `parent`, which accepts raw Data Elements of it."""
    item = Verbatim(parent_encoding=parent.original_character_set)
    item.set_original_encoding(False, True, parent.original_character_set)
    return item


def check_text(ds: pydicom.Dataset, parent_encodings: Encodings = default_encoding) -> None:
    """Checks that new text values can be encoded; pydicom would replace characters by question marks.

    Args:
        ds: The Data Set to be written.
        parent_encodings: Python's names of the character sets to use if `ds` has no Specific Character Set.

    Raises:
        InputError: A text does not fit the character set; the message names the Attribute.
    """
    encodings = _encodings(ds, parent_encodings)
    for tag in ds.keys():
        element = ds.get_item(tag)
        if isinstance(element, DataElement) and element.VR == "SQ":
            for item in element.value or ():
                check_text(item, encodings)
        elif isinstance(element, DataElement) and element.VR in CUSTOMIZABLE_CHARSET_VR and not element.is_empty:
            _text(element, encodings)


def raw_element(tag: int | str, vr: str, value: bytes) -> RawDataElement:
    """Returns a raw Data Element with a value in little endian, padded to even length."""
    tag = Tag(tag)
    if len(value) % 2:
        value += b"\0" if vr in _PADDED_BY_ZERO else b" "
    return RawDataElement(tag, vr, len(value), value, 0, False, True)


def _encodings(ds: pydicom.Dataset, parent_encodings: Encodings) -> Encodings:
    element = ds.get_item(_CHARACTER_SET)
    if isinstance(element, RawDataElement):
        element = convert_raw_data_element(element, encoding=default_encoding)
    return parent_encodings if element is None else convert_encodings(element.value)


def _element(ds: pydicom.Dataset, tag: BaseTag, is_kept: IsKept, encodings: Encodings) -> RawDataElement | DataElement:
    source = ds.get_item(tag)
    if isinstance(source, RawDataElement):
        vr = _vr(source, ds)
        if vr != "SQ" and not _is_unknown_sequence(source):
            return _of_bytes(source, vr)
    try:
        element = ds[tag]
        if element.VR != "SQ" and _is_unknown_sequence(source):  # pydicom does not decode long ones
            if not isinstance(source, RawDataElement):
                raise TypeError("the Data Element has been decoded")
            element = convert_raw_data_element(source._replace(VR="SQ"), encoding=encodings, ds=ds)
    except Exception as error:  # noqa: BLE001
        raise InputError(f"{label(tag)} cannot be read ({type(error).__name__})") from None
    if element.VR == "SQ":
        items = [copy_dataset(item, is_kept, encodings) for item in element.value or ()]
        return DataElement(tag, "SQ", pydicom.Sequence(items))
    return _of_value(element, ds, encodings)


def _is_unknown_sequence(source: RawDataElement | DataElement) -> bool:
    try:
        return source.VR == "UN" and dictionary_VR(source.tag) == "SQ"
    except KeyError:
        return False


def _vr(source: RawDataElement, ds: pydicom.Dataset) -> str:
    """Returns the Value Representation for explicit encoding."""
    data: dict[str, Any] = {}
    raw_element_vr(source, data, ds=ds)
    vr = str(data["VR"])
    if vr in AMBIGUOUS_VR:
        try:
            vr = str(ds[source.tag].VR)  # depends on other Data Elements
        except Exception:  # noqa: BLE001
            vr = vr[:2]
    if vr in STANDARD_VR:
        return vr
    try:
        return dictionary_VR(source.tag)
    except KeyError:
        return "UN"


def _of_bytes(source: RawDataElement, vr: str) -> RawDataElement:
    value, size = source.value or b"", _WORDS.get(vr, 1)
    if len(value) % size:
        raise InputError(f"{label(source.tag)} has {len(value)} bytes, not a multiple of {size}")
    if not source.is_little_endian:
        value = _reversed(value, size)
    element = raw_element(source.tag, vr, value)
    if source.length == _UNDEFINED and vr in ("OB", "OW", "UN"):
        return element._replace(length=_UNDEFINED)  # encapsulated in fragments
    return element


def _reversed(value: bytes, size: int) -> bytes:
    return b"".join(value[i : i + size][::-1] for i in range(0, len(value), size))


def _of_value(element: DataElement, ds: pydicom.Dataset, encodings: Encodings) -> RawDataElement | DataElement:
    """Returns a copy of a decoded Data Element, of a data set that the caller has created or accessed."""
    if element.VR in CUSTOMIZABLE_CHARSET_VR:
        return raw_element(element.tag, element.VR, _text(element, encodings))
    result = copy.deepcopy(element)
    size = _WORDS.get(element.VR, 1)
    # pydicom swaps the bytes of numbers, but not of bulk data (OW and the like).
    if isinstance(element.value, bytes) and size > 1 and _is_big_endian(ds) and len(element.value) % size == 0:
        result.value = _reversed(element.value, size)
    return result


def _is_big_endian(ds: pydicom.Dataset) -> bool:
    syntax = getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", None)
    return syntax == uid.ExplicitVRBigEndian or ds.original_encoding == (False, False)


def _text(element: DataElement, encodings: Encodings) -> bytes:
    """Returns an encoded text; pydicom would replace characters that the character set lacks by question marks."""
    file = DicomBytesIO()
    file.is_little_endian = file.is_implicit_VR = True
    write_data_element(file, element, encodings)
    value = file.getvalue()[8:]
    back = convert_raw_data_element(raw_element(element.tag, element.VR, value), encoding=encodings).value
    if back != element.value or "\ufffd" in str(element.value):
        raise InputError(f"{label(element.tag)} does not fit {label(_CHARACTER_SET)}; correct one of them")
    return value


__getattr__ = renamed(__name__, copied="copy_dataset", item_in="new_item", raw="raw_element")
