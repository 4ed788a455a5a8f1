"""Half-width maps as DICOM objects: T-20 to T-22. Expected values by hand, and from DCMTK and dicom3tools."""

import re
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from dicom_bytes import file_of
from dicom_sources import OBLIQUE, WHEN, bicubic, cr, ct, derive, dx, enhanced_ct, item, mr, mr_cine, product, us, xa
from pydicom import uid
from pydicom.sequence import Sequence
from test_derived_real import SYNTHETIC, error_lines, files_of, needs_dciodvfy

from tfmisr import dicom_check
from tfmisr.edge import derived
from tfmisr.edge.derived import HalfWidthStatement, derive_half_width, to_rescaled
from tfmisr.edge.errors import InputError

STATEMENT = HalfWidthStatement(alpha=0.1, delta=0.1, multiplier=1.22, patients=57)
FRAME_OF_REFERENCE = {"FrameOfReferenceUID": "1.2.3.4.5"}


def widths(sr, seed=0, largest=5.0):
    """Random half-widths (frames, rows, columns), the last one the largest."""
    shape = (int(sr.get("NumberOfFrames") or 1), sr.Rows, sr.Columns)
    w = np.random.default_rng(seed).random(shape, np.float32) * np.float32(largest)
    w.flat[-1] = largest
    return w


def map_of(source, w=None, scale=2, fields=(), **options):
    """The upscaled image and its map."""
    sr = derive(source, scale, **dict(fields))
    w = widths(sr) if w is None else w
    return sr, derive_half_width(sr, w, STATEMENT, product(scale, **dict(fields)), WHEN, **options)


def mapping(ds):
    """Real World Value Mapping, wherever it is."""
    shared = ds.get("SharedFunctionalGroupsSequence") or [ds]
    return shared[0].RealWorldValueMappingSequence[0]


def half_widths(ds):
    """Half-widths (frames, rows, columns), by hand."""
    stored = np.frombuffer(ds.get("FloatPixelData") or ds.PixelData, "<f4" if "FloatPixelData" in ds else "<u2")
    return stored.reshape(ds.NumberOfFrames, ds.Rows, ds.Columns) * mapping(ds).RealWorldValueSlope


# Stored values in steps of 1/256 of a unit of the image, doubled until the largest fits 65535.
@pytest.mark.parametrize(
    "largest, slope, stored",
    [
        (1.0, 1 / 256, 256),
        (1 / 256, 1 / 256, 1),
        (1e-6, 1 / 256, 1),
        (5e-324, 1 / 256, 1),
        (0.0, 1 / 256, 0),
        (255.99609375, 1 / 256, 65535),
        (255.997, 1 / 128, 32768),
        (65535.0, 1.0, 65535),
        (65535.5, 2.0, 32768),
        (2.0**53, 2.0**38, 32768),
    ],
)
@pytest.mark.parametrize("make", [ct, cr])
def test_t20_values_are_rounded_up_in_steps_of_a_power_of_two(make, largest, slope, stored):
    result = map_of(make(), np.full((48, 64), largest))[1]
    assert mapping(result).RealWorldValueSlope == slope
    assert mapping(result).RealWorldValueIntercept == 0
    assert set(np.frombuffer(result.PixelData, "<u2")) == {stored}
    if "RescaleSlope" in result:
        assert float(result.RescaleSlope) == slope
        assert len(str(result.RescaleSlope)) <= 16


def test_t20_the_smallest_number_beside_the_largest_is_not_rounded_to_0():
    """Divided by the slope, it underflows."""
    w = np.full((48, 64), 5e-324)
    w[0, 0] = 2.0**53
    assert half_widths(map_of(ct(), w)[1]).min() == 2.0**38


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"float_pixels": True}])
@pytest.mark.parametrize("largest", [1e-3, 3.0, 700.0, 60000.0])
def test_t20_no_value_is_below_its_half_width_and_none_a_step_above(dtype, options, largest):
    sr = derive(ct())
    w = widths(sr, 1, largest).astype(dtype).astype(np.float64)
    w[0, 0] = np.logspace(-30, -1, 64) * largest
    result = derive_half_width(sr, w.astype(dtype), STATEMENT, product(), WHEN, **options)
    w, values = w.astype(dtype).astype(np.float64), half_widths(result).astype(np.float64)
    below = (
        np.nextafter(values.astype(np.float32), np.float32(-1))
        if options
        else values - max(1 / 256, 2 * w.max() / 65535)
    )
    assert (values >= w).all()
    assert (below < w).all()


