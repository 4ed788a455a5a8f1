"""A folder of volumes as a dataset: which volumes, which slices, which patients, and nothing of names (V-15)."""

import csv
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from dicom_sources import mr
from series_sources import grid_of, write_source

from tfmisr import data
from tfmisr.datasets.volume_folder import scan, slices, volume_folder_dataset_builder
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import IntensityScale
from tfmisr.edge.volumes import Volume, VolumeGrid

nibabel = pytest.importorskip("nibabel")
AXES = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
RNG = np.random.default_rng(0)


def put_nifti(path, values, spacing):
    """Writes (slices, rows, columns) as NIfTI, whose axes are the other way round."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    nibabel.save(nibabel.Nifti1Image(np.asarray(values).transpose(2, 1, 0), affine), path)


def noise(*shape):
    return RNG.integers(1, 1000, shape).astype(np.int16)


def wave(shape, low=-900.0, high=1200.0):
    """A smooth pattern (slices, rows, columns) that differs in all three directions."""
    z, y, x = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    return (low + (high - low) * (0.5 + 0.25 * np.sin(5 * z + 3 * x) * np.cos(4 * y) + 0.2 * z * x)).astype(np.float32)


def everything(source):
    return {e["id"]: e for split in source.splits for e in source.examples(split)}


def put_series(folder, patient, shape=(6, 40, 36), **options):
    folder.mkdir(parents=True)
    grid = grid_of(shape)
    values = wave(shape)
    write_source(
        folder, values, grid, PatientID=patient, SeriesInstanceUID=f"1.2.3.{len(patient)}.{ord(patient[-1])}", **options
    )
    return values


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two patients of NIfTI files in folders, two of DICOM series, and files that are no volumes."""
    folder = tmp_path_factory.mktemp("mixed")
    put_nifti(folder / "sub-1" / "a.nii.gz", noise(5, 40, 36), (5.0, 1.0, 1.0))
    put_nifti(folder / "sub-1" / "b.nii.gz", noise(4, 40, 36), (5.0, 1.0, 1.0))
    put_nifti(folder / "sub-2" / "a.nii", noise(34, 36, 40), (1.0, 1.0, 1.0))
    put_series(folder / "x" / "s1", "P-1")
    put_series(folder / "x" / "s2", "P-2")
    (folder / "notes.txt").write_text("not a volume")
    return folder


def test_nifti_files_and_dicom_series_are_found_v15(mixed):
    found = scan.volumes([mixed])
    assert [len(volume.paths) for volume in found] == [1, 1, 1, 6, 6]
    assert [volume.name.rpartition("/")[0] for volume in found] == ["sub-1", "sub-1", "sub-2", "x/s1", "x/s2"]
    assert [volume.patient for volume in found] == [None, None, None, "P-1", "P-2"]
    assert "P-1" not in repr(found)
    assert len(scan.volumes([mixed / "sub-1" / "a.nii.gz", mixed / "x" / "s1"])) == 2


def test_files_of_one_series_given_by_name_are_one_volume(mixed):
    files = sorted((mixed / "x" / "s1").iterdir())
    (found,) = scan.volumes(files)
    assert set(found.paths) == set(files)


def test_a_folder_without_volumes_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match="found none in"):
        scan.volumes([tmp_path])


def test_slices_of_an_isotropic_volume_come_in_three_planes_v15():
    values = np.zeros((33, 34, 36), np.float32)
    values[10:20, 5:30, 5:30] = 500.0
    volume = Volume(values, VolumeGrid(values.shape, (1.05, 1.0, 1.0), (0.0, 0.0, 0.0), AXES), 1.05, "MR")
    found = dict(slices.images(volume, IntensityScale(0, 1023)))
    # Air is left out: the slices outside of the block hold nothing above the mean.
    assert sorted(found) == [
        *(f"0_{k:04d}" for k in range(10, 20)),
        *(f"1_{k:04d}" for k in range(5, 30)),
        *(f"2_{k:04d}" for k in range(5, 30)),
    ]
    np.testing.assert_array_equal(found["1_0007"][..., 0], values[:, 7].astype(np.uint16))
    thick = Volume(values, VolumeGrid(values.shape, (1.2, 1.0, 1.0), (0.0, 0.0, 0.0), AXES), 1.2, "MR")
    assert {name[0] for name, _ in slices.images(thick, IntensityScale(0, 1023))} == {"0"}


def test_small_planes_are_left_out_and_values_clipped():
    values = np.full((31, 40, 40), 100.0, np.float32)
    values[5, :20] = 5000.0
    volume = Volume(values, VolumeGrid(values.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), AXES), 1.0, "CT")
    found = dict(slices.images(volume, IntensityScale(-1024, 4095)))
    assert list(found) == ["0_0005"]  # 31 rows are too few across
    assert found["0_0005"][0, 0, 0] == 4095 and found["0_0005"][-1, 0, 0] == 1124


