"""Export of through-plane networks: of a run of `fit`, and of a network that was trained on one volume (V-09)."""

import json
import types

import keras
import numpy as np
import pytest
from synthetic import ArraySource, smooth_images

from tfmisr import config, data, models
from tfmisr.edge import card, plane_card
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import Volume, VolumeGrid, plane_model, planes
from tfmisr.edge.volumes.slice_profile import SliceProfile
from tfmisr.export import __main__ as export
from tfmisr.export import arguments as flags
from tfmisr.export import self_trained
from tfmisr.training import loop
from tfmisr.volumes import plane_network, plane_run, self_training
from tfmisr.volumes.patches import OwnSlices

AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
SHORT = {
    "model": "plain/num_filters=4,num_layers=2",
    "patch_size": 32,
    "batch_size": 2,
    "steps": 4,
    "save_every": 2,
    "validate_every": 4,
    "ema_decay": 0.0,
}


def _exported(folder, output, *more):
    arguments = flags.parse([str(folder), "--output", str(output), "--rounds", "1", *more])
    return export.run(arguments)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the preset, cut short, and its data."""
    folder = tmp_path_factory.mktemp("fit")
    images = {split: smooth_images(9, 96, i) for i, split in enumerate(("train", "validation", "test"))}
    source = ArraySource(folder, images)
    fields = {**config.preset("through_plane"), **SHORT, "workdir": str(folder / "run")}
    loop.train(config.from_dict(fields, "the test"), source)
    return folder / "run", source


def test_v09_a_run_is_exported_with_its_ranges_and_the_loss_of_int8(run, tmp_path, monkeypatch):
    folder, source = run
    monkeypatch.setattr(data, "load_for", lambda arguments, fields: source)
    more = ("--formats", "float32", "int8", "--images", "2", "--calibration_images", "8")
    outcome = _exported(folder, tmp_path / "out", *more)
    assert outcome.failures == [] and [path.name for path in outcome.files] == ["run_float32.tflite", "run_int8.tflite"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert abs(report["files"]["run_int8.tflite"]["psnr_drop"]) <= 0.05
    for path in outcome.files:
        fields = card.read(path, plane_card.KIND)
        assert fields["ratio_range"] == [2, 6] and fields["skip"] == "input" and fields["training"]["scale"] == 1
        assert fields["slices"]["images"] == 9  # of all training images
    plane = np.random.default_rng(0).random((1, 70, 50, 1), np.float32)
    expected = models.load(folder)(plane, training=False)
    np.testing.assert_allclose(plane_model.PlaneModel(outcome.files[0])(plane), expected, atol=1e-5)


@pytest.mark.large
def test_v09_a_file_for_an_accelerator_returns_the_same_pixels(run, tmp_path, monkeypatch):
    folder, source = run
    monkeypatch.setattr(data, "load_for", lambda arguments, fields: source)
    more = ("--target", "ethos-u55", "--tile", "64", "--images", "0", "--calibration_images", "4")
    (path,) = _exported(folder, tmp_path / "direct", *more).files
    fields = card.read(path, plane_card.KIND)
    assert (fields["tile"], fields["target"], fields["shuffle"]) == (64, "ethos-u55", 1)
    more = ("--formats", "int8", "--images", "0", "--calibration_images", "4")
    (generic,) = _exported(folder, tmp_path / "generic", *more).files
    (other,) = _exported(generic, tmp_path / "other", "--target", "ethos-u85", "--tile", "64").files
    plane = np.random.default_rng(0).random((1, 64, 64, 1), np.float32)
    expected = plane_model.load(generic, tile=64)(plane[0])
    np.testing.assert_array_equal(plane_model.PlaneModel(other)(plane)[0], expected)


def test_v05_a_plane_file_is_read_back_for_further_training(run, tmp_path, monkeypatch):
    from tfmisr.training import tflite_weights

    folder, source = run
    monkeypatch.setattr(data, "load_for", lambda arguments, fields: source)
    (path,) = _exported(folder, tmp_path / "out", "--formats", "float32", "--images", "0").files
    network = tflite_weights.network(path)
    for read, trained in zip(network.get_weights(), models.load(folder).get_weights(), strict=True):
        np.testing.assert_allclose(read, trained, atol=1e-7)
    assert config.initial_weights.digest(path) == card.read(path, plane_card.KIND)["weights_sha256"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a training on one volume whose network does something."""
    folder = tmp_path_factory.mktemp("self")
    rng = np.random.default_rng(0)
    values = np.stack([image[..., 0] for image in smooth_images(12, 96, 5)]).astype(np.float32)
    grid = VolumeGrid(values.shape, (3.0, 0.9, 0.9), (0.0, 0.0, 0.0), AXES)
    volume, profile = Volume(values, grid), SliceProfile("gaussian", 3.0)
    network = plane_network.create(8, 3)
    for weight in network.weights:
        weight.assign_add(rng.normal(0, 0.02, weight.shape))
    slices = OwnSlices(volume, grid.with_slice_spacing(0.9), profile, planes.UnitScale.of(values))
    plane_run.write(folder, network, slices, {"steps": 7, "seed": 0})
    return folder, network


