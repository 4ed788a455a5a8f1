"""Classical methods fitted to training images: trained once, saved in files that the other commands read."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image
from scipy import linalg
from synthetic import ArraySource, smooth_images

from tfmisr import classical, data, degradations, evaluate, metrics, upscale
from tfmisr.classical import optimal_linear, plug_and_play, sparse_coding, store
from tfmisr.data import pipeline
from tfmisr.edge import images, resize
from tfmisr.edge.errors import InputError
from tfmisr.edge.upscaler import to_levels
from tfmisr.inference import fitting, upscalers


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Settings with which each method learns in a second."""
    monkeypatch.setattr(optimal_linear, "SETTINGS", optimal_linear.SETTINGS | {"positions": 20_000})
    fewer = {"atoms": 24, "patches": 600, "iterations": 4, "batch": 64, "components": 12}
    monkeypatch.setattr(sparse_coding, "SETTINGS", sparse_coding.SETTINGS | fewer)
    fewer = {"filters": 4, "steps": 3, "batch": 2, "patch": 24}
    monkeypatch.setattr(plug_and_play, "SETTINGS", plug_and_play.SETTINGS | fewer)


def photographs(tmp_path, channels=1, dtype=np.uint8, splits=("train", "test")):
    """A dataset of smooth images with odd sides, 8 or 16 bits."""
    made = {}
    for seed, split in enumerate(splits):
        found = [np.concatenate([image[:63, :59]] * channels, axis=-1) for image in smooth_images(6, 64, seed)]
        made[split] = [image.astype(dtype) * (257 if dtype == np.uint16 else 1) for image in found]
    return ArraySource(tmp_path, made)


def scored(upscaler, source, scale, degradation):
    """Returns mean PSNR of an upscaler and of bicubic on the test split."""
    found = []
    for _, _, max_val, lr, hr in pipeline.pairs(pipeline.cache_of(source, "test"), scale, degradation):
        both = upscaler(lr, scale, max_val), to_levels(resize.upscale(lr, scale), max_val)
        found.append([metrics.psnr(*(metrics.shave(x, scale) for x in (hr, sr)), max_val) for sr in both])
    return np.mean(found, axis=0)


def test_filters_equal_scipys_least_squares():
    rng = np.random.default_rng(0)
    lr, hr = rng.random((30, 26, 1), np.float32), rng.random((60, 52, 1), np.float32)
    x, y = optimal_linear.samples(lr, hr, 2, 10**6, np.random.default_rng(1))
    assert x.shape == (780, 121) and y.shape == (780, 4)
    kernel = optimal_linear.solve(x.T @ x, x.T @ y, 1)
    expected = linalg.lstsq(x, y)[0].reshape(11, 11, 1, 4)
    np.testing.assert_allclose(kernel, expected, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 4])
def test_linear_filters_beat_bicubic_on_chest_x_rays_of_other_patients(tmp_path, monkeypatch, shared_data, scale):
    monkeypatch.setattr(optimal_linear, "SETTINGS", optimal_linear.SETTINGS | {"positions": 2**18})
    files = sorted((shared_data / "ChestX-ray14-512" / "images").glob("*.png"))[:60]  # one of each patient
    if len(files) < 60:
        pytest.skip("too few chest X-rays of 512 x 512 pixels")
    pixels = [np.asarray(Image.open(file).convert("L"))[..., None] for file in files]
    source, fields = ArraySource(tmp_path, {"train": pixels[:45], "test": pixels[45:]}), {"scale": scale}
    made = fitting.fit_upscaler(classical.create("optimal_linear"), source, fields)
    learned, bicubic = scored(made, source, scale, degradations.of(fields))
    assert 0.6 < learned - bicubic < 1.2


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_network_of_the_filters_equals_the_linear_model(scale, channels):
    # The samples, by NumPy, and the network, by Keras, must mean the same pixels, up to the image's edge.
    rng = np.random.default_rng(0)
    lr = rng.random((13, 17, channels), np.float32)
    kernel = rng.standard_normal((11, 11, channels, scale**2 * channels)).astype(np.float32) / 100
    network = optimal_linear.build(kernel)
    sr = np.asarray(network(lr[None]))[0]
    x, y = optimal_linear.samples(lr, sr, scale, 10**6, np.random.default_rng(1))
    np.testing.assert_allclose(x @ kernel.transpose(2, 0, 1, 3).reshape(x.shape[1], -1), y, atol=1e-5)


