"""DICOM files written and parsed byte by byte, so that no library mends what it reads or writes."""

import struct
import zlib

import pydicom
from dicom_sources import ct
from pydicom import uid

LONG = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
SIZES = {"AT": 2, "FD": 8, "FL": 4, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2, "SL": 4, "SS": 2, "SV": 8}
SIZES |= {"UL": 4, "US": 2, "UV": 8}
SYNTAXES = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "big": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
}


def header(tag, vr, length, syntax):
    order = ">" if syntax == "big" else "<"
    start = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if syntax == "implicit" or vr is None:
        return start + struct.pack(f"{order}L", length)
    if vr in LONG:
        return start + vr.encode() + struct.pack(f"{order}HL", 0, length)
    return start + vr.encode() + struct.pack(f"{order}H", length)


def encoded(elements, syntax, undefined=False):
    """The bytes of (tag, VR, value) triples; the value of a sequence is a list of such lists."""
    content = b""
    for tag, vr, value in sorted(elements, key=lambda element: element[0]):
        if vr == "SQ":
            items = [encoded(item, syntax, undefined) for item in value]
            lengths = [0xFFFFFFFF if undefined else len(item) for item in items]
            ends = [header(0xFFFEE00D, None, 0, syntax) if undefined else b""] * len(items)
            body = b"".join(
                header(0xFFFEE000, None, length, syntax) + item + end
                for length, item, end in zip(lengths, items, ends, strict=True)
            )
            content += header(tag, vr, 0xFFFFFFFF if undefined else len(body), syntax) + body
            content += header(0xFFFEE0DD, None, 0, syntax) if undefined else b""
        else:
            content += header(tag, vr, len(value), syntax) + swapped(vr, value, syntax)
    return content


def swapped(vr, value, syntax):
    size = SIZES.get(vr, 1) if syntax == "big" else 1
    return b"".join(value[i : i + size][::-1] for i in range(0, len(value), size))


def file_of(elements, syntax="explicit", undefined=False, source=None):
    """A file of the elements and the others of a data set, by default of a small CT image."""
    present = {tag for tag, *_ in elements}
    base = [element for element in parsed(plain(source or ct())) if element[0] not in present]
    dataset = encoded([*base, *elements], syntax, undefined)
    if syntax == "deflated":
        squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        dataset = squeeze.compress(dataset) + squeeze.flush()
    name = SYNTAXES[syntax].encode()
    meta = encoded([(0x00020001, "OB", b"\0\1"), (0x00020010, "UI", name + b"\0" * (len(name) % 2))], "explicit")
    return (
        bytes(128) + b"DICM" + encoded([(0x00020000, "UL", struct.pack("<L", len(meta)))], "explicit") + meta + dataset
    )


def plain(ds):
    """The bytes of a data set that `dicom_sources` made, without its file meta group."""
    file = pydicom.filebase.DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = False, True
    pydicom.filewriter.write_dataset(file, ds)
    return file.getvalue()


def parsed(content):
    """Returns the triples of a data set in Explicit VR Little Endian."""
    found, place = [], 0
    while place < len(content):
        group, element, vr = struct.unpack_from("<HH2s", content, place)
        vr = vr.decode()
        length = struct.unpack_from("<L" if vr in LONG else "<H", content, place + (8 if vr in LONG else 6))[0]
        place += 12 if vr in LONG else 8
        if length == 0xFFFFFFFF:
            break  # compressed pixel data, the last element; no other has an undefined length here
        value = content[place : place + length]
        assert len(value) == length
        found.append((group << 16 | element, vr, items_of(value) if vr == "SQ" else value))
        place += length
    return found


def items_of(content):
    items, place = [], 0
    while place < len(content):
        length = struct.unpack_from("<L", content, place + 4)[0]
        items.append(parsed(content[place + 8 : place + 8 + length]))
        place += 8 + length
    return items


def written(path):
    content = path.read_bytes()
    return parsed(content[144 + struct.unpack_from("<L", content, 140)[0] :])


def even(value, vr):
    return value + (b"\0" if vr in ("UI", "OB", "UN") else b" ") * (len(value) % 2)


def flat(elements, path=""):
    """Maps a path to (VR, value), without sequences themselves."""
    found = {}
    for tag, vr, value in elements:
        here = f"{path}/{tag:08X}"
        if vr == "SQ":
            for number, item in enumerate(value):
                found |= flat(item, f"{here}[{number}]")
        else:
            found[here] = vr, value
    return found
