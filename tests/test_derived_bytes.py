"""What a derived DICOM image takes over has the bytes of its source: D-03, D-05, D-13, D-16, D-43."""

import contextlib
import copy
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from dicom_bytes import SIZES, SYNTAXES, even, file_of, flat, written
from dicom_sources import WHEN, bicubic, ct, derive, enhanced_ct, product
from pydicom.charset import decode_bytes
from pydicom.datadict import DicomDictionary

from tfmisr.edge import derived, dicom_file
from tfmisr.edge.derived import texts
from tfmisr.edge.errors import InputError

# Spelled as pydicom would not: odd dates and numbers, spaces and NUL, broken or foreign characters, open escapes.
AWKWARD = {
    "AE": [b"  A B ", b"\xe9AE\0", b""],
    "AS": [b"45Y ", b"045", b"45 years"],
    "CS": [b"yes ", b"o\\ O", b"\xfcber"],
    "DA": [b"2020.01.01", b"20200101 ", b"1.1.2020", b"00000000", b""],
    "DS": [b"+1.50 ", b"1.0e0\\ 02", b"1,5 ", b"-.5\\\\7.", b"\0\0"],
    "DT": [b"20200101+0100 ", b"2020-01-01T10:00:00 "],
    "IS": [b"007 ", b" +1\\-0", b"1.0 ", b"abc "],
    "TM": [b"10:11:12", b"101112.5  ", b"25"],
    "UI": [b"1.2.3\0", b"1.2.3 ", b"1.02.3", b"1.2.\xff\0"],
    "UR": [b" http://x.invalid/%ff ", b"\xff\xfe"],
}
TEXTS = [
    b"M\xfcller^\xc9va ",
    "Müller^Éva".encode(),
    "能登^表\\ソ".encode("shift_jis"),  # 0x5C is the second byte of two of them
    b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:",  # left open
    b"\x1b$)C\xb1\xe8^\x1b$)C\xc8\xf1\xc1\xdf",
    "王^小东".encode("gb18030") + b"\x81\x30\x81",  # cut off
    b"\xe7\x8e",
    b"  ^^=\0",
    b"a\\b\\ ",
    b"",
]
SETS = [
    None,
    "",
    "ISO_IR 192",
    "ISO_IR 100",
    "ISO_IR 13",
    "\\ISO 2022 IR 87",
    "\\ISO 2022 IR 149",
    "GB18030",
    "LATIN-X",
]


def public_tags(vr, random, count):
    """Tags of a Value Representation that nothing in a derived image is made of."""
    left_out = (*range(8), 0x0008, 0x0020, 0x0028, 0x7FE0, 0xFFFA, 0xFFFC, 0xFFFE)
    tags = [
        tag
        for tag, (kind, *_) in DicomDictionary.items()
        if kind == vr and tag >> 16 not in left_out and tag & 0xFFFF and not 0x00181600 <= tag < 0x00181800
    ]
    gone = {tag for keyword in GONE if (tag := pydicom.datadict.tag_for_keyword(keyword))}
    tags = sorted(set(tags) - gone)
    return [int(tag) for tag in random.choice(tags, min(count, len(tags)), replace=False)]


# Dropped or changed, as other tests show.
GONE = (
    "ImagerPixelSpacing NominalScannedPixelSpacing DeviceSerialNumber DeviceUID UDISequence GantryID SoftwareVersions "
    "ContributingEquipmentSequence PyramidUID MACParametersSequence DigitalSignaturesSequence ImageComments "
    "EncryptedAttributesSequence HistogramSequence DataSetTrailingPadding VerticesOfTheRegion ContentQualification "
    "RetrieveURI ExposureControlSensingRegionsSequence FramePixelShiftSequence PixelShiftSequence ZoomCenter"
).split()
VRS = sorted({*AWKWARD, *SIZES, "LO", "LT", "OB", "PN", "SH", "ST", "UC", "UN", "UT"})


