"""Input that is no volume is refused by name, in one line, without patient data (V-02, "Bad input")."""

import os

import dicom_bytes
import numpy as np
import pydicom
import pytest
from dicom_sources import OBLIQUE, color, ct, item, mr, us
from pydicom import uid
from volume_sources import AXIAL, ORIGIN, SAGITTAL, decimals, enhanced, normal, numbered, save, series

from tfmisr.edge import dicom_file
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import reading


def refusal(path, **options):
    """The message of a refusal: one line, without patient data."""
    with pytest.raises(InputError) as raised:
        reading.read(path, **options)
    message = str(raised.value)
    assert "\n" not in message
    assert not any(word in message for word in ("Doe", "Jane", "ID-1", "1950", "Thorax"))
    return message


def only(index, **attributes):
    """Attributes of one slice, for `each` of `series`."""
    return lambda i: attributes if i == index else {}


@pytest.mark.parametrize(
    "attributes,expected",
    [
        ({"ImageOrientationPatient": AXIAL}, "mixed orientations, 2 orientations in 5 slices"),
        ({"ImageOrientationPatient": OBLIQUE[3:] + OBLIQUE[:3]}, "mixed orientations, 2 orientations in 5 slices"),
        (
            {"ImagePositionPatient": ["1e300", 0, 0]},
            "Image Position (Patient) (0020,0032) must be finite numbers below",
        ),
        ({"RescaleSlope": "1e300"}, "Rescale Slope (0028,1053) takes values beyond those of float32"),
        ({"PixelSpacing": [0.7, 0.6]}, "mixed spacings: Pixel Spacing (0028,0030) 0.7 x 0.5 and 0.7 x 0.6 mm"),
        ({"BitsStored": 12}, "mixed bit depths: Bits Stored (0028,0101) 12 and 16"),
        ({"RescaleType": "US"}, "mixed rescale types: Rescale Type (0028,1054) HU and US"),
        ({"SliceThickness": 5}, "expected slices of one thickness. Received: Slice Thickness (0018,0050) 2.5 to 5 mm"),
        ({"PatientID": "ID-2"}, "expected slices of one patient and scan. Received: files of 2 patients"),
        ({"StudyInstanceUID": "1.2.9"}, "files of 2 studies"),
        ({"FrameOfReferenceUID": "1.2.9"}, "files of 2 frames of reference"),
        (
            {"ImagePositionPatient": None},
            "Image Position (Patient) (0020,0032) is missing: expected a slice with a place",
        ),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 0.5, 0]}, "must be two unit vectors at a right angle"),
        ({"PixelSpacing": [0, 0.5]}, "Pixel Spacing (0028,0030) must be above 0"),
        (
            {"RescaleIntercept": None},
            "Rescale Intercept (0028,1052) missing: the values of this CT are in no known unit",
        ),
        ({"RescaleSlope": 0}, "Rescale Slope (0028,1053) must be a finite number other than 0"),
        ({"SOPInstanceUID": "1.2.3.9.1", "ImagePositionPatient": decimals(ORIGIN)}, "the same SOP Instance more than"),
        ({"ImagePositionPatient": decimals(ORIGIN)}, "5 slices at 4 places, with nothing that --select knows"),
        (
            {"ImagePositionPatient": decimals(ORIGIN + 4 * normal())},
            "irregular spacing, 1 mm after slice 2 to 4 mm after slice 1",
        ),
    ],
)
def test_v02_a_slice_that_differs_is_named(tmp_path, attributes, expected):
    assert expected in refusal(save(tmp_path, series(each=only(1, **attributes))))


def test_two_patients_without_ids_are_distinguished_by_name(tmp_path):
    each = only(1, PatientName="Doe^John")
    assert "files of 2 patients" in refusal(save(tmp_path, series(PatientID="", each=each)))


def test_v02_mixed_sizes_are_named(tmp_path):
    save(tmp_path, [*series(5), *series(6, pixels=numbered(6, rows=7))[5:]])
    assert "mixed sizes: Rows (0028,0010) 6 and 7" in refusal(tmp_path)


def test_v02_missing_slices_are_shown_with_the_pattern_of_the_gaps(tmp_path):
    data_sets = series(20)
    kept = [ds for i, ds in enumerate(data_sets) if i not in (5, 9, 10, 16)]
    assert (
        "4 slices missing; no slice at 3 places: after slice 5 (+1), after slice 8 (+2), after slice 13 (+1), "
        "at a spacing of 2.5 mm" in refusal(save(tmp_path, kept))
    )


def test_v02_two_spacings_are_no_missing_slices(tmp_path):
    places = [0, 3, 6, 9, 12, 18, 24, 30]
    each = lambda i: {"ImagePositionPatient": decimals(ORIGIN + places[i] * normal())}  # noqa: E731
    message = refusal(save(tmp_path, series(8, each=each)))
    assert "mixed spacings between slices: 3 mm, but 6 mm from slice 5 to slice 8" in message


