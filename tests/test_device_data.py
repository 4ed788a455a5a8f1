"""S-23, S-24: images in device memory give the batches of the host, bit for bit, on TensorFlow and on JAX."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from synthetic import ArraySource, smooth_images

from tfmisr import degradations
from tfmisr.config.fields import Config
from tfmisr.data import atlas, pipeline
from tfmisr.edge.errors import InputError
from tfmisr.training import device_data, device_memory, loop, unpaired

SIZES = [(16, 16), (40, 33), (16, 50), (64, 64), (37, 21), (16, 16), (90, 18)]


def source(folder, dtype, channels=1, max_vals=None):
    """Images of different sizes with all values of their type, some with another full-scale value."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, np.iinfo(dtype).max, (*s, channels), dtype, endpoint=True) for s in SIZES]
    made = ArraySource(folder, {"train": images})
    if max_vals:
        examples = made.examples
        made.examples = lambda split: (
            {**e, "max_val": m, "hr": np.minimum(e["hr"], m)} for e, m in zip(examples(split), max_vals, strict=True)
        )
    return made


def sampler(own, scale=2, **kwargs):
    kwargs = {"patch_size": 8, "batch_size": 6, "seed": 3, **kwargs}
    degradation = kwargs.pop("degradation", degradations.make(scale))
    return pipeline.PatchSampler(pipeline.cache_of(own, "train"), scale, degradation, **kwargs)


@pytest.mark.parametrize(
    "sizes,places,pages",
    [
        # Of equal size: a page each.
        ([(3, 4), (3, 4)], [(0, 0, 0), (1, 0, 0)], 2),
        # By height: 5x2 and 3x3 on the first shelf, 2x4 below; the next 2x4 has no shelf left on a page of 7x5.
        ([(2, 4), (7, 1), (3, 3), (2, 4), (5, 5)], [(2, 3, 0), (0, 0, 0), (2, 0, 0), (2, 5, 0), (1, 0, 0)], 3),
    ],
)
def test_places_by_hand(sizes, places, pages):
    found = atlas.Atlas.of(np.array(sizes))
    assert [tuple(place) for place in found.places.tolist()] == places
    assert found.pages == pages


def test_images_of_an_atlas_do_not_overlap():
    sizes = np.random.default_rng(0).integers(1, 40, (200, 2))
    found = atlas.Atlas.of(sizes)
    used = np.zeros(found.shape(1, 1)[:3], int)
    for (page, row, column), (rows, columns) in zip(found.places, sizes, strict=True):
        part = used[page, row : row + rows, column : column + columns]
        assert part.shape == (rows, columns)
        part += 1
    assert used.max() == 1 and used.sum() == sizes.prod(1).sum()
    assert used.mean() > 0.6


KINDS = {
    "uint8": {"dtype": np.uint8},
    "uint16": {"dtype": np.uint16},
    "two full scales": {"dtype": np.uint16, "max_vals": [4095, 65535] * 3 + [1023]},
    "color": {"dtype": np.uint8, "channels": 3},
    "hard": {"dtype": np.uint8, "hard_patches": 0.5},
    "float LR": {"dtype": np.uint8, "degradation": degradations.make(2, quantize_lr=False)},
    "x3": {"dtype": np.uint8, "scale": 3, "patch_size": 5},
    "not augmented": {"dtype": np.uint8, "augment": False},
}


def device_batches(patches, steps):
    """Returns the batches that a compiled step of the backend sees."""
    model = keras.Sequential([keras.layers.Conv2D(1, 1)])
    data, found = device_data.DeviceData(patches), []
    if keras.backend.backend() == "jax":
        import jax

        batch = jax.jit(lambda index, table, *arrays: data.batch(arrays, table, index))
        with data.training(0, steps) as batches:
            return [list(map(np.asarray, batch(*each))) for each in batches]
    data.attach(model)
    with data.training(0, steps) as indices:
        for index in indices:
            data.callbacks[0].on_train_batch_begin(0)
            found.append([part.numpy() for part in data._compiled(index)])
    return found


