"""S-23, S-24: images in device memory give the batches of the host, bit for bit, on TensorFlow and on JAX."""

import keras
import numpy as np
import pytest
from synthetic import ArraySource, smooth_images

from tfmisr import degradations
from tfmisr.config.fields import Config
from tfmisr.data import atlas, pipeline
from tfmisr.training import device_data, loop

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


def test_run_resumed_with_another_way_gives_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(device_data, "BLOCK_STEPS", device_data.BLOCK_STEPS)
    check_changed_ways(tmp_path, pictures(tmp_path))
