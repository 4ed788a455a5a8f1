"""Who a derived DICOM image is, and which images become none: D-01 to D-07, D-10, D-11, D-38 to D-44."""

import datetime
import logging
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from dicom_sources import (
    WHEN,
    bicubic,
    cr,
    ct,
    derive,
    dx,
    enhanced_ct,
    image,
    item,
    mr,
    product,
    secondary,
    smooth,
    us,
)
from pydicom import uid
from pydicom.sequence import Sequence

from tfmisr import dicom_check
from tfmisr.edge import derived
from tfmisr.edge.errors import InputError

PET = uid.PositronEmissionTomographyImageStorage
UNSIGNED = smooth(low=0, high=900, dtype=np.uint16)


def test_d01_the_instance_has_a_new_uid_that_its_file_meta_repeats():
    sr = derive(ct())
    assert sr.SOPInstanceUID != "1.2.3.4.1"
    assert sr.SOPInstanceUID.is_valid
    assert sr.file_meta.MediaStorageSOPInstanceUID == sr.SOPInstanceUID


@pytest.mark.parametrize("root", ["2.25", "1.2.840.99999.1"])
def test_d02_the_same_source_and_product_give_the_same_uids(root):
    first, second = derive(ct(), uid_root=root), derive(ct(), uid_root=root)
    assert first.SOPInstanceUID == second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID.startswith(f"{root}.") and first.SOPInstanceUID.is_valid


@pytest.mark.parametrize("root", ["2.25", "1.2.840.99999.1"])
@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "cd" * 32},
        {"version": "0.2.0"},
        {"model": "cnn5"},
        {"runtime": "xnnpack"},
        {"convention": "top_left"},
        {"overlays": "nearest"},
    ],
)
def test_d02_any_change_of_the_product_gives_other_uids(root, change):
    first, second = derive(ct(), uid_root=root), derive(ct(), uid_root=root, **change)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_d02_another_scale_or_source_gives_another_uid():
    found = {derive(ct()).SOPInstanceUID, derive(ct(), scale=3).SOPInstanceUID}
    found.add(derive(ct(SOPInstanceUID="1.2.3.4.9")).SOPInstanceUID)
    assert len(found) == 3


KEPT = {
    "StudyInstanceUID": "1.2.3.4.2",
    "PatientID": "ID-1",
    "PatientName": "Doe^Jane",
    "PatientBirthDate": "19500101",
    "PatientSex": "F",
    "AccessionNumber": "A1",
    "StudyDate": "20200102",
    "StudyTime": "101112",
    "StudyID": "S1",
    "FrameOfReferenceUID": "1.2.3.4.5",
    "PositionReferenceIndicator": "",
    "Laterality": "L",
    "BodyPartExamined": "CHEST",
    "KVP": 120,
    "Modality": "CT",
}


@pytest.mark.parametrize("keyword", KEPT)
def test_d03_patient_study_and_acquisition_are_kept(keyword):
    assert derive(ct(Laterality="L"))[keyword].value == KEPT[keyword]


def test_d04_slices_of_one_series_share_a_new_one_and_other_series_do_not():
    slices = [derive(ct(SOPInstanceUID=f"1.2.3.4.1{n}", InstanceNumber=n)) for n in range(3)]
    assert len({sr.SeriesInstanceUID for sr in slices}) == 1
    others = {derive(ct(SeriesInstanceUID="1.2.3.4.8")).SeriesInstanceUID, derive(ct(), scale=3).SeriesInstanceUID}
    assert len({slices[0].SeriesInstanceUID, "1.2.3.4.3", *others}) == 4


def test_d05_series_and_instance_numbers_pair_the_images():
    sr = derive(ct())
    assert (sr.SeriesNumber, sr.InstanceNumber) == (1003, 7)
    assert derive(ct(), series_number_offset=500).SeriesNumber == 503


@pytest.mark.parametrize("number", ["", None])
def test_d05_an_empty_series_number_becomes_the_offset(number):
    assert derive(ct(SeriesNumber=number)).SeriesNumber == 1000


@pytest.mark.parametrize(
    "text, expected", [("Thorax", "Thorax SRx2 AI"), ("x" * 64, "x" * 56 + " SRx2 AI"), (None, "SRx2 AI")]
)
def test_d05_the_series_description_keeps_its_suffix_within_64_characters(text, expected):
    assert derive(ct(SeriesDescription=text)).SeriesDescription == expected


def test_d06_content_and_series_have_the_time_of_processing_and_the_acquisition_its_own():
    sr = derive(ct(TimezoneOffsetFromUTC="+0200"))
    for event in ("Content", "InstanceCreation", "Series"):
        assert (sr[f"{event}Date"].value, sr[f"{event}Time"].value) == ("20260102", "050405.000600")
    assert (sr.AcquisitionDate, sr.AcquisitionTime) == ("20200102", "101112")


