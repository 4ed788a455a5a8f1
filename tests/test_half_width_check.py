"""The checker names what is wrong with a half-width map: one seeded mistake for each rule (T-20 to T-22)."""

import subprocess
import sys

import numpy as np
import pytest
from dicom_sources import cr, ct, dx, enhanced_ct, item, xa
from pydicom import DataElement
from pydicom.sequence import Sequence
from test_dicom_check import drop, meta, private, put
from test_half_width_map import map_of, mapping, widths

from tfmisr import dicom_check
from tfmisr.edge.errors import InputError


def files(tmp_path, make, mutate=lambda ds: None, **options):
    """The upscaled image, its map with a mistake, and the half-widths."""
    sr, result = map_of(make(), **options)
    mutate(result)
    for name, ds in (("sr", sr), ("map", result)):
        ds.save_as(tmp_path / name, enforce_file_format=False, implicit_vr=False, little_endian=True)
    np.save(tmp_path / "w.npy", widths(sr))
    return tmp_path / "sr", tmp_path / "map", tmp_path / "w.npy"


def found(tmp_path, make, mutate=lambda ds: None, **options):
    sr, result, w = files(tmp_path, make, mutate, **options)
    return dicom_check.violations(sr, result, half_width=w)


def shared(ds, macro):
    return ds.SharedFunctionalGroupsSequence[0][macro].value[0]


def frame(ds, macro):
    return ds.PerFrameFunctionalGroupsSequence[-1][macro].value[0]


def source(ds):
    holder = ds if "SourceImageSequence" in ds else frame(ds, "DerivationImageSequence")
    return holder.SourceImageSequence[0]


def in_map(**attributes):
    return lambda ds: put(**attributes)(mapping(ds))


def lower(ds):
    """The largest half-width becomes a step smaller."""
    pixels = np.frombuffer(ds.PixelData, "<u2").copy()
    pixels[pixels.argmax()] -= 1
    ds.PixelData = pixels.tobytes()


def doubled(ds):
    ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") * 2).tobytes()


def lower_float(ds):
    values = np.frombuffer(ds.FloatPixelData, "<f4").copy()
    values[-1] = np.nextafter(values[-1], np.float32(0))
    ds.FloatPixelData = values.tobytes()


def not_a_number(ds):
    ds.FloatPixelData = np.full(len(ds.FloatPixelData) // 4, np.nan, "<f4").tobytes()


def other_scale(ds):
    mapping(ds).RealWorldValueSlope = 0.01


def units(code):
    return lambda ds: put(CodeValue=code)(mapping(ds).MeasurementUnitsCodeSequence[0])


def statement(ds):
    holder = ds if "DerivationDescription" in ds else frame(ds, "DerivationImageSequence")
    holder.DerivationDescription = "Half-widths"


MUTATIONS = [
    ("T-20 Frame of Reference", ct, put(FrameOfReferenceUID="1.2.9")),
    ("T-20 PixelSpacing", ct, lambda ds: put(PixelSpacing=[0.7, 0.5])(shared(ds, "PixelMeasuresSequence"))),
    ("T-20 SliceThickness", ct, lambda ds: put(SliceThickness=1)(shared(ds, "PixelMeasuresSequence"))),
    (
        "T-20 ImageOrientationPatient",
        ct,
        lambda ds: put(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])(shared(ds, "PlaneOrientationSequence")),
    ),
    (
        "T-20 ImagePositionPatient",
        enhanced_ct,
        lambda ds: put(ImagePositionPatient=[1, 2, 5.5])(frame(ds, "PlanePositionSequence")),
    ),
    ("T-20 Image Type", ct, put(ImageType=["DERIVED", "PRIMARY", "OTHER", "NONE"])),
    (
        "T-20 Image Type",
        ct,
        lambda ds: put(FrameType=["DERIVED", "PRIMARY"])(shared(ds, "ParametricMapFrameTypeSequence")),
    ),
    ("T-20 Acquisition Context", ct, drop("AcquisitionContextSequence")),
    ("T-20 Pixel Value Tr", ct, lambda ds: put(RescaleSlope=2)(shared(ds, "PixelValueTransformationSequence"))),
    ("T-21 PixelSpacing", dx, put(PixelSpacing=[0.16, 0.08])),
    ("T-21 ImagerPixelSpacing", cr, put(ImagerPixelSpacing=[0.2, 0.1])),
    ("T-21 Rescale Slope", cr, put(RescaleSlope=1)),
    ("T-21 Rescale Slope", cr, put(RescaleIntercept=-1024)),
    ("T-21 Frame Increment", cr, put(FrameIncrementPointer=0x00181063)),
    ("T-21 Frame Increment", xa, drop("FrameIncrementPointer")),
    ("T-22 Rows, Columns", ct, put(Rows=47)),
    ("T-22 Rows, Columns", cr, put(NumberOfFrames=2)),
    ("T-22 Photometric", cr, put(PhotometricInterpretation="MONOCHROME1")),
    ("T-22 SOP Instance UID differs", ct, meta(MediaStorageSOPInstanceUID="1.2.3")),
    ("T-22 Series Number", ct, put(SeriesNumber=1003)),
    ("T-22 Series Description", ct, put(SeriesDescription="Thorax SRx2 AI")),
    ("T-22 patient", ct, put(PatientID="other")),
    ("T-22 patient", cr, drop("PatientBirthDate")),
    ("T-22 AccessionNumber", ct, put(AccessionNumber="A2")),
    ("T-22 StudyInstanceUID", ct, put(StudyInstanceUID="1.2.9")),
    ("T-22 private", ct, private),
    ("T-22 Source Image", ct, lambda ds: put(ReferencedSOPInstanceUID="1.2.3")(source(ds))),
    ("T-22 Source Image", cr, drop("SourceImageSequence")),
    ("T-22 Referenced SOP Class", cr, lambda ds: put(ReferencedSOPClassUID="1.2.3")(source(ds))),
    ("T-22 each frame", enhanced_ct, lambda ds: put(ReferencedFrameNumber=1)(source(ds))),
    ("T-22 Spatial", cr, lambda ds: put(SpatialLocationsPreserved="NO")(source(ds))),
    ("T-22 Derivation Description", ct, statement),
    ("T-22 Derivation Description", cr, statement),
    ("T-22 the unit", ct, units("1")),
    ("T-22 the unit", cr, units("[hnsf'U]")),
    ("T-22 the slope", ct, other_scale),
    ("T-22 the slope", ct, in_map(RealWorldValueIntercept=-1024.0)),
    ("T-22 pixels must", ct, put(PixelRepresentation=1)),
    ("T-22 1 half-widths are below", ct, lower),
    ("T-22 1 half-widths are below", cr, lower),
    ("T-22 3072 half-widths are more than a step above", ct, doubled),
]


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("start, make, mutate", MUTATIONS, ids=[f"{s[:16]}-{i}" for i, (s, *_) in enumerate(MUTATIONS)])
def test_t22_a_mistake_is_named(tmp_path, start, make, mutate):
    lines = found(tmp_path, make, mutate)
    assert [line[: len(start)] for line in lines] == [start]
    assert "Doe" not in lines[0]
    assert "ID-1" not in lines[0]