def test_v02_slices_shifted_within_their_plane_are_refused(tmp_path):
    shifted = ORIGIN + 5 * normal() + 0.2 * np.array([0.8, 0.6, 0])  # mm along the columns, whose spacing is 0.5
    message = refusal(save(tmp_path, series(each=only(2, ImagePositionPatient=decimals(shifted)))))
    assert "5 slices shifted in their plane, slice 3 by 0.4 pixels" in message


@pytest.mark.parametrize("angle", [0.2, -12.0, 25.0])
def test_v02_gantry_tilt_is_named_with_its_angle(tmp_path, angle):
    step = 3 * np.array([0, np.sin(np.radians(angle)), np.cos(np.radians(angle))])
    message = refusal(save(tmp_path, series(orientation=AXIAL, step=step)))
    assert f"gantry tilt {abs(angle):.3g} degrees; resample it within the planes with --resample_tilt" in message


@pytest.mark.parametrize("count", [1, 2])
def test_v02_one_or_two_slices_are_no_volume(tmp_path, count):
    expected = "1 slice" if count == 1 else "2 slices"
    assert refusal(save(tmp_path, series(count))) == f"expected at least 3 slices. Received: {expected}"


def test_v02_only_localizers_are_no_volume(tmp_path):
    assert "only localizers" in refusal(save(tmp_path, series(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])))


