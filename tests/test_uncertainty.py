"""The uncertainty head on devices: what it sees, its map, its card, and its binding to a model."""

import hashlib
import tracemalloc

import numpy as np
import pytest
from scipy import ndimage
from tiny_network import picture

from tfmisr.edge import card, head_card, runtime, shipped, tensors, uncertainty
from tfmisr.edge import uncertainty_inputs as inputs
from tfmisr.edge.errors import InputError

HEADS = [name for name in shipped.names() if shipped.head(name)]
NAME = "fast-x4"


@pytest.fixture(scope="module")
def pair():
    """An 8-bit image with letters and its final upscaled image, of a size that is no multiple of a tile."""
    lr = np.rint(255 * picture(75, 61)).astype(np.uint8)
    lr[5:15, 8:30] = 255
    return lr, runtime.Model(shipped.path(NAME)).upscale(lr, 255)


def test_pixel_shuffle_is_inverted():
    image = np.random.default_rng(0).random((6, 10, 3))
    blocks = inputs.space_to_depth(image, 2)
    np.testing.assert_array_equal(blocks[1, 2], image[2:4, 4:6].reshape(-1))  # one block, row by row
    np.testing.assert_array_equal(tensors.depth_to_space(blocks, 2), image)


def test_input_is_the_image_and_the_clipped_residual_by_hand():
    lr = np.full((3, 3, 1), 0.25, np.float32)
    sr = np.full((6, 6, 1), 0.25, np.float32)
    sr[0, 1], sr[5, 5] = 0.25 + 1 / 32, 0.0  # half of the range, and beyond it
    values = inputs.network_input(lr, inputs.residual(lr, sr, 2), 2)
    assert values.shape == (3, 3, 5)
    np.testing.assert_allclose(values[..., 0], -0.5)
    np.testing.assert_allclose(values[0, 0, 1:], [0, 0.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(values[2, 2, 1:], [0, 0, 0, -1], atol=1e-6)


@pytest.mark.parametrize("zero", [0, -1])
def test_codes_are_those_of_the_float_input(zero):
    rng = np.random.default_rng(1)
    lr, residual = rng.random((7, 5, 1), np.float32), rng.normal(0, 0.03, (28, 20, 1)).astype(np.float32)
    tensor = {"dtype": np.int8, "quantization": (2 / 255, zero)}
    expected = tensors.quantized(inputs.network_input(lr, residual, 4), tensor)
    found = inputs.quantized_input(lr, residual, 4, tensor).astype(int)
    assert np.abs(found - expected).max() <= 1 and (found != expected).mean() < 0.01  # ties of the rounding


def test_statistics_by_an_independent_implementation():
    """T-11: local contrast by SciPy, residual energy by blocks, over the full image at once."""
    lr, sr = picture(150, 40), picture(300, 80, seed=1)
    found = dict(zip(inputs.STATISTICS, inputs.statistics(lr, sr, 2), strict=True))
    contrast = 255 * np.abs(lr[..., 0] - ndimage.uniform_filter(lr[..., 0], 3, mode="reflect"))
    blocks = 255 * inputs.residual(lr, sr, 2)[..., 0].reshape(150, 2, 40, 2)
    energy = np.sqrt((blocks**2).mean((1, 3)))
    assert found["intensity mean"] == pytest.approx(lr.mean(), abs=1e-6)
    assert found["intensity deviation"] == pytest.approx(lr.std(), abs=1e-6)
    for name, values in (("contrast", contrast), ("residual", energy)):
        logs = np.log2(np.maximum(values, 0.25))
        assert found[f"{name} log2 mean"] == pytest.approx(logs.mean(), abs=1e-4)
        assert found[f"{name} above 4"] == pytest.approx(np.clip(logs - 2 + 0.5, 0, 1).mean(), abs=1e-4)


def test_statistics_do_not_depend_on_the_strips_or_the_unit():
    """T-11: a first pass in the memory of a strip; integers and fractions give the same."""
    lr = np.rint(255 * picture(200, 50)).astype(np.uint8)
    sr = np.rint(255 * picture(400, 100, seed=2)).astype(np.uint8)
    low, high = lr / np.float32(255), sr / np.float32(255)
    once = inputs.statistics(low, high, 2, difference=inputs.residual(low, high, 2))
    np.testing.assert_allclose(inputs.statistics(lr, sr, 2, 255), once, rtol=1e-6)


def test_standardized_statistics_are_clipped_at_four_deviations():
    found = inputs.standardized(np.array([1.0, 3.0, 99.0]), np.array([1.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0]))
    np.testing.assert_allclose(found, [0.0, 0.5, 1.0])


@pytest.mark.parametrize("name", HEADS)
def test_tiled_equals_untiled(name):
    """T-11: the map of an image in tiles is that of one window, to 1e-5."""
    scale = card.read(shipped.path(name))["scale"]
    rng = np.random.default_rng(0)
    lr = np.rint(255 * picture(90, 70)).astype(np.uint8)
    sr = np.repeat(np.repeat(lr, scale, 0), scale, 1)
    sr = np.clip(sr + rng.normal(0, 3, sr.shape), 0, 255).astype(np.uint8)
    once, tiled = (uncertainty.Head(shipped.head(name), max_tile=side) for side in (128, 32))
    assert len(list(tiled.windows(90, 70))) > 8 and len(list(once.windows(90, 70))) == 1
    np.testing.assert_allclose(tiled.scale_map(lr, sr, 255), once.scale_map(lr, sr, 255), rtol=0, atol=1e-5)


def test_memory_beside_the_map_does_not_grow_with_the_image():
    """T-11: both passes need the memory of a window, whatever the image."""
    head, beside = uncertainty.Head(shipped.head(NAME), max_tile=128), []
    for height in (192, 768):
        lr, sr = np.zeros((height, 128, 1), np.uint8), np.zeros((4 * height, 512, 1), np.uint8)
        tracemalloc.start()
        found = head.scale_map(lr, sr, 255)
        beside.append(tracemalloc.get_traced_memory()[1] - found.nbytes)
        tracemalloc.stop()
    assert len(list(head.windows(768, 128))) > 4 and beside[1] < 1.2 * beside[0]


def test_map_is_positive_float32_of_the_image_and_independent_of_the_unit(pair):
    lr, sr = pair
    head = uncertainty.Head(uncertainty.find(shipped.path(NAME)))
    found = head.scale_map(lr, sr, 255)
    assert found.shape == sr.shape and found.dtype == np.float32 and found.min() > 0 and found.max() < 0.3
    fractions = head.scale_map(lr / np.float32(255), sr / np.float32(255))
    np.testing.assert_array_equal(found, fractions)
    assert found[:60, 24:128].mean() > 1.5 * np.median(found)  # at letters more than elsewhere


def test_statistics_of_the_image_change_the_map_of_the_same_window(pair):
    """T-11: the whole-image branch is used: the same pixels in a noisy image have another map."""
    lr, sr = (np.concatenate([part, part]) for part in pair)
    noisy = lr.copy()
    noisy[75:] = np.clip(noisy[75:] + np.random.default_rng(0).normal(0, 12, (75, 61, 1)), 0, 255)
    head = uncertainty.Head(shipped.head(NAME))
    calm, other = (head.scale_map(x, sr, 255)[:200] for x in (lr, noisy))
    assert np.abs(calm - other).max() > 0.05 * calm.mean()


def test_head_takes_only_images_of_its_scale_and_channels(pair):
    lr, sr = pair
    head = uncertainty.Head(shipped.head(NAME))
    for low, high in ((lr, sr[:-1]), (lr.repeat(3, -1), sr.repeat(3, -1)), (lr[:0], sr[:0])):
        with pytest.raises(InputError, match="the same upscaled by 4"):
            head.scale_map(low, high, 255)


def test_a_head_is_no_model_and_a_model_no_head():
    """A file in the other's place is refused in one line."""
    with pytest.raises(InputError, match="expected a model, received an uncertainty head"):
        runtime.Model(shipped.head(NAME))
    with pytest.raises(InputError, match="expected an uncertainty head, received a model"):
        uncertainty.Head(shipped.path(NAME))


def test_head_of_another_model_is_refused(tmp_path):
    """The two hashes bind a head to its model, in both cards."""
    model, head = tmp_path / "mine.tflite", tmp_path / "mine.uncertainty.tflite"
    model.write_bytes(shipped.path("fast-x2").read_bytes())
    assert uncertainty.of(model) is None
    head.write_bytes(shipped.head(NAME).read_bytes())
    with pytest.raises(InputError, match="belongs to another model"):
        uncertainty.of(model)
    model.write_bytes(shipped.path(NAME).read_bytes())
    assert uncertainty.of(model).card["model_sha256"] == card.read(model)["weights_sha256"]
    other = card.replace(
        model.read_bytes(), {**card.read(model), "uncertainty": {"head": {"weights_sha256": "0" * 64}}}
    )
    model.write_bytes(other)
    with pytest.raises(InputError, match="names another head"):
        uncertainty.of(model)


@pytest.mark.parametrize(
    ("field", "value"), [("scale", 5), ("overlap", -1), ("log_range", [1, 2]), ("context", {"mean": [0]})]
)
def test_invalid_card_of_a_head_is_refused(tmp_path, field, value):
    content = shipped.head(NAME).read_bytes()
    fields = card.check(content, "it", head_card.KIND)
    path = tmp_path / "a.uncertainty.tflite"
    path.write_bytes(card.replace(content, {**fields, field: value}))
    with pytest.raises(InputError, match="model card"):
        uncertainty.Head(path)


def test_invalid_head_in_the_card_of_a_model_is_refused(tmp_path):
    path = tmp_path / "a.tflite"
    content = shipped.path(NAME).read_bytes()
    for wrong in ("head", {}, {"head": {"weights_sha256": "12"}}):
        path.write_bytes(card.replace(content, {**card.read(shipped.path(NAME)), "uncertainty": wrong}))
        with pytest.raises(InputError, match="model card"):
            card.read(path)


@pytest.mark.parametrize("name", HEADS)
def test_shipped_head(name):
    """T-10: at most 40 KiB up to x4, and 72 for the 64 half-widths per input pixel of x8; bound by both cards."""
    path = shipped.head(name)
    head, model = uncertainty.of(shipped.path(name)), card.read(shipped.path(name))
    assert path.stat().st_size <= (40 if head.scale <= 4 else 72) * 1024
    assert head.card["model_sha256"] == model["weights_sha256"] and head.scale == model["scale"]
    assert head.card["weights_sha256"] == model["uncertainty"]["head"]["weights_sha256"]
    assert head.card["training"]["patients"] > 400


def test_every_shipped_model_of_radiographs_has_a_head_and_the_checksums_cover_it():
    """`ct-x4` was trained on nine patients, too few for a head."""
    assert sorted({*HEADS, "ct-x4"}) == shipped.names() and "ct-x4" not in HEADS
    assert shipped.names_with_head() == HEADS
    assert not [name for name in shipped.names() if "uncertainty" in name]
    listed = (shipped.FOLDER / "SHA256SUMS").read_text(encoding="ascii").split()
    assert hashlib.sha256(shipped.head(NAME).read_bytes()).hexdigest() in listed
    assert {path.name for path in shipped.FOLDER.glob("*.tflite")} == set(listed[1::2])


def test_modified_head_is_refused(tmp_path, monkeypatch):
    for path in shipped.FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    (tmp_path / f"{NAME}.uncertainty.tflite").write_bytes(b"other")
    with pytest.raises(InputError, match="checksum; install tfmisr again"):
        shipped.head(NAME)
