"""The checker of a derived series names exactly the rule that is broken: a seeded mistake for each (V-11a to V-11q)."""

import shutil

import numpy as np
import pydicom
import pytest
from dicom_sources import WHEN, item
from pydicom import DataElement
from pydicom.sequence import Sequence
from series_sources import averaged, grid_of, pattern, thin_product, write_source

from tfmisr import dicom_check
from tfmisr.edge.derived.series import write_series
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import Volume, reading
from tfmisr.edge.volumes.slice_profile import SliceProfile

PADDING = -2000
FOUR = SliceProfile("rectangular", 4.0)


def edit(ds, index):
    ds.AcquisitionTime = f"1011{index:02d}"
    ds.ProtocolName = "head"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A source of five padded slices, and the derived series of ten, as files and as an Enhanced object."""
    base = tmp_path_factory.mktemp("check")
    (base / "source").mkdir()
    grid = grid_of(shape=(5, 14, 16), spacing=(4.0, 0.7, 0.5))
    fine = grid.with_slice_spacing(2.0)
    thin = pattern(fine)
    values = averaged(thin, grid, fine, FOUR)
    values[:, :, -2:] = PADDING
    fields = {"PixelPaddingValue": PADDING, "SmallestImagePixelValue": 0, "LargestImagePixelValue": 0}
    write_source(base / "source", values, grid, thickness=4.0, edit=edit, **fields)
    source = reading.read(base / "source")
    product = thin_product(consistency="exact along the slice axis")
    for name, enhanced in (("files", False), ("enhanced", True)):
        write_series(source, Volume(thin, fine), base / name, product, FOUR, enhanced, when=WHEN)
    return base


def put(**attributes):
    def mutate(ds):
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)

    return mutate


def drop(keyword):
    return lambda ds: ds.pop(keyword)


def meta(ds):
    ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"


def same_uid(ds):
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.7"


def moved(axis, by):
    def mutate(ds):
        position = [float(value) for value in ds.ImagePositionPatient]
        position[axis] += by
        ds.ImagePositionPatient = position

    return mutate


def pixels(function):
    def mutate(ds):
        stored = np.frombuffer(ds.PixelData, "<i2").reshape(ds.Rows, ds.Columns).copy()
        function(stored)
        ds.PixelData = stored.tobytes()
        inside = stored[stored != PADDING]
        ds.SmallestImagePixelValue, ds.LargestImagePixelValue = int(inside.min()), int(inside.max())

    return mutate


def raised(stored):
    stored[:, :-2] += 3


def hole(stored):
    stored[3, 3] = PADDING


def spilled(stored):
    stored[3, -1] = 7


def shifted(stored):
    """Half a voxel to the right, by linear interpolation."""
    stored[:, 1:-2] = (stored[:, :-3].astype(int) + stored[:, 1:-2]) // 2


def long_decimal(ds):
    ds.add(DataElement("ReconstructionDiameter", "LO", "350.00000000000000000"))
    ds["ReconstructionDiameter"].VR = "DS"


def private(ds):
    ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "LO", "x")


def overlay(ds):
    ds.add_new((0x6000, 0x0010), "US", 8)


def source_item(keyword, value):
    return lambda ds: setattr(ds.SourceImageSequence[0], keyword, value)


def second_source(ds):
    other = pydicom.Dataset(ds.SourceImageSequence[0])
    digit = "3" if other.ReferencedSOPInstanceUID.endswith("1") else "1"
    other.ReferencedSOPInstanceUID = f"1.2.3.4.1.{digit}"
    ds.SourceImageSequence.append(other)


ONE, ALL = slice(4, 5), slice(None)
MUTATIONS = [
    ("V-11a", ONE, meta),
    ("V-11a", slice(2, 4), same_uid),
    ("V-11a", ONE, put(SeriesInstanceUID="2.25.8")),
    ("V-11a", ALL, put(SeriesInstanceUID="1.2.3.4.3")),
    ("V-11b", ALL, put(FrameOfReferenceUID="2.25.9")),
    ("V-11b", ONE, put(PatientID="ID-2")),
    ("V-11c", ONE, put(ImageOrientationPatient=[1, 0, 0, 0, 0.8, 0.6])),
    ("V-11c", ALL, put(PixelSpacing=[0.35, 0.5])),
    ("V-11d", ONE, moved(2, 0.3)),
    ("V-11d", ONE, moved(0, 0.3)),
    ("V-11d", ALL, moved(0, 0.3)),
    ("V-11d", ALL, put(SpacingBetweenSlices=4.0)),
    ("V-11f", ALL, put(SliceThickness=4.0)),
    ("V-11f", ONE, put(SliceThickness=None)),
    ("V-11g", ONE, put(SliceLocation=3.0)),
    ("V-11g", ONE, put(InstanceNumber=99)),
    ("V-11h", ONE, second_source),
    ("V-11h", ONE, source_item("ReferencedSOPInstanceUID", "1.2.3.4.1.77")),
    ("V-11h", ONE, source_item("ReferencedSOPInstanceUID", "1.2.3.4.1.1")),
    ("V-11h", ONE, source_item("SpatialLocationsPreserved", "YES")),
    ("V-11h", ONE, source_item("PurposeOfReferenceCodeSequence", Sequence())),
    ("V-11i", ONE, put(ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])),
    ("V-11i", ONE, put(DerivationCodeSequence=Sequence())),
    ("V-11i", ONE, put(DerivationDescription="thin slices, slice profile gaussian:4mm")),
    ("V-11i", ONE, lambda ds: ds.ContributingEquipmentSequence.pop()),
    ("V-11j", ALL, put(SeriesNumber=3)),
    ("V-11j", ONE, put(SeriesDescription="Thorax SR 2 mm")),
    ("V-11j", ALL, put(ContentDate="20200102", ContentTime="101112")),
    ("V-11k", ALL, put(BitsStored=12, HighBit=11)),
    ("V-11k", ONE, put(RescaleIntercept=1)),
    ("V-11l", ONE, pixels(hole)),
    ("V-11l", ONE, pixels(spilled)),
    ("V-11m", ONE, put(LargestImagePixelValue=30000)),
    ("V-11n", ALL, pixels(raised)),
    ("V-11p", ONE, put(AcquisitionTime="101112")),
    ("V-11p", ONE, put(ProtocolName="neck")),
    ("V-11p", ONE, drop("KVP")),
    ("V-11q", ONE, private),
    ("V-11q", ONE, overlay),
    ("V-11q", ONE, put(IconImageSequence=Sequence([item(Rows=1)]))),
]


def violations(folders, tmp_path, mutate, part=ALL, name="files"):
    """Returns the numbers of the rules that a mutated copy breaks."""
    shutil.copytree(folders / name, tmp_path / "mutated")
    for file in sorted((tmp_path / "mutated").iterdir())[part]:
        ds = pydicom.dcmread(file)
        mutate(ds)
        ds.save_as(file)
    return {line.split()[0] for line in dicom_check.series_violations(folders / "source", tmp_path / "mutated")}


@pytest.mark.parametrize("name", ["files", "enhanced"])
def test_v11_a_derived_series_breaks_no_rule(folders, name):
    assert dicom_check.series_violations(folders / "source", folders / name) == []


@pytest.mark.parametrize(("rule", "part", "mutate"), MUTATIONS)
def test_v11_each_rule_has_its_mistake(folders, tmp_path, rule, part, mutate):
    found = violations(folders, tmp_path, mutate, part)
    # A slice at another place also has other sources, another Slice Location and other averages, as has a hole.
    followers = {"V-11d": {"V-11g", "V-11h", "V-11n", "V-11e"}, "V-11l": {"V-11n"}}.get(rule, set())
    assert rule in found
    assert found - followers == {rule}


def test_v11e_the_series_covers_its_source(folders, tmp_path):
    """All slices 1.5 mm higher: more than half of 2 mm. They are then no longer averages of the source."""
    found = violations(folders, tmp_path, moved(2, 1.5))
    assert {"V-11e"} <= found <= {"V-11e", "V-11g", "V-11h", "V-11n", "V-11o"}
    assert violations(folders, tmp_path / "less", moved(2, 0.9)).isdisjoint({"V-11e", "V-11d"})


def test_v11e_a_missing_last_slice(folders, tmp_path):
    shutil.copytree(folders / "files", tmp_path / "short")
    max((tmp_path / "short").iterdir()).unlink()
    lines = dicom_check.series_violations(folders / "source", tmp_path / "short")
    assert "V-11e" in {line.split()[0] for line in lines}


def test_v11o_a_spot_that_moves_by_half_a_voxel(folders, tmp_path):
    assert "V-11o" in violations(folders, tmp_path, pixels(shifted))


def test_v11o_a_spot_that_moves_along_the_slice_axis(folders, tmp_path):
    """By one new slice of 2 mm, half a voxel of the source: the pixels of each slice in the next one."""
    shutil.copytree(folders / "files", tmp_path / "mutated")
    files = sorted((tmp_path / "mutated").iterdir())
    data = [pydicom.dcmread(file).PixelData for file in files]
    for file, other in zip(files, [data[0], *data[:-1]], strict=True):
        ds = pydicom.dcmread(file)
        ds.PixelData = other
        ds.save_as(file)
    lines = dicom_check.series_violations(folders / "source", tmp_path / "mutated")
    assert "V-11o" in {line.split()[0] for line in lines}


@pytest.mark.parametrize(
    ("rule", "mutate"),
    [
        ("V-11a", put(SOPInstanceUID="1.2.3.4.1.1")),
        ("V-11b", put(SOPClassUID=pydicom.uid.EnhancedMRImageStorage)),
        ("V-11d", lambda ds: moved(2, 0.3)(ds.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0])),
        ("V-11f", lambda ds: setattr(shared(ds, "PixelMeasuresSequence"), "SliceThickness", 4.0)),
        ("V-11h", lambda ds: second_source(ds.PerFrameFunctionalGroupsSequence[3].DerivationImageSequence[0])),
        ("V-11h", drop("SourceImageEvidenceSequence")),
        ("V-11i", lambda ds: setattr(shared(ds, "CTImageFrameTypeSequence"), "FrameType", ["ORIGINAL", "PRIMARY"])),
        ("V-11k", lambda ds: setattr(shared(ds, "PixelValueTransformationSequence"), "RescaleSlope", 2)),
    ],
)
def test_v11_the_rules_hold_for_enhanced_objects(folders, tmp_path, rule, mutate):
    assert rule in violations(folders, tmp_path, mutate, name="enhanced")


def shared(ds, macro):
    return ds.SharedFunctionalGroupsSequence[0][macro].value[0]


def test_v11_a_decimal_string_of_seventeen_characters(folders, tmp_path):
    """Written by hand: pydicom writes none."""
    shutil.copytree(folders / "files", tmp_path / "mutated")
    file = tmp_path / "mutated" / "0003.dcm"
    before = b"DS\x06\x00120.0 "
    data = file.read_bytes()
    assert before in data
    file.write_bytes(data.replace(before, b"DS\x12\x00120.00000000000001"))
    lines = dicom_check.series_violations(folders / "source", tmp_path / "mutated")
    assert any(line.startswith("V-11q") for line in lines)


def test_v11_other_files_in_the_folder_of_the_source(folders, tmp_path):
    """They are skipped; a slice of the source that is missing is a reference to nothing; the result is read whole."""
    shutil.copytree(folders / "source", tmp_path / "source")
    shutil.copytree(folders / "files", tmp_path / "files")
    (tmp_path / "source" / "readme.txt").write_text("not DICOM")
    assert dicom_check.series_violations(tmp_path / "source", tmp_path / "files") == []
    next(path for path in (tmp_path / "source").iterdir() if path.name != "readme.txt").unlink()
    lines = dicom_check.series_violations(tmp_path / "source", tmp_path / "files")
    assert any(line.startswith("V-11h") for line in lines)
    (tmp_path / "files" / "readme.txt").write_text("not DICOM")
    with pytest.raises(InputError, match="readme"):
        dicom_check.series_violations(tmp_path / "source", tmp_path / "files")


def test_v11_what_is_no_series(folders, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected a series of slices, found 0"):
        dicom_check.series_violations(folders / "source", tmp_path / "empty")
    with pytest.raises(InputError, match="nowhere: expected a DICOM file, found no file"):
        dicom_check.main([str(folders / "source"), str(tmp_path / "nowhere")])
    with pytest.raises(InputError, match="for two files"):
        dicom_check.main([str(folders / "source"), str(folders / "files"), "--keep_private"])
    assert dicom_check.main([str(folders / "source"), str(folders / "files")]) == 0
    assert capsys.readouterr().out == ""