def value_of(vr, random):
    if vr in AWKWARD:
        value = AWKWARD[vr][random.integers(len(AWKWARD[vr]))]
    elif vr in ("LO", "LT", "PN", "SH", "ST", "UC", "UT"):
        value = TEXTS[random.integers(len(TEXTS))]
    else:
        value = random.bytes(int(random.integers(0, 4)) * SIZES.get(vr, 2))
    return even(value, vr)


def some_elements(random, depth=0):
    """Elements of every Value Representation, and sequences of such, some with a character set of their own."""
    found = [(tag, vr, value_of(vr, random)) for vr in VRS for tag in public_tags(vr, random, 2 if vr != "UN" else 0)]
    if depth < 2:
        items = [some_elements(random, depth + 1) for _ in range(2)]
        items[1].append((0x00080005, "CS", even(b"ISO_IR 192", "CS")))
        found += [(tag, "SQ", items) for tag in public_tags("SQ", random, 1)]
    return found


PATIENT = [
    (0x00100010, "PN", b"M\xfcller^\xc9va  "),
    (0x00100020, "LO", b"M\xfcller \xc9"),
    (0x00100030, "DA", b"2020.1.1"),
]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.filterwarnings("error")
def test_d03_d43_every_element_keeps_its_bytes(tmp_path, syntax, undefined):
    random = np.random.default_rng(len(syntax) + undefined)
    for number, charset in enumerate(SETS[undefined::2]):
        elements = PATIENT + some_elements(random)
        if charset is not None:
            elements.append((0x00080005, "CS", even(charset.encode(), "CS")))
        (tmp_path / "source").write_bytes(file_of(elements, syntax, undefined))
        sr = derived.derive(tmp_path / "source", bicubic(), product(lossless="rle" if number % 2 else ""), WHEN)
        if number % 2:
            read(sr)  # decodes, and must not change what is written
        derived.write(sr, tmp_path / "sr")
        found = flat(written(tmp_path / "sr"))
        for path, element in flat(elements).items():
            assert found[path] == element, path


def read(ds):
    for tag in ds.keys():
        with contextlib.suppress(Exception), dicom_file.suppress_pydicom_messages():
            if ds[tag].VR == "SQ":
                any(map(read, ds[tag].value))


@pytest.mark.parametrize("syntax", ["implicit", "big"])
def test_d03_what_is_kept_is_what_dcmtk_makes_of_the_source(tmp_path, syntax):
    if not shutil.which("dcmconv"):
        pytest.skip("no DCMTK; install it with apt-get install dcmtk")
    random = np.random.default_rng(5)
    (tmp_path / "source").write_bytes(file_of(PATIENT[:2] + some_elements(random), syntax))
    subprocess.run(["dcmconv", "+te", "-g", tmp_path / "source", tmp_path / "dcmtk"], check=True, capture_output=True)
    derived.write(derived.derive(tmp_path / "source", bicubic(), product(), WHEN), tmp_path / "sr")
    # DCMTK removes superfluous padding, and does not know every tag of an implicit file.
    ours, theirs = (
        {path: value.rstrip(b" \0") for path, (_, value) in flat(written(tmp_path / name)).items()}
        for name in ("sr", "dcmtk")
    )
    changed = {path[1:]: (value, ours.get(path)) for path, value in theirs.items() if value != ours.get(path)}
    # Type, UIDs and dates of instance and series; equipment; geometry; pixels.
    allowed = "00080008 00080018 00080021 00080023 00080031 00080033 00080070 00081010 0008103E 00081090 00181000 "
    allowed += "00181020 0020000E 00200011 00200032 00280010 00280011 00280030 7FE00010"
    assert {path: both for path, both in changed.items() if path not in allowed.split()} == {}