def check_batches(folder, kind):
    kwargs = dict(KINDS[kind])
    own = source(folder, *(kwargs.pop(key, default) for key, default in
                           (("dtype", None), ("channels", 1), ("max_vals", None))))  # fmt: skip
    patches = sampler(own, kwargs.pop("scale", 2), **kwargs)
    batches = device_batches(patches, 12)
    assert len(batches) == 12
    for step, parts in enumerate(batches):
        for part, expected in zip(parts, patches.batch(step), strict=True):
            assert part.dtype == np.float32
            np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_those_of_the_host(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(device_data, "BLOCK_STEPS", 5)
    check_batches(tmp_path, kind)


FIELDS = {
    "model": "resnet6/num_filters=8,num_blocks=1", "scale": 2, "patch_size": 8, "batch_size": 4, "steps": 6,
    "save_every": 3, "validate_every": 3, "warmup_steps": 2, "seed": 3,
}  # fmt: skip
WAYS = {"threads": {}, "workers": {"data_workers": 2}, "device": {"device_data": True}}


def state(folder):
    """Returns all arrays of the last checkpoint of a run."""
    with np.load(max((folder / "checkpoints").glob("step-*.npz"))) as arrays:
        return [arrays[key] for key in sorted(arrays.files)]


def check_changed_ways(folder, own, block_steps=4, ways=("threads", "workers", "device"), **fields):
    """Trains with each way for three steps, and the rest with the next one: the state is that of one way alone."""
    device_data.BLOCK_STEPS = block_steps
    fields = {**FIELDS, **fields}
    loop.train(Config(**fields, workdir=str(folder / "whole")), own)
    expected = state(folder / "whole")
    for first, second in zip(ways, (*ways[1:], ways[0]), strict=True):
        workdir = folder / f"{first}-{second}"
        assert loop.train(Config(**fields, **WAYS[first], workdir=str(workdir)), own, until=3) is None
        loop.train(Config(**fields, **WAYS[second], workdir=str(workdir)), own)
        history = [(folder / name / "history.csv").read_text() for name in ("whole", workdir.name)]
        assert history[0] == history[1]
        for one, other in zip(state(workdir), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def pictures(folder):
    return ArraySource(folder, {"train": smooth_images(5, 40, 0), "validation": smooth_images(2, 40, 1)})


@pytest.mark.large
def test_run_resumed_with_another_way_gives_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(device_data, "BLOCK_STEPS", device_data.BLOCK_STEPS)
    check_changed_ways(tmp_path, pictures(tmp_path))


@pytest.mark.large
def test_cyclegan_takes_the_batches_of_the_host(tmp_path, monkeypatch):
    monkeypatch.setattr("tfmisr.models.discriminators.patch.build.__defaults__", (1, 4))
    monkeypatch.setattr(device_data, "BLOCK_STEPS", device_data.BLOCK_STEPS)
    check_changed_ways(tmp_path, pictures(tmp_path), ways=("threads", "device"), discriminator="patch", unpaired=True,
                       image_pool=4)  # fmt: skip


def test_unpaired_batches_are_those_of_the_host(tmp_path):
    config = Config(**FIELDS, discriminator="patch", unpaired=True)
    patches = unpaired.sampler(config, pictures(tmp_path), None, degradations.of(config.identity()))
    for step, parts in enumerate(device_batches(patches, 3)):
        assert len(parts) == 3
        for part, expected in zip(parts, patches.batch(step), strict=True):
            np.testing.assert_array_equal(part, expected)


def test_way_of_feeding_is_no_part_of_the_run():
    plain = Config(**FIELDS)
    for way in WAYS.values():
        assert Config(**FIELDS, **way).key == plain.key
        assert Config(**FIELDS, **way).identity() == plain.identity()


@pytest.mark.parametrize(
    "fields,message",
    [
        ({"device_data": True, "noise_std": 0.1}, "--device_data needs .*without random steps; use --data_workers"),
        ({"device_data": True, "degradation": "real_world"}, "--device_data needs .*use --data_workers. Received: "),
        ({"device_data": True, "data_workers": 2}, "give --device_data or --data_workers, not both"),
        ({"device_data": True, "distribute": "mirrored"}, "--device_data needs --distribute none"),
        ({"data_workers": -1}, "data_workers must not be negative"),
    ],
)
def test_what_does_not_work_is_refused_by_name(fields, message):
    with pytest.raises(InputError, match=message):
        Config(**{**FIELDS, **fields})


def test_images_that_do_not_fit_are_refused_before_they_are_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(device_memory, "upload", None)
    # Pages of 90x64 from 7 images of 8 bits: the first for 90x18 and 37x21, ...; LR a quarter of it.
    patches = sampler(source(tmp_path, np.uint8))
    needed = device_data.ImageSet(patches).bytes()
    lr = patches.cache.shapes // 2
    assert needed == atlas.Atlas.of(lr).pages * lr[:, 0].max() * lr[:, 1].max() * (1 + 4)
    with pytest.raises(InputError, match=r"--device_data needs 0.00 GiB .* 0.00 GiB are free: use --data_workers"):
        device_data.DeviceData(patches, limit=needed - 1)


def test_free_memory_of_the_host_is_known():
    assert device_memory.free() is None or 2**20 < device_memory.free() < 2**50


JAX = """
import pathlib, sys
import test_device_data as tests
folder = pathlib.Path(sys.argv[1])
for i, kind in enumerate(tests.KINDS):
    (folder / str(i)).mkdir()
    tests.check_batches(folder / str(i), kind)
(folder / "run").mkdir()
tests.check_changed_ways(folder / "run", tests.pictures(folder / "run"))
tests.check_images_are_arguments(folder)
print("done")
"""


def check_images_are_arguments(folder):
    """The compiled step has the images as parameters: as constants they would be in the program's text."""
    import jax

    own = ArraySource(folder / "large", {"train": [np.zeros((1024, 1024, 1), np.uint8)] * 4})
    data = device_data.DeviceData(sampler(own))
    with data.training(0, 1) as batches:
        lowered = jax.jit(lambda index, table, *arrays: data.batch(arrays, table, index)).lower(*next(batches))
    assert len(lowered.as_text()) < 50_000
    assert "tensor<4x1024x1024x1xui8>" in lowered.as_text()


@pytest.mark.large
def test_jax_gives_the_same_batches_and_resumes_with_every_way(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    tests = pathlib.Path(__file__).parent
    paths = os.pathsep.join([str(tests.parent), str(tests)])
    done = subprocess.run(
        [sys.executable, "-c", JAX, str(tmp_path)], capture_output=True, text=True, timeout=600,
        env=os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.endswith("done\n"), done.stderr[-2000:]
