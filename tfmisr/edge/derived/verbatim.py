"""Copies of DICOM data sets that are written with the bytes of their source (D-03, D-43).

Text that does not fit its Specific Character Set (0008,0005) cannot be decoded and encoded without loss, and numbers
and dates have more than one spelling. What a derived image takes over is therefore never decoded.
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

from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

# Bytes of a number, which big endian has in reverse order.
_WORDS = {"AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4}
_WORDS |= {"FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8}
_PADDED_BY_ZERO = ("UI", "OB", "UN")
_UNDEFINED = 0xFFFFFFFF
Encodings = str | list[str]  # Python's names of character sets
IsKept = Callable[[pydicom.Dataset, BaseTag], bool]

_CHARACTER_SET = Tag(0x0008, 0x0005)


class Verbatim(pydicom.Dataset):
    """A data set that is written with the bytes it was made of, except where a value has been changed.

    pydicom writes the bytes of an element that nobody has read, but encodes one that somebody has, even if its value
    is the same. Here reading has no such effect.
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
        """Returns an element as pydicom writes it: raw where its value is still that of the bytes."""
        element = super().get_item(key, **options)
        if not isinstance(element, DataElement) or element.VR == "SQ":
            return element
        if element.VR in AMBIGUOUS_VR:  # as the caller has set it; pydicom settles it for what it encodes as a whole
            return correct_ambiguous_vr_element(element, self, True)
        return self._bytes[element.tag] if self._is_unchanged(element) else element

    def _is_unchanged(self, element: DataElement) -> bool:
        raw = self._bytes.get(element.tag)
        if raw is None or raw.VR != element.VR:
            return False
        encoding = default_encoding if element.tag == _CHARACTER_SET else self.original_character_set
        value = convert_raw_data_element(raw, encoding=encoding, ds=self).value
        return value == element.value or repr(value) == repr(element.value)  # NaN is not equal to itself


def copied(ds: pydicom.Dataset, is_kept: IsKept, parent_encodings: Encodings = default_encoding) -> Verbatim:
    """Returns a copy of a data set for Explicit VR Little Endian; of its elements, only sequences are decoded.

    Args:
        ds: The source, as it was read: what has been decoded already cannot be told from what was written so.
        is_kept: Function of a data set, of this one or of an item, and of a tag.
        parent_encodings: Python's names of the character sets where `ds` has no Specific Character Set.

    Raises:
        InputError: An element cannot be copied; the message has its name.
    """
    encodings = _encodings(ds, parent_encodings)
    elements = {tag: _element(ds, tag, is_kept, encodings) for tag in ds.keys() if is_kept(ds, tag)}
    target = Verbatim(elements, parent_encoding=parent_encodings)
    # pydicom writes bytes as they are where nothing of the encoding has changed.
    target.set_original_encoding(False, True, encodings)
    return target


def item_in(like: pydicom.Dataset) -> Verbatim:
    """Returns an empty item for a sequence of `like`, which can take over raw elements of it."""
    item = Verbatim(parent_encoding=like.original_character_set)
    item.set_original_encoding(False, True, like.original_character_set)
    return item


def check_text(ds: pydicom.Dataset, parent_encodings: Encodings = default_encoding) -> None:
    """Checks the texts that have been set to new values; pydicom would write question marks.

    Raises:
        InputError: One does not fit the character set; the message has its name.
    """
    encodings = _encodings(ds, parent_encodings)
    for tag in ds.keys():
        element = ds.get_item(tag)
        if isinstance(element, DataElement) and element.VR == "SQ":
            for item in element.value or ():
                check_text(item, encodings)
        elif isinstance(element, DataElement) and element.VR in CUSTOMIZABLE_CHARSET_VR and not element.is_empty:
            _text(element, encodings)


def raw(tag: int | str, vr: str, value: bytes) -> RawDataElement:
    """Returns an element of bytes in little endian, padded to even length."""
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
        if element.VR != "SQ" and _is_unknown_sequence(source):  # a long one; pydicom leaves it as it is
            if not isinstance(source, RawDataElement):
                raise TypeError("the bytes of the element are gone")
            element = convert_raw_data_element(source._replace(VR="SQ"), encoding=encodings, ds=ds)
    except Exception as error:
        raise InputError(f"{label(tag)} cannot be read ({type(error).__name__})") from None
    if element.VR == "SQ":
        items = [copied(item, is_kept, encodings) for item in element.value or ()]
        return DataElement(tag, "SQ", pydicom.Sequence(items))
    return _of_value(element, ds, encodings)


def _is_unknown_sequence(source: RawDataElement | DataElement) -> bool:
    try:
        return source.VR == "UN" and dictionary_VR(source.tag) == "SQ"
    except KeyError:
        return False


def _vr(source: RawDataElement, ds: pydicom.Dataset) -> str:
    """Returns the Value Representation for explicit encoding."""
    found: dict[str, Any] = {}
    raw_element_vr(source, found, ds=ds)
    vr = str(found["VR"])
    if vr in AMBIGUOUS_VR:
        try:
            vr = str(ds[source.tag].VR)  # a number or bytes; depends on other elements
        except Exception:
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
    element = raw(source.tag, vr, value)
    if source.length == _UNDEFINED and vr in ("OB", "OW", "UN"):
        return element._replace(length=_UNDEFINED)  # in fragments
    return element


def _reversed(value: bytes, size: int) -> bytes:
    return b"".join(value[i : i + size][::-1] for i in range(0, len(value), size))


def _of_value(element: DataElement, ds: pydicom.Dataset, encodings: Encodings) -> RawDataElement | DataElement:
    """Returns a copy of an element that is no bytes any more: of a data set that was made or read by the caller."""
    if element.VR in CUSTOMIZABLE_CHARSET_VR:
        return raw(element.tag, element.VR, _text(element, encodings))
    result = copy.deepcopy(element)
    size = _WORDS.get(element.VR, 1)
    # pydicom turns numbers round, but not bytes that stand for words.
    if isinstance(element.value, bytes) and size > 1 and _is_big_endian(ds) and len(element.value) % size == 0:
        result.value = _reversed(element.value, size)
    return result


def _is_big_endian(ds: pydicom.Dataset) -> bool:
    syntax = getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", None)
    return syntax == uid.ExplicitVRBigEndian or ds.original_encoding == (False, False)


def _text(element: DataElement, encodings: Encodings) -> bytes:
    """Returns the bytes of a text; pydicom would write question marks for what the character set lacks."""
    file = DicomBytesIO()
    file.is_little_endian = file.is_implicit_VR = True
    write_data_element(file, element, encodings)
    value = file.getvalue()[8:]
    back = convert_raw_data_element(raw(element.tag, element.VR, value), encoding=encodings).value
    if back != element.value or "\ufffd" in str(element.value):
        raise InputError(f"{label(element.tag)} does not fit {label(_CHARACTER_SET)}; correct one of them")
    return value
