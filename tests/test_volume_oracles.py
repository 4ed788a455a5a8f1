"""Reading against other readers: dcm2niix, SimpleITK where installed, pydicom; real slices; broken and random input."""

import gzip
import pathlib
import shutil
import subprocess

import nibabel
import numpy as np
import pydicom
import pytest
from dicom_sources import OBLIQUE, ct, mr
from pydicom.pixels import apply_modality_lut
from volume_sources import AXIAL, ORIGIN, SAGITTAL, decimals, enhanced, normal, save, series

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import nifti, reading

CORNERS = ((0, 0, 0), (6, 5, 7), (3, 2, 1), (6, 0, 0))


@pytest.mark.parametrize("orientation,spacing", [(OBLIQUE, 2.5), (AXIAL, -3), (SAGITTAL, 0.7)])
def test_v02_dcm2niix_puts_the_same_values_at_the_same_places(tmp_path, orientation, spacing):
    if not shutil.which("dcm2niix"):
        pytest.skip("no dcm2niix")
    pixels = {"orientation": orientation, "step": spacing * normal(orientation), "Manufacturer": "GE"}
    source = reading.read(save(tmp_path / "in", series(7, kind=mr, BitsStored=16, **pixels)))
    (tmp_path / "out").mkdir()
    subprocess.run(
        ["dcm2niix", "-o", tmp_path / "out", "-f", "x", "-b", "n", tmp_path / "in"], check=True, capture_output=True
    )
    image = nibabel.load(tmp_path / "out" / "x.nii")
    assert_same(source, image.get_fdata(), image.affine)


def assert_same(source, data, ras):
    """Each corner has the same value in both volumes; `ras` is the affine of `data`."""
    inverse = np.linalg.inv(ras)
    for index in CORNERS:
        place = np.diag([-1, -1, 1]) @ source.volume.grid.position(*index)
        other = (inverse @ (*place, 1))[:3]
        nearest = np.rint(other).astype(int)
        np.testing.assert_allclose(other, nearest, atol=1e-4)
        assert data[tuple(nearest)] == source.volume.values[index]


@pytest.mark.parametrize("orientation", [OBLIQUE, AXIAL, SAGITTAL, [-1, 0, 0, 0, -1, 0]])
def test_v02_simpleitk_reads_the_same_volume(tmp_path, orientation):
    itk = pytest.importorskip("SimpleITK")
    source = reading.read(save(tmp_path, series(7, orientation=orientation, RescaleSlope=2, RescaleIntercept=-1024)))
    names = itk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    image = itk.ReadImage(names)
    values = itk.GetArrayFromImage(image)
    for index in CORNERS:
        place = image.TransformPhysicalPointToContinuousIndex(source.volume.grid.position(*index).tolist())
        nearest = tuple(np.rint(place).astype(int))
        np.testing.assert_allclose(place, nearest, atol=1e-6)
        assert values[nearest[::-1]] == source.volume.values[index]


@pytest.mark.parametrize(
    "names",
    [
        ("ct/lungdx_Lung_Dx-A0001_1-08.dcm", "ct/lungdx_Lung_Dx-A0001_1-18.dcm", "ct/lungdx_Lung_Dx-A0001_1-28.dcm"),
        ("mr/hanke_N2D_0077.dcm", "mr/hanke_N2D_0095.dcm", "mr/hanke_N2D_0113.dcm"),
    ],
)
def test_v01_real_slices_are_those_of_pydicom(shared_data, names):
    source = reading.read([shared_data / name for name in names[::-1]])
    data_sets = sorted(map(pydicom.dcmread, source.paths), key=lambda ds: np.array(ds.ImagePositionPatient) @ normal(
        np.array(ds.ImageOrientationPatient, float)))  # fmt: skip
    padding = np.zeros_like(source.volume.values, bool) if source.padding is None else source.padding
    for ds, values, mask, index in zip(data_sets, source.volume.values, padding, range(3), strict=True):
        np.testing.assert_allclose(values[~mask], apply_modality_lut(ds.pixel_array, ds)[~mask], rtol=1e-6)
        np.testing.assert_allclose(source.volume.grid.position(index), np.array(ds.ImagePositionPatient), atol=1e-2)
    assert f"{float(data_sets[0].SliceThickness):.3g} mm thick: a gap of" in source.spacing_report


