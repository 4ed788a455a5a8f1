"""Exported files: their operations, parity with Keras, calibration, report and limits."""

import argparse
import json
import logging
import pathlib
import shutil
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from synthetic import ArraySource, smooth_images
from tiny_network import picture, samples, tiny_network, write_tflite

from tfmisr import data, degradations, layers, quantization
from tfmisr.edge import card, runtime
from tfmisr.edge.errors import InputError
from tfmisr.export import __main__ as export
from tfmisr.export import calibration, cards, convert, ranges, report, zero_range
from tfmisr.inference import upscalers

CNN5 = {"CONV_2D": 6, "ADD": 2, "DEPTH_TO_SPACE": 1}


@pytest.fixture(scope="module")
def network():
    return tiny_network()


def by_keras(network, lr):
    return np.asarray(network(lr[None], training=False))[0]


@pytest.mark.parametrize(
    "flavor,operations,tolerance",
    [
        ("float32", CNN5, 1e-5),
        ("float16", CNN5 | {"DEQUANTIZE": 10}, 1e-3),
        ("dynamic", CNN5, 2e-2),
        ("int8", CNN5, 2e-2),
        ("int16x8", {"CONV_2D": 6, "ADD": 2}, 2e-2),
    ],
)
def test_flavor_has_plain_operations_with_batch_normalization_folded(tmp_path, network, flavor, operations, tolerance):
    path = write_tflite(tmp_path / "m.tflite", network, flavor)
    found = convert.operations_of(path.read_bytes())
    found |= {"DEQUANTIZE": 10} if "DEQUANTIZE" in found else {}  # weights of half precision; their number may vary
    assert found == operations
    lr = picture(40, 50)
    np.testing.assert_allclose(runtime.Model(path)(lr), by_keras(network, lr), atol=tolerance)


def test_conversion_prints_nothing(network, capfd):
    logging.getLogger("absl").disabled = False
    convert.to_tflite(convert.exported_subgraph(network, "int8"), "int8", 32, samples)
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("absl").disabled


def test_split_without_images_is_refused_before_anything_is_written(monkeypatch):
    """The file was written, and then the command ended with status 2."""
    monkeypatch.setattr(data, "load_for", lambda arguments, fields: types.SimpleNamespace(splits=["train", "test"]))
    given = argparse.Namespace(images=20, formats=["int8"], dataset="x", split="validation")
    with pytest.raises(InputError, match="--split validation holds no images, those that do are train, test"):
        export._source(given, {})
    assert export._source(argparse.Namespace(**{**vars(given), "split": "test"}), {}).splits == ["train", "test"]
    assert export._source(argparse.Namespace(**{**vars(given), "images": 0}), {}).splits == ["train", "test"]


@pytest.mark.parametrize("name", ["cnn5", "resnet18", "resnet6", "sesr"])
def test_network_applied_in_windows_equals_keras_in_float32(tmp_path, name):
    network = tiny_network(name)
    path = write_tflite(tmp_path / "m.tflite", network, tile=64)
    lr = picture(70, 60)
    np.testing.assert_allclose(runtime.Model(path)(lr), by_keras(network, lr), atol=1e-5)


def test_integer_input_has_the_whole_range_in_256_levels(network):
    content = convert.to_tflite(convert.exported_subgraph(network, "int8"), "int8", 32, samples)
    from tensorflow.lite.python import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    tensors = [graph.Tensors(i) for i in (graph.Inputs(0), graph.Outputs(0))]
    assert all(tensor.Type() == schema.TensorType.INT8 for tensor in tensors)
    assert tensors[0].Quantization().Scale(0) == pytest.approx(1 / 255, rel=1e-6)
    assert tensors[0].Quantization().ZeroPoint(0) == -128


