"""Preparation in parts: resumed after kill -9, made by workers, and the same dataset in the end."""

import hashlib
import io
import json
import pathlib
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tfmisr import data, prepare
from tfmisr.data import parts
from tfmisr.datasets.chest_xray14 import archive
from tfmisr.datasets.image_folder import image_folder_dataset_builder as folder_builder
from tfmisr.edge.errors import InputError

TRAIN_VAL = [f"{patient:08d}_{number:03d}" for patient in range(1, 41) for number in range(2)]
TEST = [f"{patient:08d}_000" for patient in range(101, 111)]


def pixels_of(name):
    return (
        np.random.default_rng(int(name.replace("_", "")))
        .integers(0, 256, (16, 16), np.uint8)
        .repeat(32, 0)
        .repeat(32, 1)
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A small copy of the archive: 90 images of 512x512 with its lists, in parts of eight images."""
    folder = tmp_path_factory.mktemp("archive")
    for file, ids in (("train_val_list.txt", TRAIN_VAL), ("test_list.txt", TEST)):
        (folder / file).write_text("\n".join(f"{i}.png" for i in ids))
        for name in ids:
            Image.fromarray(pixels_of(name)).save(folder / f"{name}.png", compress_level=1)
    return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(archive, "GROUP", 8)
    monkeypatch.setattr(folder_builder, "PART", 2)


def stored(folder, split):
    """All examples of a split in the order of the files, with the PNGs as they are stored."""
    builder = tfds.builder_from_directory(folder)
    decoders = {"hr": tfds.decode.SkipDecoding()}
    return list(tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)))


def everything(source):
    return {split: stored(source.folder, split) for split in source.splits}


def run(*argv):
    assert prepare.main([str(argument) for argument in argv]) == 0


def load(copy, root):
    return data.load("chest_xray14", str(root), (copy,))


def test_s10_examples_are_in_the_order_that_tfds_defines_and_hold_the_archives_pixels(copy, tmp_path):
    source = load(copy, tmp_path)
    ids = {"train": [], "validation": [], "test": TEST}
    for name in TRAIN_VAL:
        ids[data.split_of(name[:8], {"train": 90, "validation": 10})].append(name)
    for split, names in ids.items():
        # TFDS sorts by the MD5 sum of the split's name and the key.
        expected = sorted(names, key=lambda name: hashlib.md5((split + name).encode()).hexdigest())
        found = stored(source.folder, split)
        assert [example["id"].decode() for example in found] == expected
        for name, example in zip(expected, found, strict=True):
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(example["hr"]))), pixels_of(name))
    assert [path.name for path in source.folder.parent.iterdir()] == ["1.0.0"]  # the parts are gone


@pytest.fixture(scope="module")
def uninterrupted(copy, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "GROUP", 8)
        return everything(load(copy, tmp_path_factory.mktemp("one")))


def killed_after(count, monkeypatch):
    """Makes the preparation stop after some parts, without any cleaning up of its own."""
    made, make = [], parts.make

    def make_some(payload, threads=1):
        if len(made) == count:
            raise KeyboardInterrupt
        made.append(payload["name"])
        return make(payload, threads)

    monkeypatch.setattr(parts, "make", make_some)
    return made


def test_s10_a_resumed_preparation_makes_the_missing_parts_only_and_the_same_dataset(
    copy, tmp_path, monkeypatch, uninterrupted, capsys
):
    first = killed_after(5, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        load(copy, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(archive, "GROUP", 8)
    second = killed_after(100, monkeypatch)
    assert everything(load(copy, tmp_path)) == uninterrupted
    assert (len(first), len(second)) == (5, 7) and not set(first) & set(second)  # 90 images / 8
    assert "chest_xray14: resumed, 5 of 12 parts are there" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [("--processes", 2), ("--cluster", "local:1")])
def test_s01_processes_and_workers_make_the_same_dataset(flags, copy, tmp_path, uninterrupted):
    run("chest_xray14", "--manual_dir", copy, "--data_dir", tmp_path, *flags)
    assert everything(load(copy, tmp_path)) == uninterrupted


def test_s01_parts_of_a_folder_of_images_are_plain_values(tmp_path):
    """What a worker gets as JSON makes the same dataset, here in reverse order."""
    for number in range(5):
        name = tmp_path / "images" / f"patient{number}" / "a.png"
        name.parent.mkdir(parents=True)
        Image.fromarray(pixels_of(f"{number}")[:64, :64]).save(name)

    def elsewhere(payloads):
        return parts.here(json.loads(json.dumps(payloads[::-1])))

    here = data.load(str(tmp_path / "images"), str(tmp_path / "here"))
    there = data.load(str(tmp_path / "images"), str(tmp_path / "there"), part_runner=elsewhere)
    assert everything(there) == everything(here)
    assert (there.folder / "sources.csv").read_bytes() == (here.folder / "sources.csv").read_bytes()


MAKER = """
    import os, time

    def make(sources, threads):
        for name in sources["images"]:
            with open(sources["log"], "a") as log:
                log.write(name + "\\n")
            time.sleep(0.01)
            yield name.encode() * 1000, {"split": "train", "key": name}
"""
MAIN = """
    import json, sys
    from tfmisr.data import parts

    payloads = json.load(open(sys.argv[1]))
    print("started", flush=True)
    for name in parts.here(payloads):
        print(name, flush=True)
"""


def test_s10_killed_by_kill_9_at_ten_random_moments_every_part_is_whole_and_no_finished_one_is_made_again(
    tmp_path, monkeypatch
):
    (tmp_path / "slow_maker.py").write_text(textwrap.dedent(MAKER))
    monkeypatch.syspath_prepend(tmp_path)
    log = str(tmp_path / "log")
    made = [parts.Part("slow_maker:make", {"images": [f"{n}_{i}" for i in range(4)], "log": log}, n) for n in range(40)]
    staged = parts.Staging(tmp_path / "parts", made)
    staged.folder.mkdir()
    rng, moments = random.Random(0), 0
    while moments < 10:
        missing = staged.missing()
        payloads = [
            {"folder": str(staged.folder), "name": p.name, "maker": p.maker, "sources": p.sources} for p in missing
        ]
        (tmp_path / "payloads.json").write_text(json.dumps(payloads))
        command = [sys.executable, "-c", textwrap.dedent(MAIN), str(tmp_path / "payloads.json")]
        environment = {"PYTHONPATH": f"{tmp_path}:{pathlib.Path(__file__).parent.parent}", "PATH": "/usr/bin:/bin"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout.readline() == "started\n"
            time.sleep(rng.uniform(0, 0.12))
            process.send_signal(signal.SIGKILL)
            finished = process.stdout.read().split()
        # What was reported as finished is there, and whole.
        assert not set(finished) & {part.name for part in staged.missing()}
        moments += 1
    list(staged.complete(parts.here))
    found = [(entry["key"], png) for entry, png in staged.examples("train")]
    assert found == [(f"{n}_{i}", f"{n}_{i}".encode() * 1000) for n in range(40) for i in range(4)]
    times = pathlib.Path(log).read_text().split()
    assert len(times) <= 160 + 10 * 4  # a kill costs one part at most
    assert sorted(path.name for path in staged.folder.iterdir()) == sorted(part.name for part in made)


def staged_parts(tmp_path, monkeypatch, entries):
    monkeypatch.setattr(parts, "_maker", lambda path: lambda sources, threads: iter(entries))
    staged = parts.Staging(tmp_path / "parts", [parts.Part("x:y", {"images": [0] * len(entries)}, "a")])
    return staged, list(staged.complete(parts.here))


ENTRIES = [(b"png" * 99, {"split": "test", "key": "a"}), (None, {"broken": ["x", "y"]})]


def test_a_truncated_part_is_made_again(tmp_path, monkeypatch):
    staged, (index,) = staged_parts(tmp_path, monkeypatch, ENTRIES)
    assert index == [entry for _, entry in ENTRIES] and staged.count("test") == 1
    (path,) = staged.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-10])
    assert staged.missing() == staged.parts and not path.exists()


def test_a_damaged_pixel_is_never_prepared(tmp_path, monkeypatch):
    staged, _ = staged_parts(tmp_path, monkeypatch, ENTRIES)
    (path,) = staged.folder.iterdir()
    path.write_bytes(path.read_bytes().replace(b"pngpng", b"pngpnh", 1))
    with pytest.raises(InputError, match="was damaged .*start the same command again"):
        list(staged.examples("test"))
    assert staged.missing() == staged.parts


def test_a_part_of_other_sources_has_another_name():
    made = [parts.Part("x:y", {"images": []}, identity) for identity in (["f", ["a"]], ["f", ["b"]], ["g", ["a"]])]
    assert len({part.name for part in made}) == 3


def test_a_worker_without_the_shared_folder_says_what_must_be_shared(tmp_path):
    payload = {"folder": str(tmp_path / "no"), "name": "a.zip", "maker": "x:y", "sources": {}}
    with pytest.raises(InputError, match="--data_dir must be a folder that all machines share"):
        parts.make(payload)


def test_broken_images_of_parts_that_are_there_are_counted_again(tmp_path, monkeypatch, copy, capsys):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in copy.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / f"{TRAIN_VAL[0]}.png").unlink()
    (folder / f"{TRAIN_VAL[0]}.png").write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(InputError, match=r"at most 1 % of 90 images .*Received: 1 so far"):
            load(folder, tmp_path / "data")


def test_s10_the_estimate_is_measured_on_a_few_images_and_printed_first(monkeypatch):
    clock = iter([10.0, 10.4])  # eight images take 0.4 s
    monkeypatch.setattr(parts.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(
        parts, "_maker", lambda path: lambda sources, threads: ((bytes(100_000), {}) for _ in sources["images"])
    )
    made = [parts.Part("x:y", {"images": list(range(256))}, n) for n in range(438)]
    # 112,128 images x 50 ms = 5,606 s; 112,128 x 100 kB = 11.2 GB.
    assert parts.estimate(made, 438 * 256) == (
        "112,128 images to prepare, 50 ms each on one core (8 measured): 1.6 hours of one core; 11.2 GB of disk, "
        "twice that until it is done"
    )
    assert parts.estimate(made[:0], 100) == ""


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--processes", "0"], "processes must be at least 1. Received: 0"),
        (["--cluster", "local:0"], "cluster must be tcp://HOST:PORT.*Received: local:0"),
        (["--cluster", "local:1"], "prepare chest_xray14 and folders. Received: chest_phantom"),
    ],
)
def test_a_mistake_in_the_flags_is_named(flags, message, tmp_path):
    with pytest.raises(InputError, match=message):
        prepare.main(["chest_phantom", "--data_dir", str(tmp_path), *flags])
    assert not list(tmp_path.iterdir())