def test_t20_a_float64_that_float32_would_round_down():
    result = map_of(ct(), np.full((48, 64), 1 + 2.0**-40), float_pixels=True)[1]
    assert set(np.frombuffer(result.FloatPixelData, "<f4")) == {np.float32(1 + 2.0**-23)}
    assert "PixelData" not in result
    assert result.BitsAllocated == 32


def test_t20_parametric_map_has_the_plane_of_the_upscaled_image():
    sr, result = map_of(ct())
    shared, frame = result.SharedFunctionalGroupsSequence[0], result.PerFrameFunctionalGroupsSequence[0]
    assert result.SOPClassUID == "1.2.840.10008.5.1.4.1.1.30"
    assert list(result.ImageType) == ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    assert list(result.AcquisitionContextSequence) == []
    assert result.FrameOfReferenceUID == "1.2.3.4.5"
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == [0.35, 0.25]  # 0.7 and 0.5, halved
    assert shared.PixelMeasuresSequence[0].SliceThickness == 2.5
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == OBLIQUE
    # A quarter of an old pixel: -0.25 * (0.5 * row direction + 0.7 * column direction)
    expected = [-100.25 - 0.1 + 0.063, 30.5 - 0.075 - 0.084, -7.125 - 0.14]
    assert np.allclose(frame.PlanePositionSequence[0].ImagePositionPatient, expected, atol=1e-6)
    transformation = shared.PixelValueTransformationSequence[0]
    assert (transformation.RescaleSlope, transformation.RescaleIntercept) == (1, 0)
    assert (result.BitsStored, result.PixelRepresentation, result.PhotometricInterpretation) == (16, 0, "MONOCHROME2")
    source = frame.DerivationImageSequence[0].SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == sr.SOPInstanceUID
    assert "ReferencedFrameNumber" not in source


def test_t20_half_widths_of_a_signed_image_with_intercept_have_no_intercept():
    source = ct(RescaleIntercept=-1024, RescaleSlope=2)
    sr, result = map_of(source, np.full((48, 64), 10.0))
    assert (half_widths(result) == 10).all()
    unit = mapping(result).MeasurementUnitsCodeSequence[0]
    assert (unit.CodeValue, unit.CodingSchemeDesignator) == ("[hnsf'U]", "UCUM")
    assert mapping(result).RealWorldValueSlope == 2 / 256
    assert (to_rescaled(sr, np.full((48, 64), 5.0)) == 10).all()


@pytest.mark.parametrize(
    "source, unit",
    [
        (ct(RescaleType="MGML"), "mg/ml"),
        (ct(RescaleType="US"), "1"),
        (mr(**FRAME_OF_REFERENCE), "1"),
        (cr(), "1"),
        (ct(SOPClassUID=uid.PositronEmissionTomographyImageStorage, Modality="PT", Units="BQML"), "Bq/ml"),
    ],
)
def test_t22_units_are_those_of_the_rescaled_values(source, unit):
    assert mapping(map_of(source)[1]).MeasurementUnitsCodeSequence[0].CodeValue == unit


def test_t20_each_frame_of_an_enhanced_image_has_its_own():
    sr = derive(enhanced_ct())
    w = np.stack([np.full((48, 64), 2.0), np.full((48, 64), 3.0)])
    result = derive_half_width(sr, w, STATEMENT, product(), WHEN)
    assert (half_widths(result) == w).all()
    groups = result.PerFrameFunctionalGroupsSequence
    assert [g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber for g in groups] == [1, 2]
    assert [list(g.FrameContentSequence[0].DimensionIndexValues) for g in groups] == [[1, 1], [2, 1]]
    before = [g.PlanePositionSequence[0].ImagePositionPatient for g in sr.PerFrameFunctionalGroupsSequence]
    assert [g.PlanePositionSequence[0].ImagePositionPatient for g in groups] == before