@pytest.mark.parametrize("kind", [ct, enhanced_ct])
def test_d06_without_times_an_image_made_twice_has_the_same_bytes_where_the_standard_allows(tmp_path, kind):
    """Enhanced images must have Content Date and Time (PS3.3 C.7.6.16); the checker accepts all times or none."""
    made, source, result = product(record_times=False), tmp_path / "lr.dcm", tmp_path / "sr.dcm"
    kind().save_as(source, enforce_file_format=True)
    contents = []
    for hour in (1, 2):
        sr = derived.derive(kind(), bicubic(), made, WHEN.replace(hour=hour), WHEN.replace(hour=hour))
        derived.write(sr, result)
        contents.append(result.read_bytes())
        assert dicom_check.violations(source, result) == []
    sr.InstanceCreationDate, sr.InstanceCreationTime, sr.ContentDate, sr.ContentTime = "20260101", "010101", "", ""
    derived.write(sr, result)
    assert [line.split()[0].strip(":") for line in dicom_check.violations(source, result)][:1] == ["D-06"]
    assert (contents[0] == contents[1]) == (kind is ct)
    assert made.key == product().key


def test_d06_a_time_zone_of_another_form_is_remarked():
    sr, report = derived.derive_with_report(ct(TimezoneOffsetFromUTC="CET"), bicubic(), product(), WHEN)
    assert report.remarks[0].startswith("Timezone Offset From UTC (0008,0201) is not of the form +0100")
    assert sr.TimezoneOffsetFromUTC == "CET"


def test_d06_the_time_of_processing_is_now_by_default():
    sr = derived.derive(ct(TimezoneOffsetFromUTC="+0000"), bicubic(), product())
    assert "SeriesDate" not in sr and "SeriesTime" not in sr  # the same in all slices, whenever they come
    written = datetime.datetime.strptime(f"{sr.ContentDate}{sr.ContentTime}+0000", "%Y%m%d%H%M%S.%f%z")
    assert abs(written - datetime.datetime.now(datetime.timezone.utc)) < datetime.timedelta(minutes=5)


def test_d07_the_sop_class_is_kept():
    assert derive(ct()).SOPClassUID == derive(ct()).file_meta.MediaStorageSOPClassUID == uid.CTImageStorage


REFUSED_CLASSES = {
    uid.NuclearMedicineImageStorage: "count",
    uid.RTDoseStorage: "RT Dose",
    uid.SegmentationStorage: "Segmentation",
    uid.ParametricMapStorage: "Parametric Map",
    uid.VLWholeSlideMicroscopyImageStorage: "Whole Slide",
    uid.DigitalXRayImageStorageForProcessing: "for presentation",
    uid.BreastTomosynthesisImageStorage: "Breast Tomosynthesis",
    uid.GrayscaleSoftcopyPresentationStateStorage: "Presentation State",
}


@pytest.mark.parametrize("kind", REFUSED_CLASSES, ids=lambda kind: kind.keyword)
def test_d07_other_kinds_of_objects_are_refused_by_name(kind):
    with pytest.raises(InputError, match=REFUSED_CLASSES[kind]):
        derive(image(kind, "OT", UNSIGNED))


def test_d07_what_is_derived_already_is_refused_unless_forced():
    once = derive(ct())
    with pytest.raises(InputError, match="already been upscaled"):
        derive(once)
    twice = derive(once, force=True)
    assert list(twice.ImageType).count("AI_SR") == 1
    assert len(twice.SourceImageSequence) == 2


@pytest.mark.parametrize("units, ok", [("BQML", True), ("GML", True), ("CNTS", False), ("PROPCNTS", False)])
def test_d07_pet_needs_a_concentration(units, ok):
    pet = image(PET, "PT", UNSIGNED, Units=units, RescaleSlope=0.37)
    if ok:
        assert derive(pet).RescaleSlope == 0.37
    else:
        with pytest.raises(InputError, match="concentration"):
            derive(pet)


@pytest.mark.parametrize("make", [ct, cr, dx])
def test_d07_frames_of_an_object_that_has_one_are_refused(make):
    source = make()
    source.NumberOfFrames, source.PixelData = 2, source.PixelData * 2
    with pytest.raises(InputError, match=r"has one frame, but Number of Frames \(0028,0008\) is 2"):
        derive(source)