@pytest.mark.parametrize("channels", [1, 3])
def test_int8_output_has_the_residual_in_a_coarse_and_a_fine_range(channels):
    network = tiny_network("plain", scale=3, channels=channels, num_layers=2)
    output = network.get_layer("output_conv")
    output.set_weights([20 * weight for weight in output.get_weights()])
    lr = picture(12, 10, channels)[None]
    residual = np.asarray(convert.exported_subgraph(network, "float32").network(lr))
    subgraph = convert.exported_subgraph(network, "int8")
    both = np.asarray(subgraph.network(lr))
    assert subgraph.fine_scale == 16 and np.abs(16 * residual).max() > 1
    np.testing.assert_allclose(both[..., :channels], np.clip(residual, -1, 1), atol=1e-6)
    np.testing.assert_allclose(both[..., channels:], np.clip(16 * residual, -1, 1), atol=1e-5)


@pytest.mark.parametrize("dead", [("group1_block1",), ("group1_block1", "group1_block2")])
def test_attention_that_is_dead_on_all_calibration_images_runs_in_8_bits(tmp_path, dead):
    network = tiny_network("rcan", num_groups=1, num_blocks=2)
    for block in dead:
        layer = network.get_layer(f"{block}_gate_squeeze")
        kernel, bias = layer.get_weights()
        layer.set_weights([10 * kernel, bias - 50])  # far below any sum: the ReLU behind it is always 0
    model = runtime.Model(write_tflite(tmp_path / "m.tflite", network, "int8", tile=None))
    lr = picture(40, 26, seed=9)
    expected = np.asarray(network(lr[None], training=False))[0]
    assert np.sqrt(np.mean((model(lr) - expected) ** 2)) < 0.05 * np.std(expected)


def test_file_without_zero_range_activations_keeps_its_bytes(network):
    content = convert.to_tflite(convert.exported_subgraph(network, "int8"), "int8", 32, samples)
    assert zero_range.widened(content) is content


def test_network_without_global_residual_is_exported_whole(tmp_path):
    low_res = keras.Input((None, None, 1), name="low_res")
    x = layers.conv(4, "conv")(low_res)
    network = keras.Model(low_res, layers.DepthToSpace(2, name="shuffle")(x))
    path = write_tflite(tmp_path / "m.tflite", network)
    model, lr = runtime.Model(path), picture(50, 40)
    assert (model.card["skip"], model.card["overlap"]) == ("none", 1)
    np.testing.assert_allclose(model(lr), by_keras(network, lr), atol=1e-5)


def test_interpolation_of_something_else_than_the_input_stays_in_the_file(tmp_path):
    low_res = keras.Input((None, None, 1), name="low_res")
    x = layers.conv(1, "conv")(low_res)
    shuffled = layers.DepthToSpace(2, name="shuffle")(layers.conv(4, "more")(x))
    network = keras.Model(low_res, keras.layers.Add()([layers.BicubicUpsampling(2)(x), shuffled]))
    path = write_tflite(tmp_path / "m.tflite", network)
    model, lr = runtime.Model(path), picture(50, 40)
    assert model.card["skip"] == "none"
    np.testing.assert_allclose(model(lr), by_keras(network, lr), atol=1e-5)


@keras.saving.register_keras_serializable("tests")
class Gamma(keras.layers.Layer):
    def __init__(self, function="igamma", **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs):
        if self.function == "igamma":
            return tf.math.igamma(inputs + 1.0, inputs + 1.0)
        return tf.math.digamma(inputs + 1.0)


@pytest.mark.parametrize("function,operation", [("igamma", "Igamma"), ("digamma", "Digamma")])
def test_operation_that_needs_flex_or_custom_code_is_an_error_with_the_layers_name(function, operation):
    low_res = keras.Input((None, None, 1), name="low_res")
    x = Gamma(function, name="strange_layer")(layers.conv(4, "conv")(low_res))
    network = keras.Model(low_res, layers.DepthToSpace(2)(x))
    with pytest.raises(InputError, match=f"layer strange_layer uses {operation}, which LiteRT has no kernel"):
        convert.to_tflite(convert.exported_subgraph(network, "float32"), "float32", 32)


def test_mixed_precision_is_rebuilt_in_float32():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        mixed = tiny_network()
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    rebuilt, plain = convert.in_float32(mixed), tiny_network()
    assert {layer.compute_dtype for layer in rebuilt.layers} == {"float32"}
    lr = picture(30, 30)
    np.testing.assert_allclose(by_keras(rebuilt, lr), by_keras(plain, lr), atol=1e-6)
    assert convert.in_float32(plain) is plain


