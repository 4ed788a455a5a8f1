"""Training with JAX where TensorFlow is not installed, and the portable pixel cache that it reads (S-22)."""

import io
import itertools
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
from PIL import Image
from synthetic import ArraySource, smooth_images
from test_fit import folder_of

from tfmisr import data, degradations, fit, prepare
from tfmisr.data import cached_source, pipeline, pixel_cache, pixel_description, pixel_index, pixel_packing
from tfmisr.edge.errors import InputError
from tfmisr.evaluation import scoring
from tfmisr.inference import upscalers
from tfmisr.training import distribution, environment, event_files, feed, run_directory

BLOCKED = ("tensorflow", "tensorflow_datasets", "keras_tuner", "matplotlib")
SHORT = "--model srcnn --scale 2 --patch_size 8 --batch_size 4 --steps 6 --save_every 3 "
SHORT += "--validate_every 3 --ema_decay 0.5"
RUN = f"""
import os, pathlib, sys

class Blocked:
    tried = []

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            self.tried.append(name)
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
import numpy as np
from tfmisr import config, data, fit, models
from tfmisr.training import loop

folder, flags = pathlib.Path(sys.argv[1]), sys.argv[2:]
print(fit.run(fit._parser().parse_args([*flags, "--workdir", str(folder / "whole")])))
assert "xla_gpu_deterministic_ops" in os.environ["XLA_FLAGS"]
cut = config.parse(fit._parser().parse_args([*flags, "--workdir", str(folder / "cut")]))
assert loop.train(cut, data.load(cut.dataset), until=3) is None
assert loop.train(cut, data.load(cut.dataset))
whole, cut = (models.load(folder / name).get_weights() for name in ("whole", "cut"))
assert all(np.array_equal(a, b) for a, b in zip(whole, cut, strict=True))
assert set(Blocked.tried) == {{"matplotlib"}}, Blocked.tried  # nothing tries TensorFlow, where it is installed either
"""


