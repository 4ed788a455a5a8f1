"""A folder of images as a dataset: which images, which patients, which splits, and nothing of names."""

import collections
import csv
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from tfmisr import data
from tfmisr.datasets.image_folder import image_folder_dataset_builder, patients, scan
from tfmisr.edge import images
from tfmisr.edge.errors import InputError

RNG = np.random.default_rng(0)


def gray(height=32, width=32, dtype=np.uint8):
    return RNG.integers(0, np.iinfo(dtype).max, (height, width, 1), dtype, endpoint=True)


def color(height=32, width=32):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def put(folder, *names, pixels=None):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        array = gray() if pixels is None else pixels
        images.write_image(path, array, int(np.iinfo(array.dtype).max))


def put_dicom(folder, name, patient, sop_class=uid.SecondaryCaptureImageStorage, frames=1):
    pixels = RNG.integers(0, 4096, (frames, 32, 32)).astype(np.uint16)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "2.25.1"
    ds.PatientID, ds.PatientName, ds.Modality = patient, "Doe^Jane", "CR"
    ds.Rows = ds.Columns = 32
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.NumberOfFrames = 16, 12, 11, frames
    ds.PixelData = pixels.tobytes()
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(folder / name, enforce_file_format=True)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "smith_family").mkdir()
    return tmp_path / "smith_family"


@pytest.fixture
def load(tmp_path, folder):
    def load_folder(**kwargs):
        return data.load(str(folder), data_dir=str(tmp_path / "data"), **kwargs)

    return load_folder


def everything(source):
    return {e["id"]: {**e, "split": s} for s in source.splits for e in source.examples(s)}


