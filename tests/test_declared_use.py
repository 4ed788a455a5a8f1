"""The header of an image against the declared use of a model (T-30)."""

import pathlib

import pydicom
import pytest
from dicom_sources import item
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from tfmisr.edge import applicability, card, declared_use, shipped

DECLARED = {
    "Modality": ["CR", "DX"],
    "BodyPartExamined": ["CHEST", "THORAX"],
    "ViewPosition": ["PA", "AP"],
    "PresentationIntentType": ["FOR PRESENTATION"],
    "PhotometricInterpretation": ["MONOCHROME1", "MONOCHROME2"],
    "BitsStored": [8, 10],
    "PixelSpacing": {"minimum": 0.5, "maximum": 0.9},
    "LossyImageCompression": ["00"],
}
RADIOGRAPH = {
    "Modality": "DX",
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
    "PresentationIntentType": "FOR PRESENTATION",
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsStored": 8,
    "PixelSpacing": [0.7, 0.7],
    "LossyImageCompression": "00",
}


def header(**changes):
    """A chest radiograph with other values; `None` leaves an Attribute out."""
    return item(**{key: value for key, value in (RADIOGRAPH | changes).items() if value is not None})


def check(**changes):
    return declared_use.check(header(**changes), DECLARED)


def test_radiograph_of_the_declared_use_agrees():
    assert check() == declared_use.HeaderCheck()


@pytest.mark.parametrize(
    "keyword,value",
    [
        ("Modality", "CR"),
        ("BodyPartExamined", "THORAX"),
        ("BodyPartExamined", "PORT CHEST"),
        ("BodyPartExamined", "CHEST_PA"),
        ("ViewPosition", "AP"),
        ("ViewPosition", "PA ERECT"),
        ("PhotometricInterpretation", "MONOCHROME1"),
        ("PixelSpacing", [0.5, 0.9]),
    ],
)
def test_usual_spellings_agree(keyword, value):
    assert check(**{keyword: value}) == declared_use.HeaderCheck()


@pytest.mark.parametrize(
    "keyword,value,sentence",
    [
        ("Modality", "MR", "Modality (0008,0060) is MR, the model is for CR, DX"),
        ("BodyPartExamined", "HIP", "Body Part Examined (0018,0015) is HIP, the model is for CHEST, THORAX"),
        ("ViewPosition", "LL", "View Position (0018,5101) is LL, the model is for PA, AP"),
        ("ViewPosition", "AP LATERAL", "View Position (0018,5101) is AP LATERAL, the model is for PA, AP"),
    ],
)
def test_another_modality_body_part_or_view_contradicts_the_declared_use(keyword, value, sentence):
    found = check(**{keyword: value})
    assert (found.contradictions, found.deviations, found.not_stated) == ((sentence,), (), ())


@pytest.mark.parametrize(
    "keyword,value,start",
    [
        ("PresentationIntentType", "FOR PROCESSING", "Presentation Intent Type (0008,0068) is FOR PROCESSING"),
        ("PhotometricInterpretation", "RGB", "Photometric Interpretation (0028,0004) is RGB"),
        ("BitsStored", 12, "Bits Stored (0028,0101) is 12, the model is for 8, 10"),
        ("PixelSpacing", [0.2, 0.2], "Pixel Spacing (0028,0030) is 0.2 x 0.2 mm, the model is for 0.5 to 0.9 mm"),
        ("PixelSpacing", [0.7, 0.2], "Pixel Spacing (0028,0030) is 0.7 x 0.2 mm"),
        ("LossyImageCompression", "01", "Lossy Image Compression (0028,2110) is 01"),
    ],
)
def test_other_attributes_are_deviations(keyword, value, start):
    found = check(**{keyword: value})
    assert found.contradictions == () and len(found.deviations) == 1 and found.deviations[0].startswith(start)


@pytest.mark.parametrize("keyword", RADIOGRAPH)
@pytest.mark.parametrize("empty", [None, ""])
def test_missing_attribute_contradicts_nothing_and_is_named(keyword, empty):
    if keyword == "BitsStored" and empty == "":
        empty = None
    assert check(**{keyword: empty}) == declared_use.HeaderCheck(not_stated=(keyword,))


@pytest.mark.parametrize("keyword,value", [("Modality", "OT"), ("PixelSpacing", [0, 0]), ("PixelSpacing", [0.7])])
def test_value_that_says_nothing_is_not_stated(keyword, value):
    assert check(**{keyword: value}).not_stated == (keyword,)