@pytest.fixture
def source(tmp_path):
    """Images of 16 bits, with one so dark that a codec may take it for 8 bits."""
    images = {split: smooth_images(4, 64, i) for i, split in enumerate(("train", "validation", "test"))}
    images = {split: [image.astype(np.uint16) * 257 for image in own] for split, own in images.items()}
    images["train"].append(images["train"][0] // 1000)
    return ArraySource(tmp_path, images)


@pytest.fixture
def packed(source, tmp_path):
    pixel_packing.pack(source, tmp_path / "packed")
    return tmp_path / "packed"


def test_s22_fit_trains_resumes_and_evaluates_with_tensorflow_blocked(packed, tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    variables = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": "."}
    command = [sys.executable, "-c", RUN, str(tmp_path), "--dataset", str(packed), *SHORT.split()]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "bicubic" in done.stdout and " on 4 images of 4 patients" in done.stdout
    assert "no montage.png: matplotlib is not installed" in done.stderr and "picture:" not in done.stdout
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert (whole / "history.csv").read_text() == (cut / "history.csv").read_text()
    recorded = json.loads((whole / "environment.json").read_text())
    assert recorded["backend"] == "jax" and recorded["jax"] and "tensorflow" not in recorded
    assert recorded["devices"][0] == "CPU" and len(recorded["devices"]) == len(recorded["device_kinds"])
    events = [event for path in (whole / "tensorboard").iterdir() for event in events_of(path)]
    assert {value.tag for event in events for value in event.summary.value} >= {"loss", "val_psnr"}
    assert keras.saving.load_model(whole / "model.keras").count_params() > 0


def events_of(path):
    """Reads an event file with TensorFlow's reader, which checks the checksums."""
    import tensorflow as tf

    return [tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]


@pytest.mark.parametrize("channels", [1, 3])
def test_event_files_are_those_of_tensorflow(tmp_path, channels):
    images = np.random.default_rng(0).random((2, 5, 7, channels)).astype(np.float32)
    images[0, 0, 0], images[0, 0, 1] = 0.0, 1.0
    found = []
    for kind in (event_files.TensorFlowWriter, event_files.TensorBoardWriter):
        writer = kind(tmp_path / kind.__name__)
        writer.images("crops", images, 3)
        writer.scalars({"loss": 0.1, "psnr": 31.5}, 4)
        (path,) = (tmp_path / kind.__name__).iterdir()
        found.append([(event.step, value) for event in events_of(path) for value in event.summary.value])
    assert len(found[0]) == 3
    for (step, expected), (other_step, value) in zip(*found, strict=True):
        assert (step, expected.tag, expected.tensor.dtype) == (other_step, value.tag, value.tensor.dtype)
        assert expected.metadata.plugin_data.plugin_name == value.metadata.plugin_data.plugin_name
        assert expected.metadata.data_class == value.metadata.data_class
        if expected.tag == "crops":
            strings = [list(v.tensor.string_val) for v in (expected, value)]
            assert strings[0][:2] == strings[1][:2] == [b"7", b"5"]
            pixels = [[np.asarray(Image.open(io.BytesIO(png))) for png in each[2:]] for each in strings]
            np.testing.assert_array_equal(*pixels)
        else:
            import tensorflow as tf

            assert tf.make_ndarray(expected.tensor) == tf.make_ndarray(value.tensor)


def test_training_without_tensorboard_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    assert event_files.writer(tmp_path) is None
    assert capsys.readouterr().err.startswith("no event files for TensorBoard: tensorboard")


def test_feed_gives_the_batches_of_tensorflows_pipeline_in_order(tiny_source):
    cache = pipeline.cache_of(tiny_source, "train")
    sampler = pipeline.PatchSampler(cache, 2, degradations.make(2), 8, 4)
    for a, b in zip(pipeline.training_data(sampler, 3, 10), feed.prefetched(sampler, range(3, 10)), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


class Steps:
    """A sampler whose batch is its step; the one of step 5 fails."""

    def batch(self, step):
        if step == 5:
            raise OSError("unreadable")
        return (step,)


def test_feed_raises_at_the_step_that_fails_and_leaves_no_thread():
    got = []
    with pytest.raises(OSError, match="unreadable"):
        got.extend(feed.prefetched(Steps(), range(9)))
    batches = feed.prefetched(Steps(), itertools.count(6))
    assert [next(batches) for _ in range(3)] == [(6,), (7,), (8,)]
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tfmisr-feed")]


def test_distribution_under_jax_is_one_device_and_refuses_what_needs_tensorflow(monkeypatch):
    from tfmisr.config import Config

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert distribution.create(Config()).replicas == 1
    with pytest.raises(InputError, match="mirrored needs KERAS_BACKEND=tensorflow"):
        distribution.create(Config(distribute="mirrored"))


def test_xla_flags_of_the_user_are_kept(monkeypatch):
    pytest.importorskip("jax", reason="JAX is not installed")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(environment, "_is_initialized", lambda: False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    environment.make_deterministic()
    environment.make_deterministic()
    assert os.environ["XLA_FLAGS"] == "--xla_force_host_platform_device_count=2 --xla_gpu_deterministic_ops=true"


@pytest.mark.parametrize("channels,dtype", [(1, np.uint8), (3, np.uint16)])
def test_a_packed_dataset_is_the_same_dataset(tmp_path, capsys, channels, dtype):
    scans = folder_of(tmp_path / "scans", channels=channels, dtype=dtype)
    flags = ["--data_dir", str(tmp_path / "data"), "--pixel_cache", str(tmp_path / "packed")]
    prepare.main([str(scans), *flags])
    assert "packed train " in capsys.readouterr().out
    source, cached = data.load(str(scans), str(tmp_path / "data")), data.load(str(tmp_path / "packed"))
    assert isinstance(source, data.Source) and isinstance(cached, data.CachedSource)
    assert run_directory._data(source) == run_directory._data(cached)
    for split in source.splits:
        for a, b in zip(source.examples(split), cached.examples(split), strict=True):
            assert np.array_equal(a.pop("hr"), b.pop("hr")) and a == b
    bicubic, reduction = [upscalers.load("bicubic")], degradations.make(2)
    results = [scoring.evaluate(bicubic, s, "test", 2, reduction, measures=("psnr",)) for s in (source, cached)]
    assert results[0].protocol == results[1].protocol and results[0].rows == results[1].rows


def test_cache_of_a_prepared_dataset_is_found_by_name(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cached_source, "_has_tensorflow_backend", lambda: False)
    source.name, source.folder = "phantoms/512", tmp_path / "tfds" / "phantoms" / "512" / "0123" / "1.0.0"
    source.pixels = source.folder / pixel_cache.FOLDER
    given = {"manual_dir": (), "patient_pattern": None}
    for split in ("train", "validation", "test"):
        assert cached_source.find("phantoms/512", False, tmp_path / "tfds", given) is None
        pixel_cache.cache_of(source, split)
    cached = cached_source.find("phantoms/512", False, tmp_path / "tfds", given)
    assert (cached.name, cached.folder) == ("phantoms/512", source.folder)
    assert f"decoded images of phantoms/512 in {source.pixels}" in capsys.readouterr().out
    assert cached_source.find("phantoms/1024", False, tmp_path / "tfds", given) is None
    assert cached_source.find("phantoms", False, tmp_path / "tfds", given) is not None
    description = pixel_description.read(source.pixels)
    pixel_description.write(source.pixels, {**description, "default_configuration": False})
    assert cached_source.find("phantoms", False, tmp_path / "tfds", given) is None
    shutil.copytree(source.folder, source.folder.with_name("1.1.0"))
    assert cached_source.find("phantoms/512", False, tmp_path / "tfds", given) is None  # TFDS knows which
    monkeypatch.setattr(cached_source.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"expected one pixel cache of phantoms/512, found .*; choose one with"):
        cached_source.find("phantoms/512", False, tmp_path / "tfds", given)


def test_packed_cache_as_data_dir_is_the_dataset_by_name(packed):
    assert isinstance(data.load("arrays", str(packed)), data.CachedSource)


def test_dataset_that_is_not_here_says_how_to_bring_it(monkeypatch, tmp_path):
    monkeypatch.setattr(cached_source, "_has_tensorflow_backend", lambda: False)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    for name in [name for name in sys.modules if name.startswith("tfmisr.datasets.chest_phantom.chest")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match="where it is, run python -m tfmisr.prepare chest_phantom --pixel_cache"):
        data.load("chest_phantom", str(tmp_path))


def test_order_by_patients_by_hand():
    # Ranks 0 to 3 with their two bits reversed are 0, 2, 1, 3; the second image of a patient comes after all first.
    patients = np.array([7, 7, 9, 11, 30, 30, 30])
    assert pixel_packing.by_patients(patients) == [0, 3, 2, 4, 1, 5, 6]


def test_limits_of_a_packed_cache_are_kept(source, tmp_path):
    counts = pixel_packing.pack(source, tmp_path / "few", images=6)
    assert counts == {"train": 2, "validation": 2, "test": 2}
    assert data.CachedSource(tmp_path / "few").counts == counts != source.counts
    counts = pixel_packing.pack(source, tmp_path / "small", max_megabytes=0.06)
    assert 0 < sum(p.stat().st_size for p in (tmp_path / "small").rglob("*") if p.is_file()) <= 60_000
    assert all(0 < counts[split] < source.counts[split] for split in counts)
    with pytest.raises(InputError, match="a limit that leaves an image in each split"):
        pixel_packing.pack(source, tmp_path / "none", max_megabytes=0.01)
    with pytest.raises(InputError, match="expected a new or empty folder"):
        pixel_packing.pack(source, tmp_path / "small")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays", "few", "small"]


@pytest.mark.parametrize("shape", [(1, 1, 1), (15, 1, 1), (9, 7, 3), (64, 64, 1)])
@pytest.mark.parametrize(
    "dtype,top", [(np.uint8, 2), (np.uint8, 256), (np.uint16, 3), (np.uint16, 4096), (np.uint16, 65536)]
)
def test_images_are_packed_without_loss(shape, dtype, top):
    pixels = np.random.default_rng(0).integers(0, top, shape).astype(dtype)
    assert np.array_equal(pixel_packing.decode(pixel_packing.encode(pixels), shape, dtype), pixels)


def edited(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewritten(folder, **changes):
    with np.load(folder / "index.npz") as index:
        np.savez(folder / "index.npz", **{**index, **changes})


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


HUGE = np.full((5, 2), 65535, np.int64)
DAMAGES = {
    "missing_split": (lambda p: shutil.rmtree(p / "test"), "expected the pixels of the test split"),
    "no_source": (lambda p: (p / "source.json").unlink(), "its source.json is missing or damaged: copy or make"),
    "cut_source": (lambda p: (p / "source.json").write_text('{"format": "tf'), "its source.json is missing or damaged"),
    "version": (lambda p: edited(p / "source.json", version=2), "expected version 1 of a pixel cache"),
    "traversal": (lambda p: edited(p / "source.json", all_splits=["../train"]), "its all_splits is not that"),
    "name": (lambda p: edited(p / "source.json", name="../../etc"), "its name is not that"),
    "dtype": (lambda p: edited(p / "source.json", dtype="object"), "its dtype is not that"),
    "truncated": (lambda p: os.truncate(p / "train/hr.jls", 999), "hr.jls cannot be unpacked: it is truncated"),
    "flipped": (lambda p: flipped(p / "train/hr.jls"), "hr.jls cannot be unpacked"),
    "no_index": (lambda p: (p / "train/index.npz").unlink(), "index.npz is missing or damaged"),
    "pickle": (lambda p: (p / "train/index.npz").write_bytes(pickle.dumps({})), "index.npz is missing or damaged"),
    "objects": (lambda p: rewritten(p / "train", shapes=np.array([{}], object)), "index.npz is missing or damaged"),
    "huge": (lambda p: rewritten(p / "train", shapes=HUGE), "its shapes are impossible"),
    "negative": (lambda p: rewritten(p / "train", starts=np.full(5, -9)), "its compressed sizes are impossible"),
    "bomb": (lambda p: rewritten(p / "train", ids=np.zeros(5, "U999999")), "too large for its images"),
    "other_size": (
        lambda p: rewritten(p / "train", shapes=np.full((5, 2), 63)),
        "hr.jls cannot be unpacked: a compressed image has 64x64",
    ),
    "escapes": (lambda p: rewritten(p / "train", ids=np.array(list("abc\x1be"))), "its names are impossible"),
    "full_scale": (lambda p: rewritten(p / "train", max_vals=np.full(5, 2**17)), "its max_vals are impossible"),
}


@pytest.mark.parametrize("damage,message", DAMAGES.values(), ids=DAMAGES)
def test_damaged_or_hostile_cache_is_named_before_anything_is_written(packed, tmp_path, damage, message):
    damage(packed)
    with pytest.raises(InputError, match=message):
        fit.main(["--dataset", str(packed), "--workdir", str(tmp_path / "run"), *SHORT.split()])
    assert not (tmp_path / "run").exists() and not (packed / "train" / "hr.bin").exists()


def test_missing_scipy_is_named_before_training(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(fit.importlib.util, "find_spec", lambda name: None if name == "scipy" else True)
    with pytest.raises(InputError, match="need scipy, which is not installed. Run: pip install scipy"):
        fit.main(["--dataset", str(packed), "--workdir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_truncated_pixels_are_named(packed):
    pixel_cache.cache_of(data.CachedSource(packed), "train")
    os.truncate(packed / "train" / "hr.bin", 1000)
    with pytest.raises(InputError, match=r"expected 40,960 bytes in .*hr.bin, found 1,000"):
        pixel_cache.cache_of(data.CachedSource(packed), "train")


def test_split_that_fills_the_disk_is_refused_before_it_is_unpacked(packed, monkeypatch):
    usage = shutil.disk_usage(packed)._replace(free=10)
    monkeypatch.setattr(pixel_packing.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="needs 0 MB; free some space"):
        pixel_cache.cache_of(data.CachedSource(packed), "train")


def test_other_programs_source_json_leaves_a_folder_of_images(tmp_path):
    (tmp_path / "source.json").write_text('{"format": "mine"}')
    assert not data.is_packed(tmp_path) and not data.is_packed(tmp_path / "nothing")


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--images", "5"], "--images needs --pixel_cache"),
        (["--pixel_cache", "x", "--images", "0"], "images must be above 0"),
        (["--pixel_cache", "x", "--max_megabytes", "nan"], "max_megabytes must be above 0"),
    ],
)
def test_wrong_limits_are_named_before_anything_is_prepared(flags, message):
    with pytest.raises(InputError, match=message):
        prepare.main(["chest_phantom", *flags])


def test_source_files_options_are_refused_for_decoded_images(packed):
    with pytest.raises(InputError, match="--manual_dir is for source files"):
        data.load(str(packed), manual_dirs=["scans"])


def test_existing_caches_get_their_description(source):
    cache = pixel_cache.cache_of(source, "train")
    (source.pixels / pixel_description.FILE).unlink()
    pixel_cache.cache_of(source, "train")
    assert pixel_description.read(source.pixels)["splits"] == {"train": {"images": len(cache)}}
    assert pixel_index.read(source.pixels / "train", 1, np.dtype("uint16"))["ids"].tolist() == cache.ids
    assert pathlib.Path(cache.folder) == source.pixels / "train"