@pytest.mark.parametrize("name", ["chris_PD", "CT_pitch"])
def test_v12_real_volumes_come_back_bit_for_bit(shared_data, tmp_path, name):
    path = shared_data / "volumes" / f"{name}.nii.gz"
    source = reading.read(path)
    assert nifti.write(tmp_path / "a.nii", source.volume, source) == 0
    old, new = nibabel.load(path), nibabel.load(tmp_path / "a.nii")
    np.testing.assert_array_equal(new.dataobj.get_unscaled(), old.dataobj.get_unscaled())
    assert (new.affine == old.affine).all()
    assert source.volume.grid.spacing[0] == pytest.approx(old.header.get_zooms()[2], rel=1e-5)


def shuffled(seed):
    """Slices with random orientation, spacing, order, instance numbers and jitter; and how they lie."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    orientation = [float(f"{v:.8g}") for v in (*turn[0], *turn[1])]
    count, spacing = int(rng.integers(3, 9)), float(rng.uniform(0.4, 8))
    numbers = rng.permutation(count)
    places = ORIGIN + np.outer(np.arange(count) * spacing, normal(orientation)) + rng.uniform(-1e-4, 1e-4, (count, 3))
    each = lambda i: {"InstanceNumber": int(numbers[i]), "ImagePositionPatient": decimals(places[i])}  # noqa: E731
    return series(count, orientation=orientation, each=each), places, spacing, rng.permutation(count)


@pytest.mark.parametrize("seed", range(6))
def test_v02_random_stacks_are_sorted(tmp_path, seed):
    data_sets, places, spacing, order = shuffled(seed)
    source = reading.read(save(tmp_path, data_sets, order))
    assert [h.SOPInstanceUID for h in source.headers] == [ds.SOPInstanceUID for ds in data_sets]
    assert source.volume.grid.spacing[0] == pytest.approx(spacing, abs=3e-4)
    for index, place in enumerate(places):
        np.testing.assert_allclose(source.volume.grid.position(index), place, atol=5e-4)
    with pytest.raises(InputError, match="missing|irregular|at least 3 slices" if len(places) > 3 else "at least 3"):
        reading.read([path for path, i in zip(source.paths, range(len(places)), strict=True) if i != 1])


def damaged(content, rng):
    """Content with one to three bytes changed, removed or inserted."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place, kind = int(rng.integers(len(content))), int(rng.integers(4))
        if kind == 0:
            content[place] = int(rng.integers(256))
        elif kind == 1:
            del content[place : place + int(rng.integers(1, 9))]
        elif kind == 2:
            content[place:place] = bytes(rng.integers(0, 256, 5, dtype=np.uint8))
        else:
            content[place : place + 4] = b"\xff\xff\xff\xff"
    return bytes(content)


def volume_files(folder: pathlib.Path):
    """A slice of a series, a multi-frame image and two NIfTI files: what to read, and which file to damage."""
    slices = save(folder / "series", series(4), order=range(4))
    enhanced(4).save_as(folder / "enhanced.dcm", enforce_file_format=True)
    nibabel.save(nibabel.Nifti1Image(np.arange(210, dtype=np.int16).reshape(7, 6, 5), np.eye(4)), folder / "a.nii")
    (folder / "a.nii.gz").write_bytes(gzip.compress((folder / "a.nii").read_bytes()))
    single = [(folder / name, folder / name) for name in ("enhanced.dcm", "a.nii", "a.nii.gz")]
    return [(slices, slices / "slice001.dcm"), *single]


def test_damaged_files_are_read_or_refused_without_patient_data(tmp_path):
    rng = np.random.default_rng(0)
    for paths, file in volume_files(tmp_path):
        content = file.read_bytes()
        for _ in range(12):
            file.write_bytes(damaged(content, rng))
            try:
                assert np.isfinite(reading.read(paths).volume.values).all()
            except InputError as error:
                assert "\n" not in str(error)
                assert not any(word in str(error) for word in ("Doe", "ID-1", "1950"))


def test_one_slice_of_another_series_is_not_mixed_in(tmp_path):
    save(tmp_path, series())
    save(tmp_path, [ct(SOPInstanceUID="1.2.3.55", SeriesInstanceUID="1.2.3.55")], prefix="other")
    with pytest.raises(InputError, match="found 2 series"):
        reading.read(tmp_path)