def test_saved_model_takes_any_size_by_its_named_signature(tmp_path, network):
    convert.save_model(network, tmp_path / "saved_model")
    call = tf.saved_model.load(tmp_path / "saved_model").signatures["serving_default"]
    for size in ((20, 30), (41, 17)):
        lr = picture(*size)
        out = call(low_res=tf.constant(lr[None]))["super_res"]
        np.testing.assert_allclose(out[0], by_keras(network, lr), atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["saved_model"]


def test_calibration_goes_from_dark_to_bright_and_reads_training_images_only(tmp_path):
    flat = [np.full((64, 64, 1), level, np.uint8) for level in np.random.default_rng(0).permutation(200)[:40]]
    source = ArraySource(tmp_path, {"train": flat, "test": [np.full((64, 64, 1), 255, np.uint8)]})
    chosen = calibration.choose(source, 2, degradations.make(2), 8, 16)
    means = [crop.mean() for crop in chosen.crops]
    assert len(means) == 8
    bounds = np.sort([image.mean() / 255 for image in flat]).reshape(8, 5)
    assert (bounds[:, 0] - 1e-6 <= means).all()
    assert (means <= bounds[:, -1] + 1e-6).all()
    assert all(place["id"].startswith("train_") for place in chosen.places)
    assert {crop.shape for crop in chosen.crops} == {(16, 16, 1)}


def test_every_other_crop_has_the_largest_interpolation_error(tmp_path):
    images = [np.full((64, 64, 1), 20 * i, np.uint8) for i in range(8)]
    for image in images:
        image[40:43, 20:23] = 255  # a letter
    source = ArraySource(tmp_path, {"train": images, "validation": images, "test": images})
    chosen = calibration.choose(source, 2, degradations.of({"scale": 2}), 8, 12)
    for place in chosen.places[1::2]:
        assert place["top"] <= 20 < place["top"] + 12 and place["left"] <= 10 < place["left"] + 12
    assert len({(place["top"], place["left"]) for place in chosen.places[::2]}) > 2


def test_hash_of_calibration_depends_on_pixels_and_names():
    crop, place = np.zeros((4, 4, 1), np.float32), {"id": "a", "top": 0, "left": 0}
    first = calibration.Calibration("d", [crop], [place]).sha256
    assert calibration.Calibration("d", [crop.copy()], [dict(place)]).sha256 == first
    assert calibration.Calibration("d", [crop + 1], [place]).sha256 != first
    assert calibration.Calibration("d", [crop], [place | {"id": "b"}]).sha256 != first


def test_calibration_covers_the_range_whatever_the_images_hold():
    gray = calibration.Calibration("d", [np.full((9, 12, 3), 0.5, np.float32)], [{"id": "a"}])
    values = np.stack(list(gray.samples()))
    assert (values.shape, values.min(), values.max()) == ((2, 9, 12, 3), 0.0, 1.0)


def test_calibration_without_training_images_is_refused(tmp_path):
    source = ArraySource(tmp_path, {"test": smooth_images(2, 64, 0)})
    with pytest.raises(InputError, match="calibrated on training images"):
        calibration.choose(source, 2, degradations.make(2), 4, 16)


def _minus(image, training):
    return -image


def test_trimming_keeps_the_crops_with_the_smallest_residuals():
    peaks = [0.1, 9.0, 0.3, 0.2]
    crops = [np.full((4, 4, 1), peak, np.float32) for peak in peaks]
    whole = calibration.Calibration("d", crops, [{"id": str(i)} for i in range(4)])
    kept = whole.trim_outlier_crops(_minus, 0.5)
    assert [place["id"] for place in kept.places] == ["0", "3"]
    assert [crop.max() for crop in kept.crops] == [np.float32(0.1), np.float32(0.2)]
    assert "of these the 50% on which the network adds least" in kept.summary()["chosen"]
    assert kept.sha256 != whole.sha256
    assert whole.trim_outlier_crops(_minus, 1.0) is whole


@pytest.mark.parametrize(
    "losses,expected,tried",
    [
        ([0.01], 1.0, [1.0]),
        ([0.6, 0.3, 0.02], 0.5, [1.0, 0.75, 0.5]),
        ([0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 0.15, [1.0, 0.75, 0.5, 0.35, 0.25, 0.15]),
        ([0.6, 0.3, 0.2, 0.1, 0.4, 0.02], 0.35, [1.0, 0.75, 0.5, 0.35, 0.25]),  # worse again: the last is not tried
        ([0.6, 0.3, 0.4, 0.02], 0.75, [1.0, 0.75, 0.5]),  # worse than the best, though better than the first
        ([0.6, 0.3, 0.3, 0.02], 0.35, [1.0, 0.75, 0.5, 0.35]),  # as good is not worse
        ([0.6, 0.025], 0.75, [1.0, 0.75]),  # the limit itself is precise enough
    ],
)
def test_calibration_fraction_is_the_largest_that_is_precise_enough(losses, expected, tried):
    by_fraction = dict(zip(ranges.CALIBRATION_FRACTIONS, losses, strict=False))
    found, losses_of = ranges.choose_calibration_fraction(lambda fraction: fraction, by_fraction.get, 0.025)
    assert (found, list(losses_of)) == (expected, tried)


def test_one_outlier_crop_does_not_cost_the_others_their_levels(tmp_path):
    # A plain convolution: one crop has a thousand times the contrast of the others.
    low_res = keras.Input((None, None, 1), name="low_res")
    out = keras.layers.Conv2D(1, 3, padding="same", kernel_initializer="ones", use_bias=False, name="sum")(low_res)
    subgraph = convert.ExportedSubgraph(keras.Model(low_res, out), "none")
    rng = np.random.default_rng(0)
    crops = [rng.uniform(0, 0.01, (16, 16, 1)).astype(np.float32) for _ in range(7)] + [
        np.ones((16, 16, 1), np.float32)
    ]
    whole = calibration.Calibration("d", crops, [{"id": str(i)} for i in range(8)])

    def step(fraction):
        kept = whole.trim_outlier_crops(subgraph.network, fraction)
        content = convert.to_tflite(subgraph, "int8", 16, lambda: iter(kept.crops))
        interpreter = runtime.interpreter_class()(model_content=content)
        return interpreter.get_output_details()[0]["quantization"][0]

    assert step(0.5) < step(1.0) / 50


def test_card_names_a_folder_of_images_without_its_path():
    for dataset in ("/data/Doe_Jane/images", "~/scans", "./scans", "C:\\scans", "Doe_Jane", "doe/jane"):
        assert cards.shared(".", {"dataset": dataset}, None, None)["training"]["dataset"] == "a folder of images"
    assert cards.shared(".", {"dataset": "chest_xray14/512"}, None, None)["training"]["dataset"] == "chest_xray14/512"


def test_card_names_the_degradation_of_the_training_where_it_is_not_bicubic():
    """`calibrate` and the training of a head make LR by it; without it they took every model for a bicubic one."""
    fields = {"degradation": "xray(photons=900)", "quantize_lr": False, "blur_sigma": 0.0, "noise_std": 0.0}
    found = cards.shared(".", fields, None, None)["training"]
    assert found == {"degradation": "xray(photons=900)", "quantize_lr": False}
    described = degradations.of({**found, "scale": 2}).describe()
    assert "photons=900" in described and "rounded" not in described
    assert cards.shared(".", {"degradation": "bicubic", "quantize_lr": True}, None, None)["training"] == {}


@pytest.mark.parametrize(("training", "warned"), [({"discriminator": "dcgan"}, True), ({}, False)])
def test_card_of_a_gan_warns_of_hallucinated_grain(network, training, warned):
    found = cards.describe(
        "m", "float32", convert.exported_subgraph(network, "float32"), 2, 32, 8, {"training": training}
    )
    assert any("GAN" in limit for limit in found["limits"]) == warned


@pytest.fixture
def run(tmp_path, monkeypatch, network):
    """A run's folder whose dataset is a handful of arrays."""
    images = {"train": smooth_images(12, 64, 0), "validation": smooth_images(4, 64, 1), "test": smooth_images(2, 64, 2)}
    source = ArraySource(tmp_path, images)
    monkeypatch.setattr("tfmisr.data.sources.load", lambda *_: source)
    folder = tmp_path / "tiny"
    folder.mkdir()
    network.save(folder / "model.keras")
    (folder / "config.json").write_text(json.dumps({"dataset": "chest_phantom", "model": "cnn5", "scale": 2}))
    return folder


def test_command_writes_files_cards_and_report(run, tmp_path):
    out = tmp_path / "out"
    formats = ("float32", "int8", "saved_model")
    flags = ("--tile", "24", "any", "--images", "2", "--rounds", "1", "--calibration_images", "4")
    limits = ("--max_psnr_drop", "5", "--max_ssim_drop", "1")
    status = export.main(
        [str(run), "--output", str(out), "--formats", *formats, *flags, *limits, "--license", "CC0-1.0"]
    )
    assert status == 0
    names = [f"tiny_{flavor}{size}" for flavor in ("float32", "int8") for size in ("", "_any")]
    expected = {*(f"{n}.tflite" for n in names), *(f"{n}.card.json" for n in names)}
    assert {p.name for p in out.iterdir()} == expected | {"saved_model", "report.json", "report.md"}
    written = card.read(out / "tiny_int8.tflite")
    assert (written["licence"], written["tile"], written["calibration"]["images"]) == ("CC0-1.0", 24, 4)
    sizes = {size: card.read(out / f"tiny_float32{size}.tflite") for size in ("", "_any")}
    assert {size: (c["tile"], c["max_tile"]) for size, c in sizes.items()} == {"": (24, None), "_any": (None, 256)}
    assert written["against_keras"]["split"] == "validation"
    # The copy has the names of fields of the present version alone.
    assert card.latest(written) == json.loads((out / "tiny_int8.card.json").read_text())
    assert written["consistency"]["operator"] == "bicubic"
    found = json.loads((out / "report.json").read_text())
    assert found["files"]["tiny_float32.tflite"]["worst_pixel"] < 1e-5
    assert found["files"]["tiny_float32.tflite"]["operations"] == CNN5
    assert found["calibration"]["24"]["sha256"] == written["calibration"]["sha256"]
    assert found["calibration_shares"]["tiny_int8.tflite"].keys() == {"1.0"}
    assert len(found["benchmark"]["models"]) == 8
    assert "| tiny_int8.tflite | " in (out / "report.md").read_text()
    assert str(tmp_path) not in json.dumps(found) + json.dumps(written)


def test_crops_left_after_trimming_are_listed_in_the_report(run, tmp_path, monkeypatch):
    drops = iter([0.5, 0.3, 0.0])
    monkeypatch.setattr(ranges, "training_drop", lambda *_: next(drops))
    flags = ("--formats", "int8", "--tile", "24", "--images", "2", "--rounds", "1", "--calibration_images", "8")
    made, choose = [], calibration.choose
    monkeypatch.setattr(calibration, "choose", lambda *given: made.append(choose(*given)) or made[-1])
    assert export.main([str(run), "--output", str(tmp_path / "out"), *flags]) in (0, 1)
    written = card.read(tmp_path / "out" / "tiny_int8.tflite")["calibration"]
    assert written["images"] == 4 and "of these the 50% on which the network adds least" in written["chosen"]
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["calibration_shares"] == {"tiny_int8.tflite": {"1.0": 0.5, "0.75": 0.3, "0.5": 0.0}}
    used = found["calibration_narrowed"]["tiny_int8.tflite"]
    (whole,) = made
    crops = [whole.crops[whole.places.index(place)] for place in used["crops"]]
    again = calibration.Calibration(whole.dataset, crops, used["crops"])
    assert len(crops) == 4 and again.sha256 == written["sha256"] == used["sha256"]


def test_calibration_fraction_is_chosen_on_training_images_alone(tmp_path, network):
    source = ArraySource(tmp_path, {"train": smooth_images(3, 64, 0)})
    subgraph = convert.exported_subgraph(network, "float32")
    content = convert.to_tflite(subgraph, "float32", 24)
    described = cards.describe("tiny", "float32", subgraph, 2, 24, upscalers.receptive_radius(subgraph.network), {})
    drop = ranges.training_drop(content, described, network, source, 2, degradations.make(2))
    assert abs(drop) < 1e-3
    other = convert.to_tflite(convert.exported_subgraph(tiny_network(seed=1), "float32"), "float32", 24)
    assert abs(ranges.training_drop(other, described, network, source, 2, degradations.make(2))) > 1e-3


def test_file_over_a_limit_makes_the_exit_status(run, tmp_path, capsys):
    flags = ("--formats", "float16", "--images", "2", "--rounds", "1", "--max_psnr_drop", "-100")
    assert export.main([str(run), "--output", str(tmp_path / "out"), *flags]) == 1
    written = card.read(tmp_path / "out" / "tiny_float16.tflite")
    assert (written["tile"], written["max_tile"]) == (None, 256)  # without --tile windows are chosen for each image
    assert "over the limit: tiny_float16.tflite: loses" in capsys.readouterr().err


def test_merged_self_ensemble_of_two_transforms_returns_their_mean(run, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(run, plain)
    network = tiny_network("plain", num_layers=2)
    network.save(plain / "model.keras")
    flags = ["--output", str(tmp_path), "--name", "twice", "--formats", "float32", "--orientations", "2"]
    flags += ["--tile", "24", "--max_tile", "64"]
    assert export.main([str(plain), *flags, "--images", "2", "--rounds", "1"]) == 0
    model = runtime.Model(tmp_path / "twice_float32.tflite", consistency=False)
    assert model.card["orientations"] == 2
    # Two branches of three convolutions; the file's own input has 24 x 24 pixels.
    assert [model.card[key] for key in ("overlap", "tile", "max_tile")] == [3, None, 64]
    assert list(model._input["shape"]) == [1, 24, 24, 1]
    lr = picture(20, 24)
    upside_down = network(lr[None, ::-1, ::-1].copy()).numpy()[0, ::-1, ::-1]
    np.testing.assert_allclose(model(lr), (network(lr[None]).numpy()[0] + upside_down) / 2, atol=1e-6)


def test_self_ensemble_of_another_than_a_plain_network_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="--orientations needs a plain network, .* takes MODEL. for any"):
        export.main([str(run), "--output", str(tmp_path), "--orientations", "4"])


def test_image_that_only_keras_reproduces_exactly_costs_no_infinite_decibels():
    exact = [{"psnr": float("inf"), "ssim": 1.0}, {"psnr": float("inf"), "ssim": 1.0}, {"psnr": 30.0, "ssim": 0.8}]
    rows = [{"psnr": 48.0, "ssim": 0.9}, {"psnr": float("inf"), "ssim": 1.0}, {"psnr": 29.0, "ssim": 0.8}]
    found = report._costs([row | {"worst": 0.1, "id": "a"} for row in rows], exact)
    # By hand: nothing of the second, 1 dB of the third; the first counts in SSIM alone.
    assert (found["psnr_drop"], found["psnr_drop_worst"], found["psnr"]) == (0.5, 1.0, 38.5)
    assert found["ssim_drop"] == pytest.approx(0.1 / 3)


def test_nan_is_over_the_limit():
    row = {"flavour": "float32", "psnr_drop": float("nan"), "ssim_drop": 0.0, "worst_pixel": 0.0}
    assert report.failures({"files": {"a": row}}, report.Limits(1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    "flags,message",
    [
        (("--tile", "8"), "tile must be from 16 to 4096"),
        (("--tile", "5000"), "tile must be from 16 to 4096"),
        (("--tile", "big"), "tile must be a number of pixels, or any"),
        (("--max_tile", "8"), "max_tile must be from 16 to 4096. Received: 8"),
        (("--images", "-1"), "images must be at least 0"),
        (("--calibration_images", "1"), "calibration_images must be at least 2"),
    ],
)
def test_mistakes_are_reported_before_anything_is_written(tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        export.main([str(tmp_path), "--output", str(tmp_path / "out"), *flags])
    assert not (tmp_path / "out").exists()


def test_tile_smaller_than_the_network_sees_is_refused(run, tmp_path):
    network = tiny_network("resnet18")
    network.save(run / "model.keras")
    with pytest.raises(InputError, match="tile must be above 36, twice the 18 pixels that this network sees"):
        export.main([str(run), "--output", str(tmp_path / "out"), "--tile", "32", "--formats", "float32"])
    with pytest.raises(InputError, match="max_tile must be above 36"):
        export.main([str(run), "--output", str(tmp_path / "out"), "--max_tile", "36", "--formats", "float32"])


def test_run_without_configuration_needs_a_dataset(tmp_path, network):
    network.save(tmp_path / "net.keras")
    with pytest.raises(InputError, match="give --dataset"):
        export.main([str(tmp_path / "net.keras"), "--output", str(tmp_path / "out"), "--formats", "float32"])


def test_export_folder_has_no_init_file():
    assert not (pathlib.Path(__file__).resolve().parent.parent / "export" / "__init__.py").exists()


@pytest.mark.parametrize(
    "module,old,new",
    [
        (convert, "core_of", convert.exported_subgraph),
        (convert, "Core", convert.ExportedSubgraph),
        (convert, "FLAVOURS", convert.FLAVORS),
        (ranges, "least_narrowed", ranges.choose_calibration_fraction),
        (ranges, "SHARES", ranges.CALIBRATION_FRACTIONS),
        (cards, "gate_of", cards.gating_thresholds),
        (quantization, "REACH", 6.0),
        (quantization, "RoundedConv2D", quantization.FakeQuantConv2D),
    ],
)
def test_names_of_the_previous_release_warn(module, old, new):
    with pytest.warns(DeprecationWarning, match=f"{old} is now"):
        assert getattr(module, old) == new


def test_flag_of_the_previous_release_warns_and_is_not_in_the_help(run, tmp_path, capsys):
    parser = export._parser()
    assert "--license" in parser.format_help() and "licence" not in parser.format_help()
    arguments = export.parse([str(run), "--output", str(tmp_path / "out"), "--licence", "CC0-1.0"])
    export.check(arguments)
    assert arguments.license == "CC0-1.0"
    assert capsys.readouterr().err == "warning: --licence is now --license\n"


@pytest.mark.large
def test_flavor_that_cannot_be_written_leaves_the_other_files_complete(tmp_path, run, monkeypatch):
    """Without 16-bit kernel of an operation: int8, SavedModel and report are written, then the command ends with 2."""
    to_tflite = convert.to_tflite

    def without_16_bits(subgraph, flavor, *further):
        if flavor == "int16x8":
            raise convert.UnsupportedOperation("the network uses SQRT")
        return to_tflite(subgraph, flavor, *further)

    monkeypatch.setattr(convert, "to_tflite", without_16_bits)
    flags = ["--output", str(tmp_path / "out"), "--formats", "float32", "int16x8", "saved_model"]
    with pytest.raises(InputError, match=r"int16x8 was not written: the network uses SQRT \(the other files are com"):
        export.main([str(run), *flags, "--images", "1", "--rounds", "1", "--calibration_images", "2"])
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"tiny_float32.tflite", "tiny_float32.card.json", "saved_model", "report.json", "report.md"}
    assert card.read(tmp_path / "out" / "tiny_float32.tflite")["against_keras"]["images"] == 1


@pytest.mark.large
def test_trained_ranges_are_converted_once(tmp_path, run):
    """They do not depend on the crops: no smaller fraction is tried, however small the limit."""
    trained = quantization.prepare(tiny_network("resnet6"), np.stack([picture(24, 24)]))
    trained.save(run / "model.keras")
    flags = ["--output", str(tmp_path / "out"), "--formats", "int8", "--images", "1", "--rounds", "1"]
    export.main([str(run), *flags, "--calibration_images", "2", "--max_psnr_drop", "-100"])
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["calibration_shares"]["tiny_int8.tflite"].keys() == {"1.0"}