@pytest.mark.parametrize("name", ["utf8_label_latin_bytes", "sjis_label_utf8_bytes", "latin_label_utf8_bytes"])
def test_d43_text_that_does_not_fit_its_character_set_keeps_its_bytes(tmp_path, name):
    charset, value = {
        "utf8_label_latin_bytes": (b"ISO_IR 192", b"M\xfcller^\xc9va"),
        "sjis_label_utf8_bytes": (b"ISO_IR 13 ", "Müller^Éva".encode()),
        "latin_label_utf8_bytes": (b"ISO_IR 100", "Müller^Éva".encode()),
    }[name]
    texts_of = {
        0x00100010: ("PN", value),
        0x00100020: ("LO", value),
        0x00081030: ("LO", value),
        0x00080080: ("LO", value),
    }
    texts_of |= {0x00080070: ("LO", value), 0x0008103E: ("LO", value), 0x00082111: ("ST", value)}
    elements = [(tag, vr, even(value, vr)) for tag, (vr, value) in texts_of.items()]
    (tmp_path / "source").write_bytes(file_of([(0x00080005, "CS", charset), *elements], "explicit"))
    derived.write(derived.derive(tmp_path / "source", bicubic(), product(), WHEN), tmp_path / "sr")
    found = {tag: value for tag, _, value in written(tmp_path / "sr")}
    for tag in (0x00100010, 0x00100020, 0x00081030, 0x00080080):
        assert found[tag] == even(value, "LO")
    assert found[0x0008103E].rstrip() == value + b" SRx2 AI"  # D-05
    assert found[0x00082111].startswith(value + b" Super-resolution x2")  # D-13
    scanner = {tag: value for tag, _, value in found[0x0018A001][0]}
    assert scanner[0x00080070] == scanner[0x00080080] == even(value, "LO")  # D-16


def test_d13_texts_of_enhanced_objects_keep_their_bytes(tmp_path):
    source = enhanced_ct()
    source.save_as(tmp_path / "clean", enforce_file_format=True)
    content = (tmp_path / "clean").read_bytes()
    (tmp_path / "source").write_bytes(content.replace(b"with contrast", b"mit K\xf6rper\xff.."))
    derived.write(derived.derive(tmp_path / "source", bicubic(), product(), WHEN), tmp_path / "sr")
    comments = next(value for tag, _, value in written(tmp_path / "sr") if tag == 0x00204000)
    assert comments.startswith(b"mit K\xf6rper\xff.. Super-resolution x2")


KANJI = b"\x1b$B;3ED\x1b(B"  # two characters
JOINED = [
    ("", b"", 64, b"SRx2"),
    ("ISO_IR 192", ("é" * 59).encode(), 64, ("é" * 59).encode() + b" SRx2"),
    ("ISO_IR 192", ("é" * 64).encode(), 64, ("é" * 59).encode() + b" SRx2"),
    ("ISO_IR 192", b"\xff" * 59, 64, b"\xff" * 59 + b" SRx2"),  # no UTF-8, but there is room
    ("ISO_IR 192", b"\xff" * 60, 64, None),
    ("ISO_IR 100", b"\xff" * 64, 64, b"\xff" * 59 + b" SRx2"),
    ("GB18030", ("王" * 64).encode("gb18030"), 64, ("王" * 59).encode("gb18030") + b" SRx2"),
    ("ISO_IR 13", "ソ表".encode("shift_jis") * 32, 8, "ソ表ソ".encode("shift_jis") + b" SRx2"),
    ("\\ISO 2022 IR 87", KANJI * 32, 10, KANJI * 2 + b"\x1b$B;3\x1b(B SRx2"),
    ("\\ISO 2022 IR 87", KANJI[:-3], 64, KANJI + b" SRx2"),  # left open
    ("\\ISO 2022 IR 149", b"\x1b$)C\xb1\xe8", 64, b"\x1b$)C\xb1\xe8 SRx2"),  # Korean has ASCII in the lower half
    ("\\ISO 2022 IR 149", b"\x1b$)C" + b"\xb1\xe8" * 64, 8, b"\x1b$)C" + b"\xb1\xe8" * 3 + b" SRx2"),
]


@pytest.mark.parametrize("charset, text, limit, expected", JOINED)
def test_d05_a_label_breaks_no_character(charset, text, limit, expected):
    encodings = pydicom.charset.convert_encodings(charset.split("\\"))
    with dicom_file.suppress_pydicom_messages():
        assert texts.joined(text, " SRx2", limit, encodings) == expected
    if expected and text and b"\xff" not in text:
        assert decode_bytes(expected, encodings, set())[:-5] == decode_bytes(text, encodings, set())[: limit - 5]


