"""The checker names exactly the rule that is broken: one seeded mistake for each."""

import subprocess
import sys

import numpy as np
import pytest
from dicom_bytes import file_of
from dicom_sources import (
    PADDING,
    WHEN,
    bicubic,
    cr,
    ct,
    derive,
    dx,
    enhanced_ct,
    item,
    product,
    secondary,
    smooth,
    us,
    xa,
)
from pydicom import DataElement, uid
from pydicom.sequence import Sequence

from tfmisr import dicom_check
from tfmisr.edge import derived
from tfmisr.edge.errors import InputError


def padded():
    pixels = smooth(40, 48)
    pixels[:, :6] = PADDING
    return ct(pixels, PixelPaddingValue=PADDING, SmallestImagePixelValue=0, LargestImagePixelValue=0)


def with_overlay():
    source = dx()
    for element, vr, value in [(0x10, "US", 8), (0x11, "US", 8), (0x40, "CS", "G"), (0x50, "SS", [1, 1])]:
        source.add_new((0x6000, element), vr, value)
    source.add_new((0x6000, 0x100), "US", 1)
    source.add_new((0x6000, 0x102), "US", 0)
    source.add_new((0x6000, 0x3000), "OW", bytes(8))
    return source


def put(**attributes):
    def mutate(sr):
        for keyword, value in attributes.items():
            setattr(sr, keyword, value)

    return mutate


def drop(keyword):
    return lambda sr: sr.pop(keyword)


def change_pixels(function):
    def mutate(sr):
        pixels = np.frombuffer(sr.PixelData, f"<{'i' if sr.PixelRepresentation else 'u'}2").reshape(sr.Rows, sr.Columns)
        sr.PixelData = function(pixels.copy()).tobytes()

    return mutate


def brighter(pixels):
    return pixels + 3


def hole(pixels):
    pixels[20, 50] = PADDING
    return pixels


def rough(pixels):
    pixels[::2, ::2] += 900
    pixels[1::2, 1::2] -= 900
    pixels[10:20] += 600
    pixels[20:30] -= 600
    return pixels


def source_item(sr):
    return sr.SourceImageSequence[-1]


def shifted(sr):
    sr.ImagePositionPatient = [-100.25, 30.5, -7.125]  # the source's


def frame(sr, sequence):
    return sr.PerFrameFunctionalGroupsSequence[1][sequence].value[0]


def region(sr):
    return sr.SequenceOfUltrasoundRegions[0]


def long_decimal(sr):
    sr.add(DataElement("PixelSpacing", "LO", ["0.350000000000000000", "0.25"]))
    sr["PixelSpacing"].VR = "DS"


def private(sr):
    sr.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "LO", "x")


def meta(**attributes):
    return lambda sr: put(**attributes)(sr.file_meta)


def overlay_rows(sr):
    sr[0x6000, 0x10].value = 8