@pytest.mark.parametrize(
    "source, expected",
    [
        (ct(), ["DERIVED", "SECONDARY", "AXIAL", "AI_SR"]),
        (ct(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER", "X"]), ["DERIVED", "SECONDARY", "LOCALIZER", "X", "AI_SR"]),
        (mr(), ["DERIVED", "SECONDARY", "M", "ND", "AI_SR"]),
        (dx(), ["DERIVED", "SECONDARY", "", "AI_SR"]),
        (cr(), ["DERIVED", "SECONDARY", "", "AI_SR"]),
        (us(), ["DERIVED", "SECONDARY", "ABDOMINAL", "0001", "AI_SR"]),
        (us(ImageType=["ORIGINAL", "PRIMARY"]), ["DERIVED", "SECONDARY", "", "", "AI_SR"]),
        (secondary(UNSIGNED, ImageType=None), ["DERIVED", "SECONDARY", "", "AI_SR"]),
        (
            ct(SOPClassUID=uid.PositronEmissionTomographyImageStorage, Units="GML"),
            ["DERIVED", "PRIMARY", "AXIAL", "AI_SR"],
        ),
        (cr(SOPClassUID=uid.XRayAngiographicImageStorage), ["DERIVED", "SECONDARY"]),
        (enhanced_ct(), ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]),
    ],
    ids=[
        "CT",
        "CT localizer",
        "MR",
        "DX",
        "CR",
        "US",
        "US without kind",
        "SC without",
        "PET",
        "XA without plane",
        "Enhanced CT",
    ],
)
def test_d10_d11_image_type_follows_the_iod(source, expected):
    sr = derive(source)
    assert list(sr.ImageType) == expected
    assert all(len(value) <= 16 and value == value.upper() for value in sr.ImageType)


def test_d10_d11_frame_types_say_the_same_as_the_image_type():
    for group in derive(enhanced_ct()).PerFrameFunctionalGroupsSequence:
        assert list(group.CTImageFrameTypeSequence[0].FrameType) == ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]


def test_d11_an_interpolation_is_not_called_artificial_intelligence():
    sr = derive(ct(), ai=False)
    assert sr.ImageType[3] == "INTERPOLATED"
    assert sr.SeriesDescription == "Thorax SRx2"


def test_d38_the_file_is_explicit_little_endian_with_our_own_file_meta(tmp_path):
    source = ct()
    source.file_meta.ImplementationClassUID = "1.2.3"
    derived.write(derive(source), tmp_path / "sr.dcm")
    assert (tmp_path / "sr.dcm").read_bytes()[128:132] == b"DICM"
    sr = pydicom.dcmread(tmp_path / "sr.dcm")
    assert sr.file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian
    assert sr.file_meta.ImplementationClassUID.startswith("2.25.")
    assert sr.file_meta.ImplementationVersionName == "TFMISR_0.1.0"


@pytest.mark.parametrize("source", [secondary(UNSIGNED, BurnedInAnnotation="YES"), us(BurnedInAnnotation=None)])
def test_d39_text_in_the_pixels_is_warned_of_refused_or_ignored(source, caplog):
    with caplog.at_level(logging.WARNING):
        sr, report = derived.derive_with_report(source, bicubic(), product(), WHEN)
        assert not caplog.text  # who gets the report prints it
        assert derive(source) == sr
    (remark,) = report.remarks
    assert remark.startswith("Burned In Annotation (0028,0301) is ") and caplog.text.count(remark) == 1
    assert sr.get("BurnedInAnnotation") == source.get("BurnedInAnnotation")
    assert not derived.derive_with_report(source, bicubic(), product(burned_in="ignore"))[1].remarks
    with pytest.raises(InputError, match="Burned In Annotation"):
        derive(source, burned_in="refuse")


def test_d39_visible_features_are_told_on():
    assert derive(ct(RecognizableVisualFeatures="YES")).RecognizableVisualFeatures == "YES"


def with_private_elements():
    source = ct()
    source.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", b"rows=24 ")
    block = source.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0E, "FL", 0.25)
    block.add_new(0x0F, "LO", "other")
    source.ProcedureCodeSequence = Sequence([item(CodeValue="1")])
    nested = source.ProcedureCodeSequence[0].private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    nested.add_new(0x11, "LO", "nested")
    return source


def test_d40_private_elements_are_dropped_at_every_level():
    assert not [element for element in derive(with_private_elements()).iterall() if element.tag.is_private]


def test_d40_private_elements_on_the_list_are_kept():
    sr = derive(with_private_elements(), keep_private=((0x2005, "Philips MR Imaging DD 001", 0x0E),))
    assert sr.private_block(0x2005, "Philips MR Imaging DD 001")[0x0E].value == 0.25
    assert [e.tag for e in sr.iterall() if e.tag.is_private] == [(0x2005, 0x0010), (0x2005, 0x100E)]