def test_filters_recover_a_known_filter():
    # HR is the interpolation plus a quarter of the left neighbour's difference: the solution is that filter.
    rng = np.random.default_rng(0)
    lr = ndimage_smooth(rng.random((40, 40, 1), np.float32))
    padded = np.pad(lr, ((5, 5), (5, 5), (0, 0)), "symmetric")
    bicubic = resize.upscale(padded, 2)[10:-10, 10:-10]
    difference = (lr - padded[5:-5, 4:-6]) / 4
    hr = bicubic + difference.repeat(2, 0).repeat(2, 1)
    x, y = optimal_linear.samples(lr, hr, 2, 10**6, rng)
    kernel = optimal_linear.solve(x.T @ x, x.T @ y, 1)
    expected = np.zeros((11, 11, 1, 4))
    expected[5, 5], expected[5, 4] = 0.25, -0.25
    np.testing.assert_allclose(kernel, expected, atol=0.01)


def ndimage_smooth(image):
    from scipy import ndimage

    return ndimage.gaussian_filter(image, (0.5, 0.5, 0))


def test_black_training_images_give_the_interpolation():
    kernel = optimal_linear.solve(np.zeros((121, 121)), np.zeros((121, 4)), 1)
    assert not kernel.any()


@pytest.mark.parametrize("name", ["optimal_linear", "sparse_coding"])
@pytest.mark.parametrize("scale,channels,dtype", [(2, 1, np.uint8), (3, 3, np.uint16), (4, 1, np.uint16)])
def test_fitted_method_beats_bicubic_on_test_images(tmp_path, capsys, name, scale, channels, dtype):
    source, fields = photographs(tmp_path, channels, dtype), {"scale": scale}
    made = fitting.fit_upscaler(classical.create(name), source, fields)
    learned, bicubic = scored(made, source, scale, degradations.of(fields))
    assert learned > bicubic + 0.3
    assert made.parameters > 100 and made.name == name


FAST = {"filters": 32, "steps": 250, "batch": 8, "learning_rate": 2e-3}