def test_the_dataset_of_a_mixed_folder_is_split_by_patient_v15(mixed, tmp_path):
    source = data.load("volume_folder", data_dir=str(tmp_path), manual_dirs=[str(mixed)])
    assert source.name == "volume_folder" and source.full_scale == "series" and source.dtype == np.uint16
    stored = everything(source)
    by_volume = {}
    for key, example in stored.items():
        by_volume.setdefault(key.rpartition("_")[0][:-2], []).append(example)
    assert sorted(by_volume) == [f"volume_{k:04d}" for k in range(5)]
    patients = [by_volume[f"volume_{k:04d}"][0]["patient"] for k in range(5)]
    assert patients == [0, 0, 1, 2, 3]
    by_split = {split: {e["patient"] for e in source.examples(split)} for split in source.splits}
    assert sum(map(len, by_split.values())) == 4 == len(set().union(*by_split.values()))
    assert len(by_volume["volume_0000"]) == 5 and len(by_volume["volume_0002"]) == 34 + 36 + 40
    table = next(pathlib.Path(source.folder).glob("sources.csv"))
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert min(rows, key=lambda row: row["id"])["file"] == "sub-1/a.nii.gz"


def test_values_of_ct_and_mr_have_the_scales_of_single_images_v15(mixed, tmp_path):
    source = data.load("volume_folder", data_dir=str(tmp_path), manual_dirs=[str(mixed / "x")])
    stored = everything(source)
    example = stored["volume_0000_0_0002"]
    assert example["max_val"] == 4095
    expected = np.rint(wave((6, 40, 36))[2]) + 1024
    assert np.abs(example["hr"][..., 0] - expected).max() <= 1
    series = tmp_path / "mr"
    series.mkdir()
    write_source(series, wave((5, 40, 36), 0, 900), grid_of((5, 40, 36)), mr, PatientID="three")
    stored = everything(data.load("volume_folder", data_dir=str(tmp_path), manual_dirs=[str(series)]))
    assert {e["max_val"] for e in stored.values()} == {1023}  # the smallest 2^k - 1 above 900


def test_a_volume_that_cannot_be_read_is_named_and_left_out_v15(tmp_path, capsys):
    put_nifti(tmp_path / "in" / "sub-1" / "a.nii", noise(5, 40, 36), (5.0, 1.0, 1.0))
    put_nifti(tmp_path / "in" / "sub-2" / "a.nii", noise(5, 40, 36), (5.0, 1.0, 1.0))
    four = nibabel.Nifti1Image(np.ones((36, 40, 5, 2), np.int16), np.diag([1.0, 1.0, 5.0, 1.0]))
    nibabel.save(four, tmp_path / "in" / "sub-1" / "four.nii")
    source = data.load(str(tmp_path / "in"), data_dir=str(tmp_path / "prepared"))
    assert len(everything(source)) == 10
    error = capsys.readouterr().err
    assert "four.nii" in error and "skipped" in error


def test_a_folder_of_nifti_files_is_one_of_volumes_and_with_images_one_of_images_v15(mixed, tmp_path):
    assert data.builder(str(mixed / "sub-1"), str(tmp_path)).name == "volume_folder"
    assert data.builder(str(mixed), str(tmp_path)).name == "image_folder"  # as before there were volumes


def test_a_changed_volume_is_another_dataset(mixed, tmp_path):
    shutil.copytree(mixed, tmp_path / "copy")
    first = volume_folder_dataset_builder.Builder(manual_dirs=[tmp_path / "copy"], data_dir=str(tmp_path)).fingerprint()
    os.utime(tmp_path / "copy" / "sub-2" / "a.nii", (5, 5))
    other = volume_folder_dataset_builder.Builder(manual_dirs=[tmp_path / "copy"], data_dir=str(tmp_path))
    pattern = volume_folder_dataset_builder.Builder(
        manual_dirs=[tmp_path / "copy"], data_dir=str(tmp_path), patient_pattern="(.+)"
    )
    assert len({first, other.fingerprint(), pattern.fingerprint()}) == 3


class VolumeFolderTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own checks: registration, metadata, tags, features, no example in two splits."""

    DATASET_CLASS = volume_folder_dataset_builder.Builder
    SPLITS = {"train": 6, "validation": 3, "test": 3}
    EXAMPLE_DIR = os.path.dirname(__file__)  # no downloads to stand in for

    def _make_builder(self, config=None):
        folder = pathlib.Path(self.tmp_dir) / "volumes"
        shutil.rmtree(folder, ignore_errors=True)
        for number in range(4):
            values = np.random.default_rng(number).integers(1, 1000, (3, 40, 36)).astype(np.int16)
            put_nifti(folder / f"p{number}" / "a.nii", values, (5.0, 1.0, 1.0))
        for path in folder.rglob("*.nii"):
            os.utime(path, (1, 1))
        return self.dataset_class(data_dir=self.tmp_dir, config=config, manual_dirs=folder)