MUTATIONS = [
    ("D-01", ct, meta(MediaStorageSOPInstanceUID="1.2.3")),
    ("D-01", ct, lambda sr: (put(SOPInstanceUID="1.2.3.4.1")(sr), meta(MediaStorageSOPInstanceUID="1.2.3.4.1")(sr))),
    ("D-03", ct, put(FrameOfReferenceUID="1.2.9")),
    ("D-03", ct, put(PatientID="other")),
    ("D-03", ct, drop("StudyID")),
    ("D-03", ct, put(PatientComments="invented")),
    ("D-03", xa, lambda sr: put(MaskOperation="TID")(sr.MaskSubtractionSequence[0])),
    ("D-03", xa, put(FrameTime="33.3")),
    ("D-04", ct, put(SeriesInstanceUID="1.2.3.4.3")),
    ("D-05", ct, put(InstanceNumber=8)),
    ("D-05", ct, put(SeriesNumber=3)),
    ("D-06", ct, put(ContentDate="20200102", ContentTime="101112")),
    ("D-06", ct, put(AcquisitionTime="010203")),
    ("D-07", ct, lambda sr: put(SOPClassUID=uid.MRImageStorage)(sr)),
    ("D-10", ct, put(ImageType=["DERIVED", "PRIMARY", "AXIAL", "AI_SR"])),
    ("D-10", enhanced_ct, put(ImageType=["DERIVED", "SECONDARY", "VOLUME", "RESAMPLED"])),
    ("D-11", ct, put(ImageType=["DERIVED", "SECONDARY", "AI_SR"])),
    ("D-11", dx, put(ImageType=["DERIVED", "SECONDARY", ""])),
    ("D-11", enhanced_ct, put(ImageType=["DERIVED", "PRIMARY", "VOLUME", "AI_SR"])),
    ("D-12", ct, lambda sr: put(CodeValue="113086")(sr.DerivationCodeSequence[0])),
    ("D-13", ct, put(DerivationDescription="resized")),
    ("D-14", ct, lambda sr: put(ReferencedSOPInstanceUID="1.2.3")(source_item(sr))),
    ("D-14", ct, lambda sr: put(CodeValue="121321")(source_item(sr).PurposeOfReferenceCodeSequence[0])),
    ("D-15", ct, lambda sr: put(SpatialLocationsPreserved="YES")(source_item(sr))),
    ("D-16", ct, lambda sr: sr.ContributingEquipmentSequence.pop(0)),
    ("D-16", ct, lambda sr: put(Manufacturer="")(sr.ContributingEquipmentSequence[0])),
    ("D-17", ct, put(DeviceSerialNumber="SN-42")),
    ("D-18", ct, put(SeriesDescription="Thorax")),
    ("D-20", ct, put(Rows=47)),
    ("D-20", ct, lambda sr: put(PixelData=sr.PixelData[:-2])(sr)),
    ("D-21", ct, put(PixelSpacing=[0.25, 0.35])),
    ("D-22", dx, put(ImagerPixelSpacing=[0.2, 0.1])),
    ("D-22", cr, put(PixelSpacing=[0.1, 0.05])),
    ("D-23", ct, put(SliceThickness=1.25)),
    ("D-24", ct, shifted),
    ("D-24", ct, put(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])),
    ("D-27", ct, long_decimal),
    ("D-28", enhanced_ct, lambda sr: put(ImagePositionPatient=[1, 2, 5.5])(frame(sr, "PlanePositionSequence"))),
    (
        "D-28",
        lambda: enhanced_ct(shared=False),
        lambda sr: put(PixelSpacing=[0.7, 0.5])(frame(sr, "PixelMeasuresSequence")),
    ),
    ("D-29", lambda: dx(ShutterLeftVerticalEdge=4), put(ShutterLeftVerticalEdge=4)),
    ("D-29", us, lambda sr: put(RegionLocationMaxX1=54)(region(sr))),
    ("D-29", us, lambda sr: put(PhysicalDeltaX=0.03)(region(sr))),
    ("D-29", xa, lambda sr: put(MaskSubPixelShift=[0.5, -0.25])(sr.MaskSubtractionSequence[0])),
    ("D-29", ct, put(IconImageSequence=Sequence([item(Rows=1)]))),
    ("D-30", ct, put(RescaleIntercept=-1024)),
    ("D-30", ct, put(WindowWidth=100)),
    ("D-31", ct, change_pixels(brighter)),
    ("D-31", ct, change_pixels(rough)),
    ("D-32", padded, change_pixels(hole)),
    ("D-33", padded, lambda sr: put(LargestImagePixelValue=sr.LargestImagePixelValue + 1)(sr)),
    ("D-33", padded, lambda sr: sr.add(DataElement("SmallestPixelValueInSeries", "SS", 0))),
    ("D-34", cr, put(PresentationLUTShape="IDENTITY")),
    ("D-34", cr, put(PhotometricInterpretation="MONOCHROME2")),
    ("D-35", us, put(PaletteColorLookupTableUID="1.2.3")),
    ("D-35", us, put(ColorSpace="ADOBERGB")),
    ("D-35", ct, put(PlanarConfiguration=0)),
    ("D-36", with_overlay, overlay_rows),
    ("D-37", lambda: dx(LossyImageCompression="01"), put(LossyImageCompression="00")),
    ("D-37", ct, put(LossyImageCompression="01")),
    ("D-38", ct, meta(TransferSyntaxUID=uid.ImplicitVRLittleEndian)),
    ("D-39", dx, drop("BurnedInAnnotation")),
    ("D-40", ct, private),
    ("D-41", ct, put(PixelDataProviderURL="https://pacs.invalid")),
    ("D-43", lambda: ct(SpecificCharacterSet="ISO_IR 192"), put(SpecificCharacterSet="ISO_IR 100")),
    ("D-43", ct, put(ReferringPhysicianName="Roe^Jack")),
]


def pair(tmp_path, make, mutate=lambda sr: None, **fields):
    source = make()
    source.save_as(tmp_path / "source", enforce_file_format=True)
    sr = derive(source, overlays="nearest", **fields)
    mutate(sr)
    implicit = sr.file_meta.TransferSyntaxUID == uid.ImplicitVRLittleEndian
    sr.save_as(tmp_path / "sr", enforce_file_format=False, implicit_vr=implicit, little_endian=True)
    return tmp_path / "source", tmp_path / "sr"


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("number, make, mutate", MUTATIONS, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(MUTATIONS)])
def test_a_mistake_is_named_by_its_rule_and_no_other(tmp_path, number, make, mutate):
    assert dicom_check.violations(*pair(tmp_path, make)) == []
    found = dicom_check.violations(*pair(tmp_path, make, mutate))
    assert [line[:4] for line in found] == [number]
    assert "Doe" not in found[0] and "SN-42" not in found[0]