def test_d05_a_description_that_cannot_be_cut_is_refused_by_name(tmp_path):
    elements = [(0x00080005, "CS", b"ISO_IR 192"), (0x0008103E, "LO", b"\xff" * 62)]
    (tmp_path / "source").write_bytes(file_of(elements, "explicit"))
    with pytest.raises(InputError, match=r"Series Description \(0008,103E\) does not fit Specific Character Set"):
        derived.derive(tmp_path / "source", bicubic(), product(), WHEN)


def test_d43_text_of_a_data_set_in_memory_is_encoded_or_refused():
    assert derive(ct(PatientName="Müller", SpecificCharacterSet="ISO_IR 192")).PatientName == "Müller"
    for name in ("山田", "M\ufffdller"):
        with pytest.raises(InputError, match=r"Patient ID \(0010,0020\) does not fit"):
            derive(ct(PatientID=name, SpecificCharacterSet="ISO_IR 100"))


def test_a_new_text_that_does_not_fit_is_refused(tmp_path):
    sr = derive(ct(SpecificCharacterSet="ISO_IR 100"))
    sr.ContributingEquipmentSequence[0].InstitutionName = "病院"
    with pytest.raises(InputError, match=r"Institution Name \(0008,0080\) does not fit"):
        derived.write(sr, tmp_path / "sr")
    assert not list(tmp_path.iterdir())


def test_a_copy_of_the_result_is_written_with_the_same_bytes(tmp_path):
    (tmp_path / "source").write_bytes(file_of(PATIENT, "explicit"))
    sr = derived.derive(tmp_path / "source", bicubic(), product(), WHEN)
    again = copy.deepcopy(sr)
    read(again)
    for name, ds in (("first", sr), ("second", again)):
        derived.write(ds, tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_a_changed_value_is_written(tmp_path):
    (tmp_path / "source").write_bytes(file_of(PATIENT[:2], "explicit"))
    sr = derived.derive(tmp_path / "source", bicubic(), product(), WHEN)
    sr.PatientID, sr["BodyPartExamined"].value = "anonymous", "HEAD"
    derived.write(sr, tmp_path / "sr")
    found = {tag: value for tag, _, value in written(tmp_path / "sr")}
    assert (found[0x00100020], found[0x00180015], found[0x00100010]) == (b"anonymous ", b"HEAD", b"M\xfcller^\xc9va  ")


PRIVATE = [
    (0x20050010, "LO", even(b"Philips MR Imaging DD 001", "LO")),
    (0x2005100E, "FL", b"\0\0\x80\x3e"),
    (0x20051015, "LO", b"M\xfcller"),
    (0x20051020, "SQ", [[(0x00100010, "PN", b"\xff\xfe"), (0x20050010, "LO", b"other ")]]),
]


@pytest.mark.parametrize("syntax", ["explicit", "big", "implicit"])
def test_d40_private_elements_on_the_list_keep_their_bytes(tmp_path, syntax):
    (tmp_path / "source").write_bytes(file_of(PRIVATE, syntax))
    keep = tuple((0x2005, "Philips MR Imaging DD 001", last) for last in (0x0E, 0x15, 0x20))
    derived.write(derived.derive(tmp_path / "source", bicubic(), product(keep_private=keep), WHEN), tmp_path / "sr")
    found = {tag: value for tag, _, value in written(tmp_path / "sr")}
    assert found[0x2005100E] == PRIVATE[1][2] and found[0x20051015] == b"M\xfcller"
    if syntax != "implicit":  # there nothing says that it is a sequence
        assert found[0x20051020] == [[(0x00100010, "PN", b"\xff\xfe")]]


def test_numbers_of_half_a_word_are_refused_by_name(tmp_path):
    (tmp_path / "source").write_bytes(file_of([(0x00189073, "FD", b"123456")], "explicit"))
    with pytest.raises(InputError, match=r"Acquisition Duration \(0018,9073\) has 6 bytes"):
        derived.derive(tmp_path / "source", bicubic(), product(), WHEN)