def test_v09_a_network_of_one_volume_is_exported(trained, tmp_path):
    """Its stride is 2: planes of odd sides, and tiles, give what the whole plane gives."""
    folder, network = trained
    outcome = _exported(folder, tmp_path / "out", "--formats", "float32", "int8", "--name", "own")
    assert [path.name for path in outcome.files] == ["own_float32.tflite", "own_int8.tflite"]
    fields = card.read(outcome.files[0], plane_card.KIND)
    np.testing.assert_allclose(fields["ratio_range"], [3 / 0.9] * 2)
    assert fields["fwhm_range"] == [1, 1] and fields["profile"] == ["gaussian"] and fields["spacing"] == [0.9, 0.9]
    assert (fields["stride"], fields["overlap"], fields["training"]) == (2, 8, {"steps": 7, "seed": 0})
    plane = np.random.default_rng(1).random((1, 121, 83, 1), np.float32)
    expected = self_training.predictor(network)(plane)
    np.testing.assert_allclose(plane_model.PlaneModel(outcome.files[0])(plane), expected, atol=1e-5)
    tiled = plane_model.load(outcome.files[0], tile=33)
    assert tiled.tile == 32 and len(list(tiled.grid(122, 84))) > 20
    np.testing.assert_allclose(tiled(plane[0]), expected[0], atol=1e-5)
    assert "own_int8.tflite | 0.0" in (tmp_path / "out" / "report.md").read_text()
    rows = outcome.summary["files"]
    assert abs(rows["own_int8.tflite"]["psnr_drop"]) < 0.05 and rows["own_float32.tflite"]["worst_pixel"] < 1e-5


def test_v09_what_does_not_apply_to_such_a_network_is_refused(trained, tmp_path):
    with pytest.raises(InputError, match="--dataset does not apply"):
        _exported(trained[0], tmp_path / "out", "--dataset", "chest_phantom")
    assert not (tmp_path / "out").exists()
    (tmp_path / "through_plane.json").write_text("{}")
    with pytest.raises(InputError, match="of a finished training on a volume"):
        _exported(tmp_path, tmp_path / "out")


def test_v09_a_loss_above_the_limit_fails(monkeypatch):
    rows = {"a.tflite": {"psnr_drop": 0.06}, "b.tflite": {"psnr_drop": 0.04}, "c.tflite": {"psnr_drop": float("nan")}}
    found = self_trained._failures(rows, types.SimpleNamespace(max_psnr_drop=0.05))
    assert [line.split(":")[0] for line in found] == ["a.tflite", "c.tflite"]


def test_the_reach_of_a_chain_by_hand():
    """A 6x6 convolution of stride 2 reaches 3 pixels; each 3x3 one behind it 2 more; in multiples of the stride."""
    assert plane_run._reach(plane_network.create(4, 3)) == (2, 8)  # 3 + 2 + 2 = 7
    plain = models.create("plain/num_filters=2,num_layers=3", 1)
    assert plane_run._reach(plain) == (1, 4) and isinstance(plain, keras.Model)


@pytest.mark.parametrize("of_its_own", [True, False])
def test_v09_an_exported_network_sees_the_values_that_it_was_trained_on(tmp_path, of_its_own):
    """Those of its volume, from the lowest to the 99.9th percentile, unless it started from other weights.

    CT has -1024 and 3071 HU as 0 and 1 otherwise: a contrast that is several times as low.
    """
    values = np.stack([200 * image[..., 0] for image in smooth_images(12, 64, 5)]).astype(np.float32)
    grid = VolumeGrid(values.shape, (3.0, 0.9, 0.9), (0.0, 0.0, 0.0), AXES)
    volume, profile = Volume(values, grid), SliceProfile("gaussian", 3.0)
    hounsfield = planes.UnitScale(-1024.0, 3071.0)
    trained_with = planes.UnitScale.of(values) if of_its_own else hounsfield
    slices = OwnSlices(volume, grid.with_slice_spacing(0.9), profile, trained_with)
    (tmp_path / "run").mkdir()
    plane_run.write(tmp_path / "run", plane_network.create(4, 3), slices, {"steps": 1, "seed": 0})
    (path,) = _exported(tmp_path / "run", tmp_path / "out", "--formats", "float32").files
    found = plane_model.PlaneModel(path).scale(volume, hounsfield)
    assert (found.low, found.high) == (trained_with.low, trained_with.high)