@pytest.mark.parametrize("make", [ct, cr, dx, xa, enhanced_ct])
def test_t22_a_map_breaks_no_rule(tmp_path, make):
    assert found(tmp_path, make) == []


@pytest.mark.parametrize(
    "mutate, start",
    [
        (lambda ds: None, None),
        (lower_float, "T-22 1 half-widths are below"),
        (not_a_number, "T-22 3072 half-widths are below"),
        (in_map(RealWorldValueSlope=2.0), "T-22 the slope of Float Pixel Data"),
        (lambda ds: put(FloatPixelData=bytes(4))(ds), "T-22 Rows, Columns"),
    ],
)
def test_t22_float_pixel_data(tmp_path, mutate, start):
    lines = found(tmp_path, ct, mutate, float_pixels=True)
    assert [line[: len(start or "")] for line in lines] == ([start] if start else [])


def test_t22_uids_of_the_image_are_not_those_of_its_map(tmp_path):
    sr, result = map_of(ct())
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        lines = found(tmp_path, ct, put(**{keyword: sr[keyword].value}))
        assert lines == ["T-22 SOP Instance UID and Series Instance UID must be new ones"]
    assert result.SOPInstanceUID != sr.SOPInstanceUID


def test_t22_a_map_of_another_image(tmp_path):
    sr, _, w = files(tmp_path, lambda: ct(SOPInstanceUID="1.2.3.4.9"))
    _, other = map_of(ct())
    other.save_as(tmp_path / "other", enforce_file_format=True)
    lines = dicom_check.violations(sr, tmp_path / "other", half_width=w)
    assert lines == ["T-22 Source Image Sequence must reference the upscaled image, and nothing else"]


def test_t22_files_that_do_not_fit_are_refused(tmp_path):
    sr, result, w = files(tmp_path, ct)
    np.save(tmp_path / "small.npy", np.zeros((2, 2)))
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    for name, message in [
        ("small.npy", r"Received: \(2, 2\)"),
        ("broken.npy", "not a readable .npy file"),
        ("objects.npy", "not a readable .npy file"),
        ("absent.npy", "not a readable .npy file"),
    ]:
        with pytest.raises(InputError, match=message):
            dicom_check.violations(sr, result, half_width=tmp_path / name)
    ct().save_as(tmp_path / "source", enforce_file_format=True)
    with pytest.raises(InputError, match="the result is an image"):
        dicom_check.violations(tmp_path / "source", sr, half_width=w)


def test_t22_the_command(tmp_path):
    sr, result, w = files(tmp_path, ct, lower)
    command = [sys.executable, "-m", "tfmisr.dicom_check", sr, result]
    assert dicom_check.main([str(sr), str(result)]) == 0
    done = subprocess.run([*command, "--half_width", w], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "T-22 1 half-widths are below the recorded ones\n")


def test_t22_a_parametric_map_of_others_is_not_a_half_width_map(tmp_path):
    """Without the quantity it is an image that has been derived wrongly, as before."""

    def other(ds):
        mapping(ds).QuantityDefinitionSequence = Sequence([item(ValueType="CODE")])
        ds["ImageType"] = DataElement("ImageType", "CS", ["DERIVED", "PRIMARY"])

    sr, result, _ = files(tmp_path, ct, other)
    assert any(line.startswith("D-07") for line in dicom_check.violations(sr, result))
