"""V-11: other software reads derived series: dicom3tools, dcm2niix, highdicom; sources with real headers."""

import re
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from dicom_sources import WHEN, ct, enhanced_ct, item, mr
from pydicom.sequence import Sequence
from series_sources import CORONAL, OBLIQUE, averaged, grid_of, small, thin_product, write_source
from test_derived_real import enhanced_mr, error_lines, needs_dciodvfy

from tfmisr import dicom_check
from tfmisr.edge.derived.series import write_series
from tfmisr.edge.volumes import Volume, reading, resampling
from tfmisr.edge.volumes.slice_profile import SliceProfile

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # about the values of old sources
needs_dcm2niix = pytest.mark.skipif(not shutil.which("dcm2niix"), reason="no dcm2niix; apt-get install dcm2niix")


def thinned(folder, target, spacing=2.0, enhanced=False, when=WHEN, **fields):
    """Writes a folder's series at another spacing, by cubic splines; returns source and report."""
    source = reading.read(folder)
    grid = source.volume.grid.with_slice_spacing(spacing)
    values = resampling.resample(source.volume, grid, "spline").values
    profile = SliceProfile("gaussian", source.volume.slice_thickness or source.volume.grid.spacing[0])
    product = thin_product(**fields)
    return source, write_series(source, Volume(values, grid), target, product, profile, enhanced, when=when)


def errors_of(folder):
    return set().union(*(error_lines(path) for path in folder.iterdir()))