@pytest.mark.parametrize(
    "differ,values,keyword",
    [
        (lambda i: {"EchoTime": [4.5, 90][i % 2]}, "4.5 or 90", "EchoTime"),
        (lambda i: {"TemporalPositionIdentifier": 1 + i % 2}, "1 or 2", "TemporalPositionIdentifier"),
        (lambda i: {"DiffusionBValue": 1000.0 * (i % 2)}, "0 or 1000", "DiffusionBValue"),
        (lambda i: {"NominalPercentageOfCardiacPhase": 35.0 + 40 * (i % 2)}, "35 or 75", "NominalPercentageOfCardiac"),
        (lambda i: {"TriggerTime": 50 + 10 * (i % 2)}, "50 or 60", "TriggerTime"),
        (lambda i: {"ImageType": ["ORIGINAL", "PRIMARY", "MP"[i % 2]]}, r"ORIGINAL\PRIMARY\M or", "ImageType"),
    ],
)
def test_v02_duplicate_positions_are_refused_with_what_can_be_selected(tmp_path, differ, values, keyword):
    place = lambda i: {"ImagePositionPatient": decimals(ORIGIN + 2.5 * (i // 2) * normal()), **differ(i)}  # noqa: E731
    save(tmp_path, series(8, kind=mr, each=place, BitsStored=16))
    message = refusal(tmp_path)
    assert "found 8 slices at 4 places: they differ in" in message
    assert f"choose with --select {keyword}" in message
    assert values in message
    full = message.partition("--select ")[2].partition("=")[0]
    for part in (0, 1):
        value = differ(part)[full]
        value = value[-1] if isinstance(value, list) else value
        source = reading.read(tmp_path, select=f"{full}={value}")
        np.testing.assert_array_equal(source.volume.values, numbered(8)[part::2])


def test_v02_b_values_of_siemens_are_known_without_the_public_attribute(tmp_path):
    data_sets = series(8, kind=mr, BitsStored=16)
    for i, ds in enumerate(data_sets):
        ds.ImagePositionPatient = decimals(ORIGIN + 2.5 * (i // 2) * normal())
        ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", [50, 800][i % 2])
    save(tmp_path, data_sets)
    assert "choose with --select DiffusionBValue=... (DiffusionBValue: 50 or 800)" in refusal(tmp_path)
    assert reading.read(tmp_path, select={"DiffusionBValue": 800}).volume.values[0, 0, 0] == 1000


def test_v02_two_dimensions_are_named_together(tmp_path):
    def each(i):
        times = {"EchoTime": 10 * (1 + i % 2), "TriggerTime": 7 * (1 + i % 4 // 2)}
        return {"ImagePositionPatient": decimals(ORIGIN + 2.5 * (i // 4) * normal()), **times}

    save(tmp_path, series(12, kind=mr, each=each, BitsStored=16))
    assert "--select EchoTime=...,TriggerTime=... (EchoTime: 10 or 20; TriggerTime: 7 or 14)" in refusal(tmp_path)
    source = reading.read(tmp_path, select="EchoTime=20,TriggerTime=7")
    np.testing.assert_array_equal(source.volume.values, numbered(12)[1::4])


@pytest.mark.parametrize(
    "select,expected",
    [
        ("PatientName=x", "--select takes one of TemporalPositionIdentifier, "),
        ("EchoTime", "expected --select KEYWORD=VALUE"),
        ("EchoTime=3", "no slice has Echo Time (0018,0081) = 3; expected 1 or 2"),
    ],
)
def test_v02_a_selection_that_fits_no_slice_is_refused(tmp_path, select, expected):
    save(tmp_path, series(kind=mr, each=lambda i: {"EchoTime": 1 + i % 2}))
    assert expected in refusal(tmp_path, select=select)


@pytest.mark.parametrize(
    "data_sets,expected",
    [
        (lambda: [us(SOPInstanceUID=f"1.2.{i}") for i in range(3)], "expected CT or MR slices. Received: Ultrasound"),
        (lambda: [ct(color(), SOPInstanceUID=f"1.2.{i}") for i in range(3)], "expected gray slices"),
        (lambda: series(SOPClassUID=uid.PositronEmissionTomographyImageStorage), "Received: Positron Emission"),
        (lambda: series(each=only(2, Rows=None)), "no image"),
    ],
)
def test_images_of_other_kinds_are_refused(tmp_path, data_sets, expected):
    folder = save(tmp_path, data_sets())
    assert expected in refusal(sorted(folder.iterdir()))


def test_float_pixel_data_are_refused(tmp_path):
    data_sets = series()
    for ds in data_sets:
        del ds.PixelRepresentation, ds.PixelData
        ds.FloatPixelData = bytes(4 * 48)
    folder = save(tmp_path, data_sets)
    assert "float pixel data are not supported" in refusal(sorted(folder.iterdir()))
    assert "float pixel data are not supported" in refusal(folder)


def test_v01_files_that_are_no_dicom_images_are_skipped_and_counted(tmp_path):
    save(tmp_path / "a" / "b", series())
    (tmp_path / "readme.txt").write_text("not an image")
    (tmp_path / "a" / "empty.dcm").touch()
    report = ct(SOPInstanceUID="1.2.3.77")
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    save(tmp_path, [report], prefix="report")
    source = reading.read(tmp_path)
    assert source.volume.grid.shape[0] == 5
    assert source.remarks == ("skipped 2 files of another format", "skipped 1 file without an image")


def test_v01_references_of_a_dicomdir_are_not_followed(tmp_path):
    outside = save(tmp_path / "outside", series())
    directory = ct(SOPClassUID=uid.MediaStorageDirectoryStorage)
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(directory, keyword)
    record = item(DirectoryRecordType="IMAGE")
    reference = ["..", "outside", "slice000.dcm"]
    record[0x00041500] = pydicom.DataElement(0x00041500, "CS", reference, validation_mode=pydicom.config.IGNORE)
    directory.DirectoryRecordSequence = [record]
    (tmp_path / "media").mkdir()
    directory.save_as(tmp_path / "media" / "DICOMDIR", enforce_file_format=True)
    assert outside.is_dir()
    for path in (tmp_path / "media", tmp_path / "media" / "DICOMDIR"):
        assert "found none (skipped 1 file without an image; a DICOMDIR, whose references" in refusal(path)


def test_v01_loops_of_links_end(tmp_path):
    save(tmp_path / "a", series())
    os.symlink(tmp_path, tmp_path / "a" / "up")
    os.symlink(tmp_path / "a", tmp_path / "again")
    os.symlink("missing", tmp_path / "broken")
    assert reading.read(tmp_path).volume.grid.shape[0] == 5


def test_v01_a_path_without_a_volume_is_refused(tmp_path):
    assert "expected a file or folder of a volume, found neither" in refusal(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert "expected DICOM images of a volume, found none" in refusal(tmp_path / "empty")
    (tmp_path / "a.txt").write_text("text")
    assert "expected a DICOM image, found something else" in refusal(tmp_path / "a.txt")
    os.mkfifo(tmp_path / "pipe")
    assert "found neither" in refusal(tmp_path / "pipe")


def test_v01_truncated_pixels_name_their_file(tmp_path):
    folder = save(tmp_path, series(), order=range(5))
    path = folder / "slice002.dcm"
    path.write_bytes(path.read_bytes()[:-40])
    message = refusal(folder)
    assert "slice002.dcm" in message
    assert "ends within Pixel Data" in message


def test_v01_a_broken_number_does_not_repeat_its_text(tmp_path):
    folder = save(tmp_path, series(), order=range(5))
    path = folder / "slice003.dcm"
    content = path.read_bytes()
    old = b"0.7\\0.5 "
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, b"Doe^Jane"))
    assert "Pixel Spacing (0028,0030) must be 2 decimal numbers, not text" in refusal(folder)


def test_a_deflated_header_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_file, "MAX_BYTES", 10_000)
    (tmp_path / "a.dcm").write_bytes(dicom_bytes.file_of([(0x00204000, "LT", bytes(50_000))], "deflated"))
    assert "a.dcm: the file inflates to more than 10000 bytes" in refusal(tmp_path)


def test_v02_a_multi_frame_image_without_its_functional_groups_is_refused(tmp_path):
    ds = enhanced()
    del ds.PerFrameFunctionalGroupsSequence[-1]
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert "expected 5 items in Per-frame Functional Groups Sequence (5200,9230)" in refusal(tmp_path)


def test_v02_other_multi_frame_images_are_refused(tmp_path):
    ds = ct(numbered(3)[0], NumberOfFrames=3, PixelData=numbered(3).tobytes())
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert "expected one frame in CT Image Storage. Received: 3" in refusal(tmp_path)


def test_sagittal_and_axial_slices_in_one_series_are_mixed_orientations(tmp_path):
    save(tmp_path, series(3, orientation=AXIAL))
    save(tmp_path, series(3, orientation=SAGITTAL), prefix="other")
    assert "mixed orientations, 2 orientations in 6 slices" in refusal(tmp_path)