def test_t20_frames_of_one_plane_are_numbered():
    result = map_of(mr_cine(**FRAME_OF_REFERENCE))[1]
    contents = [g.FrameContentSequence[0] for g in result.PerFrameFunctionalGroupsSequence]
    assert [list(content.DimensionIndexValues) for content in contents] == [[1, 1], [1, 2], [1, 3]]


def test_t20_frames_with_different_rescale_slopes():
    source = enhanced_ct()
    del source.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    for slope, group in zip((1, 4), source.PerFrameFunctionalGroupsSequence, strict=True):
        rescale = item(RescaleSlope=slope, RescaleIntercept=0, RescaleType="HU")
        group.PixelValueTransformationSequence = Sequence([rescale])
    sr = derive(source)
    w = to_rescaled(sr, np.ones((2, 48, 64)))
    assert (w[0] == 1).all()
    assert (w[1] == 4).all()
    result = derive_half_width(sr, w, STATEMENT, product(), WHEN)
    assert (half_widths(result) == w).all()


def test_t21_a_projection_becomes_a_secondary_capture():
    sr, result = map_of(dx())
    assert result.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7.3"
    assert result.NumberOfFrames == 1
    assert "FrameIncrementPointer" not in result
    assert "FrameOfReferenceUID" not in result
    assert result.PhotometricInterpretation == "MONOCHROME2"  # of a MONOCHROME1 image too: large widths are bright
    assert list(result.PixelSpacing) == list(sr.PixelSpacing)
    assert list(result.ImagerPixelSpacing) == [0.1, 0.05]
    assert (result.RescaleSlope, result.RescaleIntercept) == (1 / 256, 0)
    (source,) = result.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == sr.SOPInstanceUID
    assert source.ReferencedSOPClassUID == sr.SOPClassUID
    assert source.SpatialLocationsPreserved == "YES"


@pytest.mark.parametrize("fields, pointer", [({}, 0x00181063), ({"FrameTime": None}, 0x00182001)])
def test_t21_several_frames(fields, pointer):
    result = map_of(xa(**fields))[1]
    assert (result.NumberOfFrames, result.FrameIncrementPointer) == (3, pointer)
    assert ("FrameTime" in result) == (pointer == 0x00181063)
    assert list(result.get("PageNumberVector") or [1, 2, 3]) == [1, 2, 3]


def test_t21_of_the_channels_of_a_color_image_the_largest_counts():
    w = np.zeros((48, 64, 3))
    w[..., 0], w[..., 1], w[..., 2] = 1, 3, 2
    result = map_of(us(), w)[1]
    assert (half_widths(result) == 3).all()
    assert result.SamplesPerPixel == 1


def test_t22_identity_is_deterministic_and_of_its_own():
    sr, first = map_of(ct())
    again = derive_half_width(sr, widths(sr), STATEMENT, product())
    assert (again.SOPInstanceUID, again.SeriesInstanceUID) == (first.SOPInstanceUID, first.SeriesInstanceUID)
    others = [
        HalfWidthStatement(0.05, 0.1, 1.22, 57),
        HalfWidthStatement(0.1, 0.2, 1.22, 57),
        HalfWidthStatement(0.1, 0.1, 1.23, 57),
        HalfWidthStatement(0.1, 0.1, 1.22, 57, "ab" * 32),
    ]
    results = [first, *(derive_half_width(sr, widths(sr), other, product()) for other in others)]
    results.append(derive_half_width(sr, widths(sr), STATEMENT, product(), float_pixels=True))
    results.append(derive_half_width(sr, widths(sr), STATEMENT, product(version="0.2.0")))
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        uids = {result[keyword].value for result in results}
        assert len(uids) == len(results)
        assert sr[keyword].value not in uids
        assert all(uid.UID(value).is_valid for value in uids)
    assert first.StudyInstanceUID == sr.StudyInstanceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID


def test_t22_slices_of_a_series_stay_one_series():
    sources = [ct(SOPInstanceUID=f"1.2.3.4.1.{n}") for n in range(2)]
    results = [map_of(source)[1] for source in sources]
    assert len({result.SeriesInstanceUID for result in results}) == 1
    assert len({result.SOPInstanceUID for result in results}) == 2


@pytest.mark.parametrize(
    "description, expected",
    [
        ("Thorax", "Thorax SRx2 AI half-width 90/90"),
        (None, "SRx2 AI half-width 90/90"),
        ("W" * 64, "W" * 39 + " SRx2 AI half-width 90/90"),  # 64 characters
    ],
)
def test_t22_series_description(description, expected):
    sr, result = map_of(ct(SeriesDescription=description))
    assert result.SeriesDescription == expected
    assert result.SeriesNumber == sr.SeriesNumber + 1000


def test_t22_other_levels_are_in_the_series_description():
    sr = derive(ct())
    result = derive_half_width(sr, widths(sr), HalfWidthStatement(0.32, 0.05, 0.8, 99), product(), WHEN)
    assert result.SeriesDescription == "Thorax SRx2 AI half-width 68/95"


def test_t22_statement_is_in_both_derivation_descriptions():
    fields = {"uncertainty": STATEMENT.text, "applicability": "unusual: JPEG blocks"}
    sr, result = map_of(dx(), fields=fields)
    numbers = (
        "90 % of the pixels within SR +- w for 90 % of patients (alpha 0.1, delta 0.1, lambda 1.22, n 57 patients)"
    )
    assert f" Half-widths: {numbers}. Applicability: unusual: JPEG blocks. The guarantee" in sr.DerivationDescription
    assert sr.DerivationDescription.endswith("The guarantee of the half-widths is not applicable.")
    assert numbers in result.DerivationDescription
    assert result.DerivationDescription.endswith("Not applicable to this image: unusual: JPEG blocks.")
    assert len(sr.DerivationDescription) < 1024


# SHA-256 of a product before it had these fields: Python's hashlib over its fields, by hand in an earlier release.
EARLIER_KEY = "d2e416bbeeee64b96342d9210a950e05835a2084eca6dc38a63ccd358a48b5ff"


def test_t22_without_a_statement_the_uids_of_earlier_releases_stay():
    assert product().key == EARLIER_KEY
    assert product(uncertainty="alpha 0.1").key != EARLIER_KEY


def test_t31_the_verdict_on_one_slice_does_not_split_its_series():
    plain, unusual = derive(ct()), derive(ct(), applicability="unusual")
    assert plain.SeriesInstanceUID == unusual.SeriesInstanceUID
    assert plain.SOPInstanceUID != unusual.SOPInstanceUID
    assert unusual.DerivationDescription.endswith(" Applicability: unusual.")


@pytest.mark.parametrize("field", ["uncertainty", "applicability"])
@pytest.mark.parametrize("text", ["a\\b", "ä", "a\nb", "~", "x" * 241])
def test_t22_statements_are_ascii_that_fits(field, text):
    with pytest.raises(ValueError, match=f"`{field}` must be at most 240 characters"):
        product(**{field: text})


@pytest.mark.parametrize("numbers", [(0, 0.1, 1, 5), (0.1, 1, 1, 5), (0.1, 0.1, 0, 5), (0.1, 0.1, float("nan"), 5)])
def test_t12_a_statement_is_checked(numbers):
    with pytest.raises(ValueError, match="must be"):
        HalfWidthStatement(*numbers)