REMOVED = {
    "DigitalSignaturesSequence": Sequence([item(MACIDNumber=1)]),
    "MACParametersSequence": Sequence([item(MACIDNumber=1)]),
    "EncryptedAttributesSequence": Sequence([item(EncryptedContent=b"12")]),
    "DataSetTrailingPadding": b"\0\0",
    "PixelDataProviderURL": "https://pacs.invalid/1",
    "PyramidUID": "1.2.3",
    "ConcatenationUID": "1.2.3",
    "InConcatenationNumber": 1,
    "InstanceCreatorUID": "1.2.3",
}


@pytest.mark.parametrize("keyword", REMOVED)
def test_d41_what_vouches_for_or_locates_the_source_is_removed(keyword):
    assert keyword not in derive(ct(**{keyword: REMOVED[keyword]}))


def test_d41_de_identification_is_still_told():
    sr = derive(ct(PatientIdentityRemoved="YES", DeidentificationMethod="by hand"))
    assert (sr.PatientIdentityRemoved, sr.DeidentificationMethod) == ("YES", "by hand")


def test_d42_the_documentation_says_whom_references_name():
    assert "do not apply to the derived image (D-42)" in derived.__doc__


@pytest.mark.parametrize(
    "charset, name",
    [
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 100", "Müller^Jörg"),
    ],
)
def test_d43_names_in_any_script_survive(tmp_path, charset, name):
    ct(SpecificCharacterSet=charset, PatientName=name).save_as(tmp_path / "source", enforce_file_format=True)
    derived.write(derive(tmp_path / "source"), tmp_path / "sr")
    sr = pydicom.dcmread(tmp_path / "sr")
    assert sr.SpecificCharacterSet == charset
    assert str(sr.PatientName) == name
    assert b"\x1b" in sr.PatientName.original_string or charset != ["", "ISO 2022 IR 87"]


REFUSED = {
    "Pixel Data": {"PixelData": None},
    "SOP Instance UID": {"SOPInstanceUID": None},
    "Bits Stored": {"BitsAllocated": 8},
    "65535": {"Rows": 40000, "Columns": 2, "PixelData": bytes(160000)},
    "Samples per Pixel": {"SamplesPerPixel": 2},
    "Image Orientation": {"ImageOrientationPatient": None},
    "must have 1536 bytes for 32 Columns": {"PixelData": bytes(8)},
}


@pytest.mark.parametrize("words", REFUSED)
def test_d44_a_refusal_names_the_reason_and_not_the_patient(tmp_path, words):
    path = tmp_path / "source.dcm"
    ct(**REFUSED[words]).save_as(path, enforce_file_format=words != "SOP Instance UID")
    with pytest.raises(InputError, match=words) as error:
        derive(path)
    assert str(path) in str(error.value)
    assert "Doe" not in str(error.value) and "ID-1" not in str(error.value)


def test_d44_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    sr = derive(ct())
    sr.PixelAspectRatio = [1, 1]
    sr["PixelAspectRatio"].VR = "US"
    sr["PixelAspectRatio"]._value = ["no number"]
    with pytest.raises(InputError, match="sr.dcm"):
        derived.write(sr, tmp_path / "sr.dcm")
    assert not list(tmp_path.iterdir())


def test_d44_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="create it first"):
        derived.write(derive(ct()), tmp_path / "missing" / "sr.dcm")


def test_d44_a_mistake_of_the_upscaler_is_not_the_files():
    with pytest.raises(ZeroDivisionError):
        derive(ct(), upscale=lambda lr: 1 / 0)
    with pytest.raises(InputError, match="must return the shape"):
        derive(ct(), upscale=bicubic(3))
    with pytest.raises(InputError, match="not finite"):
        derive(ct(), upscale=lambda lr: np.full((48, 64, 1), np.nan))


def test_the_source_is_left_as_it_is():
    source = with_private_elements()
    before = pydicom.dcmread(saved(source))
    derive(source, overlays="nearest")
    assert pydicom.dcmread(saved(source)) == before


def saved(ds):
    file = pydicom.filebase.DicomBytesIO()
    ds.save_as(file, enforce_file_format=True)
    file.seek(0)
    return file


@pytest.mark.parametrize(
    "fields",
    [
        {"scale": 1},
        {"convention": "center"},
        {"name": "süper"},
        {"model": "x" * 48},
        {"lossless": "zip"},
        {"overlays": "burn"},
        {"burned_in": "maybe"},
        {"weights_sha256": "xyz"},
        {"uid_root": "1..2"},
    ],
)
def test_a_product_that_makes_no_sense_is_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        product(**fields)


def test_tensorflow_is_not_needed():
    code = "import sys, tfmisr.edge.derived, tfmisr.dicom_check; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