@pytest.mark.large
def test_denoiser_learns_to_remove_noise(tmp_path, monkeypatch):
    monkeypatch.setattr(plug_and_play, "SETTINGS", plug_and_play.SETTINGS | FAST)
    faint = {"train": [120 + image // 16 for image in smooth_images(6, 64, 0)]}
    cache = pipeline.cache_of(ArraySource(tmp_path, faint), "train")
    network = plug_and_play.load_denoiser(plug_and_play.fit(cache, 2, None, 0))
    noisy, noise = plug_and_play.training_batch(cache, 1, 0)
    level = noisy[..., -1:]
    before, after = np.mean((level * noise) ** 2), np.mean((level * (noise - np.asarray(network(noisy)))) ** 2)
    assert after < 0.75 * before


def test_training_batch_depends_on_seed_and_step_and_has_the_stated_noise(tmp_path):
    cache = pipeline.cache_of(photographs(tmp_path), "train")
    noisy, noise = plug_and_play.training_batch(cache, 0, 5)
    np.testing.assert_array_equal(noisy, plug_and_play.training_batch(cache, 0, 5)[0])
    assert not np.array_equal(noisy, plug_and_play.training_batch(cache, 0, 6)[0])
    levels = noisy[..., -1]
    assert (levels == levels[:, :1, :1]).all() and len(np.unique(levels)) > 1
    for one, level, drawn in zip(noisy, levels[:, 0, 0], noise, strict=True):
        assert drawn.std() == pytest.approx(1, rel=0.1)
        clean = one[..., :-1] - level * drawn
        assert clean.min() > -1e-6 and clean.max() < 1 + 1e-6


@pytest.mark.parametrize(
    "name", ["optimal_linear", "sparse_coding", pytest.param("plug_and_play", marks=pytest.mark.large)]
)
def test_fit_is_cached_by_seed(tmp_path, capsys, name):
    source, fields = photographs(tmp_path), {"scale": 2, "blur_sigma": 0.5, "noise_std": None}
    first = classical.fitted_file(name, source, fields)
    said = capsys.readouterr().out
    assert "learns from the train split of arrays, 6 images" in said and str(first) in said
    written = first.read_bytes()
    assert classical.fitted_file(name, source, fields) == first and first.read_bytes() == written
    assert "learns" not in capsys.readouterr().out
    assert classical.fitted_file(name, source, fields, seed=1) != first
    again = classical.fitted_file(name, source, {"scale": 4})
    assert (again == first) == (name == "plug_and_play")
    before = upscalers.load(str(first)).weights_sha256
    first.unlink()
    assert upscalers.load(str(classical.fitted_file(name, source, fields))).weights_sha256 == before


def test_each_degradation_has_its_own_file(tmp_path):
    source = photographs(tmp_path)
    fields = [{}, {"blur_sigma": 0.7}, {"noise_std": 0.02}, {"quantize_lr": False}, {"degradation": "ct"}]
    found = {classical.fitted_file("optimal_linear", source, {"scale": 2, **each}) for each in fields}
    assert len(found) == len(fields)


@pytest.mark.parametrize("name", classical.LEARNING)
def test_dataset_without_training_images_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=f"{name} learns from the train split, which arrays does not hold"):
        fitting.fit_upscaler(classical.create(name), photographs(tmp_path, splits=("test",)), {"scale": 2})


def test_training_never_reads_the_images_that_are_evaluated(tmp_path, monkeypatch):
    source, read = photographs(tmp_path), []
    examples = source.examples
    monkeypatch.setattr(source, "examples", lambda split: read.append(split) or examples(split))
    for name in classical.LEARNING:
        classical.fitted_file(name, source, {"scale": 2})
    assert read == ["train"]


def test_evaluate_takes_names_and_upscale_takes_files(tmp_path, monkeypatch, capsys):
    source = photographs(tmp_path)
    monkeypatch.setattr(data, "load_for", lambda *_: source)
    names = list(classical.METHODS)
    output = tmp_path / "out"
    evaluate.main([*names, "--scale", "2", "--measures", "psnr", "--noise_std", "0.01", "--output", str(output)])
    found = json.loads((output / "metrics.json").read_text())["models"]
    assert set(found) == {"bicubic", *names}
    assert found["sparse_coding"]["parameters"] > 0 == found["back_projection"]["parameters"]
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 22, 1)).astype(np.uint16)
    images.write_image(tmp_path / "in.png", pixels, 65535)
    files = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines() if classical.FOLDER in line]
    assert sorted(pathlib.Path(f).suffix for f in files) == [".keras", ".npz", ".npz"]
    for i, model in enumerate([*files, "back_projection", "self_similarity"]):
        target = tmp_path / f"{i}.png"
        upscale.main(["--model", model, "--scale", "2", str(tmp_path / "in.png"), "--output", str(target)])
        assert images.read_images(target)[0].pixels.shape == (40, 44, 1)
    inherited = next(upscalers.load(f) for f in files if "sparse_coding" in f)
    assert (inherited.scale, inherited.config["noise_std"], inherited.config["dataset"]) == (2, 0.01, "arrays")