def test_t22_bytes_of_names_stay_and_private_elements_go(tmp_path):
    """D-03, D-40, D-43: a name that does not fit its character set is neither changed nor lost."""
    elements = [
        (0x00080005, "CS", b"ISO_IR 192"),
        (0x00100010, "PN", b"M\xfcller"),
        (0x00100020, "LO", b"ID-\xfc\xe9"),
        (0x00290010, "LO", b"SIEMENS CSA HEADER"),
        (0x00291010, "LO", b"secret"),
    ]
    for syntax in ("explicit", "implicit", "big"):
        (tmp_path / "source").write_bytes(file_of(elements, syntax))
        derived.write(derive(tmp_path / "source"), tmp_path / "sr")
        sr = pydicom.dcmread(tmp_path / "sr")
        derived.write(derive_half_width(tmp_path / "sr", widths(sr), STATEMENT, product(), WHEN), tmp_path / "map")
        content = (tmp_path / "map").read_bytes()
        assert b"M\xfcller" in content
        assert b"ID-\xfc\xe9" in content
        assert b"secret" not in content
        assert dicom_check.violations(tmp_path / "sr", tmp_path / "map") == []


def test_t22_private_elements_that_the_image_keeps_are_removed_from_the_map():
    source = mr(**FRAME_OF_REFERENCE)
    source.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 1.5)
    sr, result = map_of(source, fields={"keep_private": ((0x2005, "Philips MR Imaging DD 001", 0x0E),)})
    assert any(element.tag.is_private for element in sr)
    assert not any(element.tag.is_private for element in result)


