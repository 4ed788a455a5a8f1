"""What a derived DICOM image tells of its making: D-12 to D-18."""

import pytest
from dicom_sources import ct, derive, enhanced_ct, item
from pydicom.sequence import Sequence

SHA = "ab" * 6


def code_of(sequence):
    return [(c.CodeValue, c.CodingSchemeDesignator, c.CodeMeaning) for c in sequence]


def test_d12_the_derivation_is_a_spatial_resampling():
    assert code_of(derive(ct()).DerivationCodeSequence) == [("113085", "DCM", "Spatial resampling")]


def test_d12_an_earlier_derivation_is_kept():
    earlier = item(CodeValue="113040", CodingSchemeDesignator="DCM", CodeMeaning="Lossy Compression")
    sr = derive(ct(DerivationCodeSequence=Sequence([earlier])))
    assert [c.CodeValue for c in sr.DerivationCodeSequence] == ["113040", "113085"]


def test_d13_the_description_tells_method_factor_product_and_weights():
    text = derive(ct(), scale=3).DerivationDescription
    for words in ("Super-resolution x3", "tfmisr 0.1.0", "resnet18", SHA, "estimated, not acquired"):
        assert words in text


def test_d13_the_source_s_description_comes_first_and_is_cut_where_it_is_too_long():
    assert derive(ct(DerivationDescription="MIP of 3")).DerivationDescription.startswith("MIP of 3 Super-resolution x2")
    text = derive(ct(DerivationDescription="x" * 1024)).DerivationDescription
    assert len(text) == 1024
    assert text.endswith("pixels are estimated, not acquired.")


def test_d14_the_source_image_is_referred_to_behind_earlier_ones():
    earlier = item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="1.2.3")
    history, ours = derive(ct(SourceImageSequence=Sequence([earlier]))).SourceImageSequence
    assert history.ReferencedSOPInstanceUID == "1.2.3"
    assert ours.ReferencedSOPInstanceUID == "1.2.3.4.1"
    assert ours.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert code_of(ours.PurposeOfReferenceCodeSequence) == [
        ("121322", "DCM", "Source image for image processing operation")
    ]
    assert "ReferencedFrameNumber" not in ours


def test_d15_locations_of_pixels_are_not_preserved():
    assert derive(ct()).SourceImageSequence[0].SpatialLocationsPreserved == "NO"


def test_d16_scanner_and_software_contribute_behind_earlier_equipment():
    earlier = item(Manufacturer="Workstation", PurposeOfReferenceCodeSequence=Sequence([item(CodeValue="109103")]))
    first, scanner, ours = derive(ct(ContributingEquipmentSequence=Sequence([earlier]))).ContributingEquipmentSequence
    assert first.Manufacturer == "Workstation"
    assert code_of(scanner.PurposeOfReferenceCodeSequence) == [("109101", "DCM", "Acquisition Equipment")]
    assert (scanner.Manufacturer, scanner.ManufacturerModelName, scanner.StationName) == ("ScanCo", "Scanner 9", "CT01")
    assert (scanner.SoftwareVersions, scanner.DeviceSerialNumber) == ("9.1", "SN-42")
    assert scanner.InstitutionName == "Hospital"
    assert code_of(ours.PurposeOfReferenceCodeSequence) == [("109102", "DCM", "Processing Equipment")]
    assert (ours.Manufacturer, ours.SoftwareVersions) == ("tfmisr", "0.1.0")
    assert ours.ContributionDescription.startswith("Super-resolution x2")


def test_d16_the_time_of_contribution_has_its_zone():
    ours = derive(ct(TimezoneOffsetFromUTC="-0500")).ContributingEquipmentSequence[-1]
    assert ours.ContributionDateTime == "20260101220405.000600-0500"


@pytest.mark.parametrize("manufacturer", ["", None])
def test_d16_an_unknown_scanner_has_a_manufacturer_all_the_same(manufacturer):
    assert derive(ct(Manufacturer=manufacturer)).ContributingEquipmentSequence[0].Manufacturer == "UNKNOWN"


def test_d17_the_equipment_of_the_new_series_is_ours():
    sr = derive(ct())
    assert (sr.Manufacturer, sr.ManufacturerModelName, sr.SoftwareVersions) == ("tfmisr", "tfmisr resnet18", "0.1.0")
    assert "DeviceSerialNumber" not in sr and "StationName" not in sr
    assert sr.InstitutionName == "Hospital"


def test_d17_the_equipment_stays_the_scanner_s_where_that_is_asked_for():
    sr = derive(ct(), keep_manufacturer=True)
    assert (sr.Manufacturer, sr.DeviceSerialNumber, sr.StationName) == ("ScanCo", "SN-42", "CT01")
    assert sr.ContributingEquipmentSequence[-1].Manufacturer == "tfmisr"


def test_d17_enhanced_objects_must_have_a_serial_number():
    assert derive(enhanced_ct()).DeviceSerialNumber == "ab" * 8


def test_d18_people_can_see_what_made_the_pixels():
    sr = derive(ct())
    assert sr.SeriesDescription.endswith("SRx2 AI")
    assert "estimated, not acquired" in sr.DerivationDescription
    assert "estimated, not acquired" in derive(enhanced_ct()).ImageComments
    assert derive(enhanced_ct()).ImageComments.startswith("with contrast")


def test_d18_content_qualification_is_research_where_that_is_asked_for():
    assert "ContentQualification" not in derive(ct())
    assert derive(ct(), research=True).ContentQualification == "RESEARCH"


def test_d14_enhanced_objects_list_their_sources_at_the_top():
    earlier = item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="1.2.3")
    series = item(SeriesInstanceUID="1.2.3.4.3", ReferencedSOPSequence=Sequence([earlier]))
    study = item(StudyInstanceUID="1.2.3.4.2", ReferencedSeriesSequence=Sequence([series]))
    for source in (enhanced_ct(), enhanced_ct(SourceImageEvidenceSequence=Sequence([study]))):
        (study,) = derive(source).SourceImageEvidenceSequence
        (series,) = study.ReferencedSeriesSequence
        assert (study.StudyInstanceUID, series.SeriesInstanceUID) == ("1.2.3.4.2", "1.2.3.4.3")
        assert series.ReferencedSOPSequence[-1].ReferencedSOPInstanceUID == "1.2.3.4.1"