UNFIT = [
    (0x00080005, "CS", b"ISO_IR 192"),
    (0x00100010, "PN", b"M\xfcller"),
    (0x00100020, "LO", b"ID-\xfc\xe9"),
    (0x00321064, "SQ", [[(0x00080104, "LO", b"\xe9cole "), (0x0040A123, "PN", b"N\xe9e^X ")]]),
]
UNFIT_MUTATIONS = [
    (b"M\xfcller", b"M\xfdller", "D-43 PatientName"),
    (b"ID-\xfc\xe9", b"ID-\xfd\xe9", "D-03 PatientID"),
    (b"\xe9cole ", b"\xebcole ", "D-03 CodeMeaning"),
    (b"N\xe9e^X ", b"N\xebe^X ", "D-43 PersonName"),
]


@pytest.mark.parametrize("old, new, expected", UNFIT_MUTATIONS)
@pytest.mark.parametrize("syntax", ["explicit", "big"])
def test_bytes_count_where_text_cannot_be_decoded(tmp_path, old, new, expected, syntax):
    """Decoded, the two are the same: a replacement character stands for either byte."""
    source, result = tmp_path / "source", tmp_path / "sr"
    source.write_bytes(file_of(UNFIT, syntax))
    derived.write(derived.derive(source, bicubic(), product(), WHEN), result)
    assert dicom_check.violations(source, result) == []
    content = result.read_bytes()
    assert content.count(old) == 1
    result.write_bytes(content.replace(old, new))
    assert dicom_check.violations(source, result) == [f"{expected} must equal the source's, byte by byte"]


def test_every_rule_has_a_mutation():
    rules = dicom_check.check_identity.RULES | dicom_check.check_geometry.RULES | dicom_check.check_pixels.RULES
    rules |= dicom_check.check_bytes.RULES
    assert {*rules, "D-20"} == {number for number, *_ in MUTATIONS}


@pytest.mark.parametrize("make", [ct, dx, us, enhanced_ct, lambda: secondary(smooth(low=0, high=255, dtype=np.uint8))])
@pytest.mark.parametrize("fields", [{"scale": 3}, {"lossless": "rle"}, {"keep_manufacturer": True}, {"ai": False}])
def test_derived_images_break_no_rule(tmp_path, make, fields):
    assert dicom_check.violations(*pair(tmp_path, make, **fields)) == []


@pytest.mark.parametrize("convention", ["top_left", "align_corners"])
def test_the_convention_decides_where_pixels_belong(tmp_path, convention):
    def upscale(lr):
        places = [np.arange(2 * n) / 2 for n in lr.shape[:2]]
        if convention == "align_corners":
            places = [np.linspace(0, n - 1, 2 * n) for n in lr.shape[:2]]
        rows, columns = (np.rint(p).astype(int).clip(0, n - 1) for p, n in zip(places, lr.shape[:2], strict=True))
        return lr[rows][:, columns]

    files = pair(tmp_path, ct, convention=convention, upscale=upscale)
    assert dicom_check.violations(*files, convention) == []
    found = {line[:4] for line in dicom_check.violations(*files)}
    assert "D-24" in found and found <= {"D-21", "D-24", "D-31"}


def test_private_elements_may_be_allowed(tmp_path):
    files = pair(tmp_path, ct, private)
    assert dicom_check.violations(*files, keep_private=True) == []


def run(*arguments):
    command = [sys.executable, "-m", "tfmisr.dicom_check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_command_prints_a_line_for_each_broken_rule(tmp_path):
    files = pair(tmp_path, ct, put(InstanceNumber=8, SliceThickness=1))
    done = run(*files)
    assert done.returncode == 1
    assert [line[:4] for line in done.stdout.splitlines()] == ["D-05", "D-23"]
    assert done.stderr == ""


def test_the_command_is_silent_where_nothing_is_wrong(tmp_path):
    done = run(*pair(tmp_path, ct))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_command_exits_2_for_what_it_cannot_read(tmp_path):
    (tmp_path / "text").write_text("no DICOM")
    done = run(tmp_path / "text", tmp_path / "text")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert run(tmp_path / "missing", tmp_path / "missing").returncode == 2
    assert run("only one").returncode == 2


def test_a_broken_file_is_no_violation(tmp_path):
    for number in (0, 1):
        files = pair(tmp_path, ct)
        files[number].write_bytes(files[number].read_bytes()[:-100])
        with pytest.raises(InputError, match=f"{files[number]}: the file ends"):
            dicom_check.violations(*files)


def test_the_checker_imports_nothing_of_what_derives():
    for module in (dicom_check.check_identity, dicom_check.check_geometry, dicom_check.check_pixels):
        imported = {name for name in vars(module) if name in ("identity", "geometry", "derivation", "pixels", "ranges")}
        assert not imported
    assert derived.derive(ct(), bicubic(), product(), WHEN)