@pytest.mark.parametrize(
    "character_set, name, description",
    [("ISO_IR 192", "Müller^Jürg", "Schädel"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎", "山田" * 16)],
)
def test_t22_character_sets(tmp_path, character_set, name, description):
    result = map_of(ct(SpecificCharacterSet=character_set, PatientName=name, SeriesDescription=description))[1]
    derived.write(result, tmp_path / "map")
    read = pydicom.dcmread(tmp_path / "map")
    assert str(read.PatientName) == name
    assert read.SeriesDescription == f"{description} SRx2 AI half-width 90/90"[-64:]


MISSING = {
    "FrameOfReferenceUID": "Frame of Reference UID (0020,0052)",
    "ImagePositionPatient": "Image Position (Patient) (0020,0032)",
}


@pytest.mark.parametrize("keyword", MISSING)
def test_t20_a_ct_without_a_plane_is_refused_by_name(keyword):
    with pytest.raises(InputError) as error:
        map_of(ct(**{keyword: None}))
    assert f"a Parametric Map needs {MISSING[keyword]}, which the image does not have" in str(error.value)
    assert "\n" not in str(error.value)


def test_t20_an_mr_without_any_geometry_is_refused_with_all_that_is_missing():
    keywords = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    with pytest.raises(InputError, match="Frame of Reference.*Pixel Spacing.*Image Orientation.*Image Position"):
        map_of(mr(**dict.fromkeys(keywords)))


@needs_dciodvfy
@pytest.mark.parametrize("thickness", [None, "", 0])
def test_t20_slice_thickness_may_be_unknown(tmp_path, thickness):
    sr, result = map_of(ct(SliceThickness=thickness))
    for name, ds in (("sr", sr), ("map", result)):
        derived.write(ds, tmp_path / name)
    measures = result.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert "SliceThickness" not in measures
    assert dicom_check.violations(tmp_path / "sr", tmp_path / "map") == []
    assert error_lines(tmp_path / "map") == set()


def test_t20_decimal_strings_are_not_longer_than_16_characters(tmp_path):
    """D-27: pydicom would copy those of a source that are."""
    cosines = "\\".join(f"{value:.18f}" for value in OBLIQUE).encode()
    (tmp_path / "source").write_bytes(file_of([(0x00200037, "DS", cosines)], "explicit"))
    derived.write(derive(tmp_path / "source"), tmp_path / "sr")
    result = derive_half_width(tmp_path / "sr", np.zeros((48, 64)), STATEMENT, product(), WHEN)
    orientation = result.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    assert [float(value) for value in orientation] == OBLIQUE
    assert max(len(str(value)) for value in orientation) <= 16


@pytest.mark.parametrize("spacing", [[0, 0.5], [-0.7, 0.5]])
def test_t20_a_pixel_without_size_is_refused(spacing):
    with pytest.raises(InputError, match=r"needs Pixel Spacing \(0028,0030\)"):
        map_of(ct(PixelSpacing=spacing))


def test_t22_an_instance_number_that_is_none_is_copied_as_it_is(tmp_path):
    (tmp_path / "source").write_bytes(file_of([(0x00200013, "IS", b"7b")], "explicit"))
    derived.write(derive(tmp_path / "source"), tmp_path / "sr")
    result = derive_half_width(tmp_path / "sr", np.zeros((48, 64)), STATEMENT, product(), WHEN)
    derived.write(result, tmp_path / "map")
    assert b"7b" in (tmp_path / "map").read_bytes()
    assert map_of(ct(InstanceNumber=None))[1].InstanceNumber == 1


def test_t20_frames_without_a_plane_are_refused():
    source = enhanced_ct()
    del source.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    with pytest.raises(InputError, match=r"needs Image Position \(Patient\) \(0020,0032\)"):
        map_of(source)


HOSTILE = [
    (np.full((48, 64), np.nan), "3072 not a number"),
    (np.full((48, 64), np.inf), "3072 infinite"),
    (np.full((48, 64), -1e-9), "3072 negative"),
    (np.full((48, 64), 1e300), "3072 larger"),
    (np.zeros((64, 48)), "(64, 48)"),
    (np.zeros((2, 48, 64)), "(2, 48, 64)"),
    (np.zeros((48, 64, 3)), "(48, 64, 3)"),
    (np.zeros((24, 32)), "(24, 32)"),
    (np.zeros(()), "()"),
    (np.zeros((48, 64), complex), "complex128"),
    (np.zeros((48, 64), object), "object"),
    (np.zeros((48, 64), bool), "bool"),
]


@pytest.mark.parametrize("make", [ct, cr])
@pytest.mark.parametrize("w, reason", HOSTILE)
def test_t20_hostile_half_widths_are_refused(make, w, reason):
    with pytest.raises(InputError) as error:
        map_of(make(), w)
    assert reason in str(error.value)
    assert "Received" in str(error.value)


def test_t20_a_source_is_not_an_upscaled_image():
    for sr, scale in [(ct(), 2), (derive(ct()), 4)]:
        with pytest.raises(InputError, match=f"expected an image that tfmisr has upscaled x{scale}"):
            derive_half_width(sr, np.zeros((sr.Rows, sr.Columns)), STATEMENT, product(scale))


def test_t20_an_image_without_pixels_is_refused():
    sr = derive(ct())
    del sr.PixelData
    with pytest.raises(InputError, match=r"the upscaled image: expected an upscaled image, found no Pixel Data \(7FE0"):
        derive_half_width(sr, np.zeros((48, 64)), STATEMENT, product())


def test_t21_refusals():
    with pytest.raises(InputError, match="Float Pixel Data is for Parametric Maps"):
        map_of(cr(), float_pixels=True)
    with pytest.raises(InputError, match="Rescale Slope.*is 1e-07, too small"):
        map_of(cr(RescaleSlope="1e-7", RescaleIntercept=0))
    lut = item(LUTDescriptor=[1024, 0, 10], LUTData=list(range(1024)), ModalityLUTType="US")
    with pytest.raises(InputError, match="Modality LUT Sequence"):
        map_of(cr(ModalityLUTSequence=Sequence([lut])))


def test_t22_a_map_is_not_upscaled(tmp_path):
    for make in (ct, cr):
        derived.write(map_of(make())[1], tmp_path / "map")
        with pytest.raises(InputError, match="already been upscaled|not upscaled"):
            derived.derive(tmp_path / "map", bicubic(), product())


@pytest.mark.parametrize("lossless", ["rle", "jpeg_ls"])
def test_t22_lossless_compression_of_the_product_applies(tmp_path, lossless):
    for make, options in [(ct, {}), (cr, {}), (ct, {"float_pixels": True})]:
        sr, result = map_of(make(), fields={"lossless": lossless}, **options)
        for name, ds in (("sr", sr), ("map", result)):
            derived.write(ds, tmp_path / name)
        np.save(tmp_path / "w.npy", widths(sr))
        assert result.file_meta.TransferSyntaxUID.is_encapsulated == (not options)
        assert dicom_check.violations(tmp_path / "sr", tmp_path / "map", half_width=tmp_path / "w.npy") == []


@needs_dciodvfy
@pytest.mark.parametrize("name", SYNTHETIC)
def test_t20_t21_dciodvfy_has_no_error(tmp_path, name):
    source = SYNTHETIC[name]()
    source.FrameOfReferenceUID = "1.2.3.4.5"
    sr, result = map_of(source)
    for file, ds in (("sr", sr), ("map", result)):
        derived.write(ds, tmp_path / file)
    np.save(tmp_path / "w.npy", widths(sr))
    assert error_lines(tmp_path / "map") == set()
    assert dicom_check.violations(tmp_path / "sr", tmp_path / "map", half_width=tmp_path / "w.npy") == []


@needs_dciodvfy
def test_t20_dciodvfy_accepts_float_pixel_data(tmp_path):
    derived.write(map_of(enhanced_ct(), float_pixels=True)[1], tmp_path / "map")
    assert error_lines(tmp_path / "map") == set()


@pytest.mark.parametrize("make", [ct, cr])
def test_t20_t21_dcmtk_shows_the_half_widths(tmp_path, make):
    if not shutil.which("dcm2pnm"):
        pytest.skip("no DCMTK; install it with apt-get install dcmtk")
    result = map_of(make())[1]
    derived.write(result, tmp_path / "map.dcm")
    subprocess.run(["dcm2pnm", "+opw", tmp_path / "map.dcm", tmp_path / "map.pgm"], check=True, capture_output=True)
    kind, columns, rows, _, *shown = (tmp_path / "map.pgm").read_text().split()
    assert (kind, columns, rows) == ("P2", "64", "48")
    expected = half_widths(result).ravel()
    shown = np.array(shown, int)
    assert shown[expected.argmax()] == shown.max()
    # DCMTK rounds the output of Rescale Slope to integers, which a Parametric Map does not have.
    assert np.corrcoef(shown, expected)[0, 1] > (0.9999 if make is ct else 0.97)


@needs_dciodvfy
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # about the values of old sources
def test_t22_real_files(tmp_path, shared_data):
    """Every kind of real file; those without a Frame of Reference are refused by name."""
    refused = 0
    paths = [*files_of(shared_data / "dicom"), *files_of(shared_data / "ct")[:2], *files_of(shared_data / "mr")[:2]]
    for path in paths:
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            if header.Rows * header.Columns * int(header.get("NumberOfFrames") or 1) > 300_000:
                continue
            derived.write(derive(path), tmp_path / "sr")
        except InputError:
            continue  # not upscaled
        sr = pydicom.dcmread(tmp_path / "sr")
        np.save(tmp_path / "w.npy", widths(sr))
        try:
            result = derive_half_width(tmp_path / "sr", widths(sr), STATEMENT, product(), WHEN)
        except InputError as error:
            assert re.search("a Parametric Map needs|Modality LUT Sequence", str(error))
            refused += 1
            continue
        derived.write(result, tmp_path / "map")
        assert dicom_check.violations(tmp_path / "sr", tmp_path / "map", half_width=tmp_path / "w.npy") == []
        assert error_lines(tmp_path / "map") - error_lines(tmp_path / "sr") == set(), path.name
    assert refused < 5


@needs_dciodvfy
def test_t22_dcentvfy_finds_no_contradiction_in_a_series_of_maps(tmp_path):
    for number in range(3):
        sr = derive(ct(SOPInstanceUID=f"1.2.3.4.1.{number}", InstanceNumber=number + 1))
        derived.write(derive_half_width(sr, widths(sr, number), STATEMENT, product(), WHEN), tmp_path / f"{number}.dcm")
    done = subprocess.run(["dcentvfy", *sorted(tmp_path.iterdir())], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