def sources(source):
    with open(source.folder / "sources.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_pixels_and_max_val_are_those_of_the_files(folder, load):
    put(folder, *(f"{n}.png" for n in range(5)), pixels=None)
    source = load()
    stored = everything(source)
    assert (source.channels, source.dtype) == (1, np.uint8)
    assert len(stored) == 5
    for row in sources(source):
        (image,) = images.read_images(folder / row["file"])
        np.testing.assert_array_equal(stored[row["id"]]["hr"], image.pixels)
        assert stored[row["id"]]["max_val"] == 255
        assert stored[row["id"]]["split"] == row["split"]


def test_8_and_16_bits_together_keep_their_own_max_val(folder, load):
    put(folder, "a.png", "b.png", "c.png")
    put(folder, "d.tif", pixels=gray(dtype=np.uint16))
    source = load()
    assert source.dtype == np.uint16
    assert sorted(e["max_val"] for e in everything(source).values()) == [255, 255, 255, 65535]


def test_all_kinds_of_files_nested_and_others_passed_over(folder, load):
    put(folder, "deep/er/a.png", "b.tif")
    put_dicom(folder, "c", "one")
    put_dicom(folder, "d/IM0001", "two")
    (folder / "notes.csv").write_text("a,b")
    (folder / ".hidden.png").write_bytes(b"AppleDouble")
    (folder / ".DS_Store").write_bytes(b"\0" * 10)
    assert [row["file"] for row in sorted(sources(load()), key=lambda r: r["id"])] == [
        "b.tif",
        "c",
        "d/IM0001",
        "deep/er/a.png",
    ]


def test_dicom_objects_that_are_no_images_are_passed_over(folder, load):
    put_dicom(folder, "a", "one")
    put_dicom(folder, "dose", "one", sop_class=uid.RTDoseStorage)
    assert [row["file"] for row in sources(load())] == ["a"]


def test_frames_are_images_with_ids_of_their_own(folder, load):
    put_dicom(folder, "cine", "one", frames=3)
    put(folder, "still.png")
    assert sorted(everything(load())) == [
        "image_000000_0000",
        "image_000000_0001",
        "image_000000_0002",
        "image_000001",
    ]


def test_nothing_of_names_ids_or_paths_is_in_the_prepared_dataset(folder, load):
    put(folder, "jane_doe/visit.png", "john_roe/visit.png")
    put_dicom(folder, "mary_major/IM1", "ID-OF-MARY")
    source = load()
    words = [b"jane", b"john", b"mary", b"MARY", b"Doe", b"visit", b"smith", str(folder.parent).encode()]
    for path in source.folder.iterdir():
        if path.name != "sources.csv":
            assert not [word for word in words if word in path.read_bytes()], path.name
    assert {row["patient"] for row in sources(source)} == {"0", "1", "2"}


def test_splits_share_no_patient(folder, load):
    for patient in range(12):
        put(folder, f"p{patient:02d}/1.png", f"p{patient:02d}/series/2.png")
    owners = collections.defaultdict(set)
    for example in everything(load()).values():
        owners[example["patient"]].add(example["split"])
    assert len(owners) == 12
    assert all(len(splits) == 1 for splits in owners.values())


def test_preparing_again_elsewhere_gives_the_same(tmp_path, folder):
    put(folder, *(f"p{n}/{k}.png" for n in range(6) for k in range(2)))
    first = everything(data.load(str(folder), data_dir=str(tmp_path / "one")))
    second = everything(data.load(str(folder), data_dir=str(tmp_path / "two")))
    assert {k: v["split"] for k, v in first.items()} == {k: v["split"] for k, v in second.items()}
    assert all(np.array_equal(first[k]["hr"], second[k]["hr"]) for k in first)


def test_another_image_makes_another_prepared_dataset(folder, load):
    put(folder, "a.png", "b.png", "c.png")
    first = load()
    put(folder, "d.png")
    second = load()
    assert first.folder != second.folder
    assert (len(everything(first)), len(everything(second))) == (3, 4)


def test_other_files_that_come_do_not_make_another_prepared_dataset(folder, load):
    put(folder, "a.png", "b.png", "c.png")
    first = load()
    (folder / "notes.txt").write_text("looked at them")
    assert load().folder == first.folder


def test_the_prepared_dataset_may_lie_inside_the_folder(folder):
    put(folder, "a.png", "b.png", "c.png")
    first = data.load(str(folder), data_dir=str(folder / "data"))
    assert data.load(str(folder), data_dir=str(folder / "data")).folder == first.folder


def test_another_pattern_makes_another_prepared_dataset(folder, load):
    put(folder, *(f"p{n}_{k}.png" for n in range(4) for k in range(2)))
    assert load().folder != load(patient_pattern="(p[0-9])").folder


def test_a_prepared_dataset_is_opened_without_reading_images(folder, load, monkeypatch):
    put(folder, "a.png", "b.png", "c.png", pixels=color())
    load()

    def forbidden(path):
        raise AssertionError(path)

    monkeypatch.setattr(images, "read_header", forbidden)
    assert load().channels == 3


# Channels.


def test_equal_channels_make_a_gray_dataset(folder, load):
    put(folder, "a.png", "b.png", pixels=np.repeat(gray(), 3, axis=2))
    put(folder, "c.png")
    assert load().channels == 1


def test_equal_channels_among_color_images_stay_three(folder, load):
    put(folder, "a.png", "b.png", pixels=color())
    put(folder, "c.png", pixels=np.repeat(gray(), 3, axis=2))
    source = load()
    assert source.channels == 3
    assert {e["hr"].shape for e in everything(source).values()} == {(32, 32, 3)}


def test_gray_and_color_together_name_one_of_each(folder, load):
    put(folder, "a_gray.png", "b_gray.png")
    put(folder, "c_color.png", pixels=color())
    with pytest.raises(InputError, match=r"a_gray\.png is gray, .*c_color\.png is in color"):
        load()


# Broken, small, linked.


def test_one_broken_file_is_named_and_left_out(folder, load, capsys):
    put(folder, "a.png", "b.png", "c.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:300])
    assert len(everything(load())) == 3
    errors = capsys.readouterr().err
    assert "skipped as broken (1): " in errors and "broken.png" in errors


def test_two_broken_of_a_few_are_an_error(folder, load):
    put(folder, "a.png", "b.png", "c.png")
    for name in ("x.png", "y.dcm"):
        (folder / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"at most 1 % of 5 images .* 2 so far; the last: .*y\.dcm"):
        load()


@pytest.mark.parametrize("total, allowed", [(3, 1), (150, 1), (300, 3)])
def test_broken_files_up_to_1_percent_are_left_out(total, allowed):
    tally = scan.Tally()
    tally.total = total
    for _ in range(allowed):
        tally.skip_broken(InputError("x.png"))
    with pytest.raises(InputError, match="at most 1 %"):
        tally.skip_broken(InputError("x.png"))


def test_small_images_are_counted_and_left_out(folder, load, capsys):
    put(folder, "a.png", "b.png", "c.png")
    put(folder, "icon.png", pixels=gray(31, 64))
    assert len(everything(load())) == 3
    assert "1 small" in capsys.readouterr().err


def test_many_that_are_left_out_are_a_count_and_three_examples_for_each_reason(folder, load, capsys):
    put(folder, "a.png", "b.png", "c.png")
    put(folder, *(f"icon{i}.png" for i in range(9)), pixels=gray(31, 64))
    (folder / "broken.png").write_bytes(b"")
    load()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped")]
    assert len(lines) == 2
    assert lines[0].startswith("skipped as broken (1): expected an image") and lines[0].endswith("broken.png")
    assert lines[1].startswith("skipped as smaller than 32 pixels (9): ") and lines[1].endswith(" and 6 more")
    assert [f"icon{i}.png" in lines[1] for i in range(4)] == [True, True, True, False]


def test_companions_that_archives_of_a_mac_hold_are_no_images(folder, load):
    put(folder, "a.png", "b.png", "c.png", "__MACOSX/whatever.png")
    for name in ("._a.png", "__MACOSX/._a.png", ".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    assert len(everything(load())) == 3


def test_a_folder_without_images_is_an_input_error(folder, load):
    (folder / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match="expected PNG, JPEG, TIFF or DICOM images .* found none in"):
        load()


def test_links_are_followed_each_file_is_taken_once_and_loops_end(tmp_path, folder, load):
    put(tmp_path / "elsewhere", "a.png", "b.png", "c.png")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere")
    (folder / "one.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling.png").symlink_to(tmp_path / "none.png")
    assert sorted(row["file"] for row in sources(load())) == ["again/a.png", "again/b.png", "again/c.png"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_folders_that_cannot_be_read_are_named_and_passed_over(folder, load, capsys):
    put(folder, "a.png", "b.png", "c.png", "private/d.png")
    (folder / "private").chmod(0)
    try:
        assert len(everything(load())) == 3
    finally:
        (folder / "private").chmod(0o700)
    assert "private: Permission denied" in capsys.readouterr().err


# Patients.


def found(*names, patient=None):
    """Files as `scan` gives them; `patient` names those of DICOM files."""
    known = patient or {}
    return [scan.File(_path(name), name, 1, 1, images.Header(64, 64, 1, 8, known.get(name))) for name in names]


def _path(name):
    import pathlib

    return pathlib.Path("/somewhere") / name


def keys(*names, patient=None, pattern=None):
    return patients.keys(found(*names, patient=patient), patients.compiled(pattern))


def test_images_beside_each_other_are_of_different_patients():
    assert keys("a.png", "b.png") == ["file:a.png", "file:b.png"]


def test_the_topmost_sub_folder_is_the_patient():
    assert keys("p1/s1/a.png", "p1/s2/b.png", "p2/c.png") == ["folder:p1", "folder:p1", "folder:p2"]


def test_folders_that_hold_everything_are_no_patients():
    assert keys("images/a.png", "images/b.png") == ["file:images/a.png", "file:images/b.png"]


def test_patient_id_comes_before_the_sub_folder():
    patient = {"x/a.dcm": "1", "y/b.dcm": "1", "y/c.dcm": "2"}
    assert keys(*patient, patient=patient) == ["id:1", "id:1", "id:2"]


def test_a_preview_in_the_folder_of_one_dicom_patient_is_of_that_patient():
    names = ("p1/a.dcm", "p1/preview.png", "p2/b.png")
    assert keys(*names, patient={"p1/a.dcm": "7"}) == ["id:7", "id:7", "folder:p2"]


def test_a_given_pattern_comes_first():
    names = ("x/P1_a.dcm", "x/P2_b.png", "y/P1_c.png")
    assert keys(*names, patient={"x/P1_a.dcm": "9"}, pattern="^(P[0-9])_") == [
        "pattern:P1",
        "pattern:P2",
        "pattern:P1",
    ]


def test_a_name_without_the_pattern_is_named():
    with pytest.raises(InputError, match=r"finds no patient in other\.png"):
        keys("P1_a.png", "other.png", pattern="(P[0-9])")


@pytest.mark.parametrize("pattern, words", [("P[0-9]", "one group"), ("(a)(b)", "one group"), ("(", "regular")])
def test_a_wrong_pattern_is_an_input_error(pattern, words):
    with pytest.raises(InputError, match=words):
        patients.compiled(pattern)


def test_sub_folders_named_as_splits_are_not_taken_for_patients():
    with pytest.raises(InputError, match="test, train seem to be splits"):
        keys("train/a.png", "train/b.png", "test/c.png")


def test_sub_folders_named_as_splits_of_dicom_patients_are_named_in_a_note():
    """They were passed over in silence: `train` and `test` of a user's own division meant nothing."""
    named = found("train/a.dcm", "test/c.dcm", patient={"train/a.dcm": "p1", "test/c.dcm": "p2"})
    note = patients.unused_split_folders(named, patients.keys(named, None))
    assert note.startswith("note: the sub-folders test, train are not the splits") and "patient_splits.csv" in note
    other = found("one/a.dcm", "test/c.dcm", patient={"one/a.dcm": "p1", "test/c.dcm": "p2"})
    assert patients.unused_split_folders(other, patients.keys(other, None)) == ""


def test_sub_folders_named_as_splits_are_fine_where_the_splits_are_stated():
    """The refusal advises `patient_splits.csv`, which was read after it."""
    listed = patients.keys(found("train/a.png", "test/c.png"), None, listed=True)
    assert listed == ["folder:train", "folder:test"]


def test_sub_folders_named_as_splits_are_fine_with_a_pattern():
    assert keys("train/a.png", "test/c.png", pattern="(.+)") == ["pattern:a.png", "pattern:c.png"]


@pytest.mark.parametrize("count", range(3, 12))
def test_three_patients_are_enough_for_three_splits(count):
    for first in range(200):
        chosen = patients.splits([f"id:{first + n}" for n in range(count)])
        assert set(chosen.values()) == {"train", "validation", "test"}


def test_two_patients_are_train_and_test_and_one_is_test():
    for first in range(100):
        assert set(patients.splits([f"id:{first}", f"id:{first + 1}"]).values()) == {"train", "test"}
        assert set(patients.splits([f"id:{first}"]).values()) == {"test"}


def test_no_patient_moves_when_others_come():
    few = patients.splits([f"id:{n}" for n in range(200)])
    many = patients.splits([f"id:{n}" for n in range(400)])
    assert {key: many[key] for key in few} == few


def test_shares_of_many_patients_are_80_10_10():
    count = collections.Counter(patients.splits([f"id:{n}" for n in range(5000)]).values())
    # Three standard deviations of a binomial share.
    assert abs(count["train"] - 4000) < 85
    assert abs(count["test"] - 500) < 64


def test_a_single_patient_has_no_train_split(folder, load):
    put_dicom(folder, "a", "one")
    source = load()
    assert source.splits == ["test"]
    with pytest.raises(InputError, match="split must be one of test"):
        list(source.examples("train"))


def test_without_a_folder_it_says_how_to_give_one(tmp_path):
    with pytest.raises(InputError, match="--dataset FOLDER"):
        data.builder("image_folder", data_dir=str(tmp_path))


def test_real_ultrasound(shared_data, tmp_path):
    source = data.load(str(shared_data / "us"), data_dir=str(tmp_path))
    assert (source.channels, source.dtype) == (1, np.uint8)
    assert len(everything(source)) == 16


def test_real_ct_slices_are_split_by_patient_id(shared_data, tmp_path):
    source = data.load(str(shared_data / "ct"), data_dir=str(tmp_path))
    stored = everything(source)
    assert len(stored) == 22
    assert {e["max_val"] for e in stored.values()} == {4095}
    assert len({e["patient"] for e in stored.values()}) == 9


class ImageFolderTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own checks: registration, metadata, tags, features, no example in two splits."""

    DATASET_CLASS = image_folder_dataset_builder.Builder
    SPLITS = {"train": 4, "validation": 1, "test": 1}
    EXAMPLE_DIR = os.path.dirname(__file__)  # no downloads to stand in for

    def _make_builder(self, config=None):
        self.images = pathlib.Path(self.tmp_dir) / "images"
        shutil.rmtree(self.images, ignore_errors=True)
        put(self.images, *(f"p{n}/a.png" for n in range(6)))
        for path in self.images.rglob("*.png"):
            os.utime(path, (1, 1))
        return self.dataset_class(data_dir=self.tmp_dir, config=config, manual_dirs=self.images)