def test_spelling_that_pydicom_warns_about_agrees_without_a_warning():
    ds = header()
    tag = Tag("BodyPartExamined")
    ds._dict[tag] = RawDataElement(tag, "CS", 6, b"Thorax", 0, False, True)
    assert declared_use.check(ds, DECLARED) == declared_use.HeaderCheck()


def test_spacing_at_the_detector_takes_the_place_of_pixel_spacing():
    # PS3.3 10.7.1.1: Pixel Spacing is absent in uncalibrated projection images.
    found = check(PixelSpacing=None, ImagerPixelSpacing=[0.1, 0.1])
    assert found.deviations and not found.not_stated
    assert check(PixelSpacing=None, NominalScannedPixelSpacing=[0.6, 0.6]) == declared_use.HeaderCheck()


def test_spacing_of_an_enhanced_image_is_that_of_its_functional_group():
    measures = item(PixelMeasuresSequence=Sequence([item(PixelSpacing=[0.1, 0.1])]))
    assert check(PixelSpacing=None, SharedFunctionalGroupsSequence=Sequence([measures])).deviations


@pytest.mark.parametrize("code,contradicts", [("272479007", False), ("R-10206", False), ("399173006", True)])
def test_codes_take_the_place_of_the_view(code, contradicts):
    # PS3.3 C.8.11.5: View Position is optional in DX images, View Code Sequence is not.
    found = check(ViewPosition=None, ViewCodeSequence=Sequence([item(CodeValue=code, CodingSchemeDesignator="SCT")]))
    assert bool(found.contradictions) == contradicts and not found.not_stated


def test_codes_take_the_place_of_the_body_part():
    for code, stated in (("51185008", True), ("816094009", True), ("12345", False)):
        found = check(BodyPartExamined=None, AnatomicRegionSequence=Sequence([item(CodeValue=code)]))
        assert found.not_stated == (() if stated else ("BodyPartExamined",)) and not found.contradictions


def test_values_that_are_no_terms_are_not_repeated():
    # In a broken file a value may be anything, even the patient's name.
    for keyword in ("Modality", "BodyPartExamined", "ViewPosition"):
        assert "DOE" not in str(check(**{keyword: "DOE JANE"})) and "another value" in str(
            check(**{keyword: "DOE JANE"})
        )


def test_broken_values_are_not_stated():
    broken = header()
    tag = Tag("PixelSpacing")
    broken._dict[tag] = RawDataElement(tag, "DS", 4, b"a\\b ", 0, False, True)
    assert declared_use.check(broken, DECLARED).not_stated == ("PixelSpacing",)


@pytest.mark.parametrize(
    "declared",
    [
        None,
        {"PatientName": ["A"]},
        {"Modality": "CR"},
        {"Modality": []},
        {"Modality": [1]},
        {"Modality": ["A" * 65]},
        {"Modality": ["CR"] * 65},
        {"BitsStored": [True]},
        {"BitsStored": ["8"]},
        {"PixelSpacing": [0.5, 0.9]},
        {"PixelSpacing": {"minimum": 0.0, "maximum": 1.0}},
        {"PixelSpacing": {"minimum": 1.0}},
        {"PixelSpacing": {"minimum": 1.0, "maximum": float("inf")}},
        {"PixelSpacing": {"minimum": "1", "maximum": 2.0}},
    ],
)
def test_declaration_that_cannot_be_followed_is_invalid(declared):
    assert declared_use.is_valid(DECLARED) and declared_use.is_valid({}) and not declared_use.is_valid(declared)


SHIPPED = applicability.Applicability.of(card.read(shipped.path("fast-x4")))
REAL = {
    "dicom/nema_MR1_UNC.dcm": "Modality",
    "dicom/nema_RG2_J2KR.dcm": "Body Part Examined",
    "dicom/nema_RG3_JPLL.dcm": "Body Part Examined",
    "dicom/fodicom_GH133.dcm": "Modality",
    "dicom/dwv_CR-MONO1-10-chest_EVRLE.dcm": None,
    "dicom/nema_RG1_J2KI.dcm": None,
    "dicom/tfio_nih_00000001_000_DX.dcm": None,
    "ct/lungdx_Lung_Dx-A0001_1-08.dcm": "Modality",
}


@pytest.mark.parametrize("name", REAL)
def test_shipped_models_and_real_headers(shared_data, name):
    """Chest radiographs are not refused by their header; other images are, with a sentence about the Attribute."""
    ds = pydicom.dcmread(pathlib.Path(shared_data) / name, stop_before_pixels=True)
    found = declared_use.check(ds, SHIPPED.declared).contradictions
    assert [text.partition(" (")[0] for text in found][:1] == [REAL[name]] * (REAL[name] is not None)
