"""Datasets by name or folder, and one view on all of them."""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from etils import epath

from tfmisr import data
from tfmisr.data import preparation
from tfmisr.edge.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_split_is_a_function_of_the_key_alone_with_the_shares_asked_for():
    percent = {"train": 80, "validation": 10, "test": 10}
    splits = [data.split_of(f"patient {i}", percent) for i in range(20_000)]
    assert splits[:100] == [data.split_of(f"patient {i}", percent) for i in range(100)]
    for name, share in percent.items():
        assert splits.count(name) / 20_000 == pytest.approx(share / 100, abs=0.01)


def test_split_shares_must_be_whole():
    with pytest.raises(ValueError, match="add up to 100"):
        data.split_of("a", {"train": 80, "test": 10})


def test_folders_come_as_one_string_or_several():
    assert data.folders(f"a{os.pathsep}b") == data.folders(["a", "b"])
    assert data.folders(()) == ()


def test_names_are_those_of_the_folders():
    assert data.names() == ["chest_phantom", "chest_xray14", "image_folder", "phantom_volume", "volume_folder"]


@pytest.mark.parametrize(
    "dataset,message",
    [
        ("chest_fantom", "did you mean chest_phantom?"),
        ("./nowhere", "found none at nowhere"),
        ("/nowhere/at/all", "found none at /nowhere/at/all"),
        ("chest_xray14/256", "chest_xray14 has the configurations 512, 1024. Received: chest_xray14/256"),
        ("chest_phantom/big", "chest_phantom has the configurations none"),
    ],
)
def test_unknown_dataset_is_told_in_one_line(dataset, message, tmp_path):
    with pytest.raises(InputError, match=message):
        data.builder(dataset, str(tmp_path))


def test_folder_with_the_official_lists_is_that_archive(shared_data, tmp_path):
    builder = data.builder(str(shared_data / "ChestX-ray14"), str(tmp_path))
    assert (builder.name, builder.builder_config.name) == ("chest_xray14", "512")


def test_leftovers_of_a_killed_preparation_go_after_a_day(tmp_path):
    old, new = tmp_path / "incomplete.ABCDEF_1.0.0", tmp_path / "incomplete.GHIJKL_1.0.0"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (time.time() - 90_000,) * 2)
    preparation.remove_incomplete(tmp_path / "1.0.0")
    assert not old.exists()
    assert new.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_leftovers_of_a_killed_preparation_go_at_the_next_unless_one_is_under_way(tmp_path):
    left = tmp_path / "incomplete.ABCDEF_1.0.0"
    left.mkdir()
    with preparation._under_way(tmp_path / "1.0.0"):
        assert not left.exists()
        left.mkdir()  # its own
        script = (
            "import pathlib, sys; from tfmisr.data import preparation\n"
            "with preparation._under_way(pathlib.Path(sys.argv[1])): pass"
        )
        command = [sys.executable, "-c", script, str(tmp_path / "1.0.0")]
        subprocess.run(command, check=True, cwd=ROOT)
        assert left.exists()
    subprocess.run(command, check=True, cwd=ROOT)
    assert not left.exists()


@pytest.fixture
def foreign(tmp_path):
    """A builder as somebody else writes one: an `image`, a `label`, one split."""
    import tensorflow_datasets as tfds

    class SomebodysScans(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        name = "somebodys_scans"
        channels = 1

        def _info(self):
            features = {"image": tfds.features.Image(shape=(None, None, 1)), "label": np.int64}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i in range(60):
                yield i, {"image": np.full((40, 40, 1), i, np.uint8), "label": 0}

    SomebodysScans.pkg_dir_path = epath.Path(tmp_path)
    builder = SomebodysScans(data_dir=str(tmp_path))
    builder.download_and_prepare()
    return builder


def test_preparation_that_another_process_has_finished_meanwhile_is_taken(foreign, tmp_path, monkeypatch):
    second = type(foreign)(data_dir=str(tmp_path / "other"))
    finished = foreign.data_path

    def too_late(*args, **kwargs):
        shutil.copytree(finished, second.data_path)
        raise FileExistsError(f"[Errno 17] File exists: {second.data_path}")

    monkeypatch.setattr(second, "download_and_prepare", too_late)
    preparation.prepare(second)
    assert len(list(data.Source(second).examples("train"))) > 40


def test_foreign_dataset_with_one_split_is_cut_into_three_that_share_nothing(foreign):
    source = data.Source(foreign)
    assert source.splits == ["train", "validation", "test"]
    found = {split: list(source.examples(split)) for split in source.splits}
    values = [int(e["hr"][0, 0, 0]) for split in source.splits for e in found[split]]
    assert sorted(values) == list(range(60))
    assert len(found["train"]) > len(found["test"]) > 0
    assert found["train"][0]["max_val"] == 255


def test_dataset_without_an_image_is_refused():
    import types

    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
    builder = types.SimpleNamespace(name="words", builder_config=None, info=types.SimpleNamespace(features=features))
    with pytest.raises(InputError, match="image feature. Received: words"):
        data.Source(builder)


def test_patients_of_a_foreign_dataset_differ_between_its_splits(foreign):
    source = data.Source(foreign)
    source._own_splits = ["train[:40]", "train[40:]"]
    numbers = [e["patient"] for split in source.splits for e in source.examples(split)]
    assert len(set(numbers)) == len(numbers) == 60


@pytest.mark.parametrize(
    "error,kind,message",
    [
        (RuntimeError("ResourceExhaustedError: x.tfrecord; No space left on device"), OSError, "No space left"),
        (ConnectionError("Max retries exceeded with url"), InputError, "cannot be downloaded; check the network"),
    ],
)
def test_full_disk_and_missing_network_are_told_as_such(error, kind, message):
    import types

    def fail():
        raise error

    builder = types.SimpleNamespace(name="x", data_path="data/x", download_and_prepare=fail)
    with pytest.raises(kind, match=message):
        preparation.prepare(builder)