@pytest.mark.parametrize("name", classical.LEARNING)
def test_upscale_with_the_name_of_a_learning_method_explains_how_to_get_a_file(tmp_path, name):
    images.write_image(tmp_path / "in.png", np.zeros((20, 20, 1), np.uint8), 255)
    with pytest.raises(InputError, match=f"{name} learns from images: python -m tfmisr.evaluate {name}"):
        upscale.main(["--model", name, str(tmp_path / "in.png"), "--output", str(tmp_path / "out.png")])


def test_filters_run_in_tiles_and_in_tflite_integer_files(tmp_path):
    from tiny_network import picture, write_tflite

    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((11, 11, 1, 4)).astype(np.float32) / 200
    network = optimal_linear.build(kernel)
    lr = picture(70, 90)
    full = np.asarray(network(lr[None]))[0]
    assert upscalers.receptive_radius(network) == 5  # the interpolation beside the filters sees two
    np.testing.assert_allclose(upscalers.tiled(network, 16)(lr, 2), full, atol=1e-5)
    for flavour, tolerance in (("float32", 1e-5), ("int8", 0.02)):
        write_tflite(tmp_path / f"{flavour}.tflite", network, flavour)
        found = upscalers.load(str(tmp_path / f"{flavour}.tflite"))(lr, 2)
        assert np.abs(found - full).max() < tolerance


def broken(path, about, **arrays):
    store.write(path, about, {name: np.asarray(array) for name, array in arrays.items()})


ABOUT = {"method": "sparse_coding", "scale": 2, "dataset": "x", "degradation": "bicubic"}
ABOUT |= {"blur_sigma": 0.0, "noise_std": 0.0, "quantize_lr": True}
ARRAYS = {"projection": (144, 4), "low": (5, 4), "high": (5, 36)}


@pytest.mark.parametrize(
    "about,shapes,dtype,message",
    [
        ({**ABOUT, "scale": "2"}, ARRAYS, np.float32, "scale must be"),
        ({**ABOUT, "scale": 3}, ARRAYS, np.float32, "dictionaries of sparse_coding for scale 3"),
        ({**ABOUT, "degradation": "none"}, ARRAYS, np.float32, "degradation must be one of"),
        ({"method": "sparse_coding"}, ARRAYS, np.float32, "does not contain scale"),
        ({"method": "optimal_linear"}, ARRAYS, np.float32, "Received: optimal_linear"),
        ({"method": 3}, ARRAYS, np.float32, "its method is not a name"),
        ({"method": "plug_and_play"}, ARRAYS, np.float32, "weights of a denoiser"),
        ({"method": "plug_and_play"}, {}, np.float32, "weights of a denoiser"),
        (ABOUT, {"low": (5, 4)}, np.float32, "dictionaries of sparse_coding"),
        (ABOUT, {**ARRAYS, "low": (5,)}, np.float32, "dictionaries of sparse_coding"),
        (ABOUT, ARRAYS, np.float64, "finite float32 numbers"),
        (ABOUT, ARRAYS, object, "expected a method's .npz file"),
    ],
)
def test_file_with_other_content_is_refused_in_one_line(tmp_path, about, shapes, dtype, message):
    broken(tmp_path / "a.npz", about, **{name: np.zeros(shape, dtype) for name, shape in shapes.items()})
    with pytest.raises(InputError, match=message):
        upscalers.load(str(tmp_path / "a.npz"))


def test_file_that_is_not_an_archive_or_too_large_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.npz").write_bytes(b"hello")
    with pytest.raises(InputError, match="expected a method's .npz file"):
        upscalers.load(str(tmp_path / "a.npz"))
    broken(tmp_path / "b.npz", ABOUT, **{name: np.zeros(shape, np.float32) for name, shape in ARRAYS.items()})
    assert upscalers.load(str(tmp_path / "b.npz")).scale == 2
    monkeypatch.setattr(store, "_MAX_BYTES", 1000)
    with pytest.raises(InputError, match="it holds .* bytes"):
        upscalers.load(str(tmp_path / "b.npz"))