def contradictions(folder):
    done = subprocess.run(["dcentvfy", *sorted(folder.iterdir())], capture_output=True, text=True)
    return {line.split(" - ")[0] for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")}


@needs_dciodvfy
@pytest.mark.parametrize("name", ["CT", "MR"])
@pytest.mark.parametrize("enhanced", [False, True])
def test_v11_dicom3tools_find_no_error_that_the_source_has_not(tmp_path, name, enhanced):
    (tmp_path / "source").mkdir()
    small(name, tmp_path / "source")
    thinned(tmp_path / "source", tmp_path / "thin", enhanced=enhanced)
    assert errors_of(tmp_path / "thin") <= errors_of(tmp_path / "source")
    assert contradictions(tmp_path / "thin") <= contradictions(tmp_path / "source")


def enhanced_source(path, make, frames=4):
    """An Enhanced object of four frames, 2.5 mm apart along the normal of its planes."""
    ds = make(frames=frames)
    normal = np.cross(*OBLIQUE)
    for index, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        position = [round(float(value), 6) for value in (1, 2, 3) + 2.5 * index * normal]
        group.PlanePositionSequence[0].ImagePositionPatient = position
        group.FrameVOILUTSequence = Sequence([item(WindowCenter=40 + index, WindowWidth=400)])
        group.CardiacSynchronizationSequence = Sequence([item(NominalCardiacTriggerDelayTime=10.0 * index)])
    ds.save_as(path, enforce_file_format=True)
    return ds


@needs_dciodvfy
@pytest.mark.parametrize("make", [enhanced_ct, enhanced_mr])
def test_v11_an_enhanced_source_has_an_enhanced_result(tmp_path, make):
    (tmp_path / "source").mkdir()
    before = enhanced_source(tmp_path / "source" / "volume.dcm", make)
    _, report = thinned(tmp_path / "source", tmp_path / "thin", 1.0)
    ds = pydicom.dcmread(tmp_path / "thin" / "0001.dcm")
    assert (report.files, ds.NumberOfFrames, ds.SOPClassUID) == (("0001.dcm",), 10, before.SOPClassUID)
    # Faces at -1.25 and 8.75 mm; the first center is half a millimeter inside.
    normal = np.cross(*OBLIQUE)
    positions = [g.PlanePositionSequence[0].ImagePositionPatient for g in ds.PerFrameFunctionalGroupsSequence]
    assert np.allclose(positions, [np.add((1, 2, 3), (n - 0.75) * normal) for n in range(10)], atol=1e-5)
    numbers = [
        [int(i.ReferencedFrameNumber) for i in g.DerivationImageSequence[0].SourceImageSequence]
        for g in ds.PerFrameFunctionalGroupsSequence
    ]
    # A profile of 2.5 mm and a slice of 1 mm overlap below 1.75 mm; frames at 0, 2.5, ..., slices at -0.75, 0.25, ...
    assert numbers == [[1], [1], [1, 2], [2], [2], [3], [3], [3, 4], [4], [4]]
    shared = ds.SharedFunctionalGroupsSequence[0]
    assert float(shared.FrameVOILUTSequence[0].WindowCenter) == 41.5
    assert all("CardiacSynchronizationSequence" not in g for g in (shared, *ds.PerFrameFunctionalGroupsSequence))
    assert any("CardiacSynchronization" in remark for remark in report.remarks)
    assert {everywhere(line) for line in errors_of(tmp_path / "thin")} <= {
        everywhere(line) for line in errors_of(tmp_path / "source")
    }
    assert dicom_check.series_violations(tmp_path / "source", tmp_path / "thin") == []


def everywhere(line):
    """An error of dciodvfy without the sequence that the functional group is in: equal ones become shared."""
    return re.sub(r"(Shared|PerFrame)FunctionalGroupsSequence\(5200,92[0-9]+\)\[\]", "", line)


@needs_dciodvfy
@pytest.mark.parametrize("make", [ct, mr])
def test_v11_an_enhanced_object_of_an_enhanced_object_is_valid(tmp_path, make):
    """The first is made from single frames, which have the patient's position here; dciodvfy finds no error at all."""
    (tmp_path / "source").mkdir()
    grid, position = grid_of(shape=(3, 8, 8)), {"PatientPosition": "HFS"}
    write_source(tmp_path / "source", 500 + 0 * spot(grid, grid), grid, make, **position)
    thinned(tmp_path / "source", tmp_path / "first", 2.5, enhanced=True)
    thinned(tmp_path / "first", tmp_path / "second", 1.25, when=None, force=True)
    assert errors_of(tmp_path / "first") == errors_of(tmp_path / "second") == set()
    assert dicom_check.series_violations(tmp_path / "first", tmp_path / "second") == []


def by_dcm2niix(folder, target):
    nibabel = pytest.importorskip("nibabel")
    target.mkdir()
    done = subprocess.run(["dcm2niix", "-o", target, "-f", "v", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (file,) = target.glob("*.nii")
    return nibabel.load(file)


def corners(image):
    """Patient coordinates of the outer corners of an image, sorted."""
    ends = np.array([[-0.5, n - 0.5] for n in image.shape])
    index = np.stack([*np.meshgrid(*ends, indexing="ij"), np.ones((2, 2, 2))], axis=-1).reshape(-1, 4)
    return np.array(sorted(map(tuple, np.round(index @ image.affine[:3].T, 3))))


def spot(grid, about):
    """A Gaussian spot on zero, 16 mm deep, 8 mm down and 8 mm right of the first voxel of `about`."""
    index = np.stack([*np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), np.ones(grid.shape)], axis=-1)
    place = (index @ grid.affine[:3].T - about.origin) @ np.transpose(about.directions)
    return (1000 * np.exp(-((place - (16, 8, 8)) ** 2 / (32, 4, 4)).sum(axis=-1))).astype(np.float32)


def centroid(image):
    """Patient coordinates (NIfTI's: right, anterior, superior) of the centroid of all values."""
    values = image.get_fdata()
    index = [(np.indices(values.shape)[axis] * values).sum() / values.sum() for axis in range(3)]
    return (image.affine @ (*index, 1))[:3]


@needs_dcm2niix
@pytest.mark.parametrize(
    ("make", "fields", "enhanced"),
    [
        (ct, {"plane": OBLIQUE}, False),
        (mr, {"plane": CORONAL, "sense": -1}, True),
        pytest.param(ct, {"plane": OBLIQUE}, True, marks=pytest.mark.large),
        pytest.param(mr, {"plane": CORONAL, "sense": -1}, False, marks=pytest.mark.large),
    ],
)
def test_v11_dcm2niix_reads_overlapping_volumes(tmp_path, make, fields, enhanced):
    """The outer corners agree within 2e-3 mm, and the spot is where it is in the patient within 0.1 voxel."""
    (tmp_path / "source").mkdir()
    grid = grid_of(spacing=(5.0, 0.7, 0.5), **fields)
    fine, profile = grid.with_slice_spacing(1.0), SliceProfile("gaussian", 5.0)
    write_source(tmp_path / "source", averaged(spot(fine, grid), grid, fine, profile), grid, make)
    source = reading.read(tmp_path / "source")
    fine = source.volume.grid.with_slice_spacing(1.0)
    result = Volume(spot(fine, grid), fine)
    write_series(source, result, tmp_path / "thin", thin_product(), profile, enhanced, when=WHEN)
    before, after = by_dcm2niix(tmp_path / "source", tmp_path / "a"), by_dcm2niix(tmp_path / "thin", tmp_path / "b")
    assert (before.shape[2], after.shape[2]) == (8, 40)
    assert np.abs(corners(before) - corners(after)).max() < 2e-3
    truth = (grid.origin + np.transpose(grid.directions) @ (16, 8, 8)) * (-1, -1, 1)
    assert np.abs(centroid(after) - truth).max() < 0.05
    assert np.abs(centroid(before) - truth).max() < 0.5
    assert sorted(np.round(after.header.get_zooms(), 4)) == [0.5, 0.7, 1.0]
    assert abs(after.get_fdata().max() - result.values.max()) <= 1


def test_v11_highdicom_reads_a_volume(tmp_path):
    highdicom = pytest.importorskip("highdicom")
    (tmp_path / "source").mkdir()
    small("CT", tmp_path / "source")
    source, _ = thinned(tmp_path / "source", tmp_path / "files")
    thinned(tmp_path / "source", tmp_path / "enhanced", enhanced=True)
    grid = source.volume.grid.with_slice_spacing(2.0)
    files = [pydicom.dcmread(path) for path in (tmp_path / "files").iterdir()]
    volumes = [
        highdicom.get_volume_from_series(files),
        highdicom.imread(tmp_path / "enhanced" / "0001.dcm").get_volume(),
    ]
    for volume in volumes:
        assert np.allclose(volume.spacing, grid.spacing, atol=1e-4)
        assert volume.array.shape == grid.shape
        last = np.subtract(grid.shape, 1)
        ends, expected = (
            np.sort([(affine @ (*(last * end), 1))[:3] for end in np.ndindex(2, 2, 2)], axis=0)
            for affine in (volume.affine, grid.affine)  # highdicom may count the slices from the other end
        )
        assert np.allclose(ends, expected, atol=1e-3)


REAL = {
    "CT of a lung": ("ct", ("lungdx_Lung_Dx-A0001_1-08", "lungdx_Lung_Dx-A0001_1-18", "lungdx_Lung_Dx-A0001_1-28")),
    "MR of a brain": ("mr", ("hanke_N2D_0077", "hanke_N2D_0095", "hanke_N2D_0113")),
    "MR with contrast": ("mr", ("vsseg001_1-013", "vsseg001_1-019", "vsseg001_1-025")),
}


@needs_dciodvfy
@pytest.mark.large
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("enhanced", [False, True])
def test_v11_slices_of_real_series(tmp_path, shared_data, name, enhanced):
    """Three slices at equal distances of one series: headers as scanners write them."""
    folder, files = REAL[name]
    (tmp_path / "source").mkdir()
    for file in files:
        shutil.copy(shared_data / folder / f"{file}.dcm", tmp_path / "source")
    spacing = reading.read(tmp_path / "source").volume.grid.spacing[0]
    thinned(tmp_path / "source", tmp_path / "thin", spacing / 3, enhanced, ai=False, model="cubic spline")
    assert errors_of(tmp_path / "thin") <= errors_of(tmp_path / "source")
    assert contradictions(tmp_path / "thin") <= contradictions(tmp_path / "source")
    assert dicom_check.series_violations(tmp_path / "source", tmp_path / "thin") == []
