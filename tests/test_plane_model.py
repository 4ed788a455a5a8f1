"""Through-plane networks as files for devices: card, runtime, refusals, tiles (V-08, V-09)."""

import json
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from tiny_network import picture, tiny_network, write_tflite

from tfmisr import card as card_command
from tfmisr import degradations
from tfmisr.edge import card, plane_card, runtime
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import Volume, VolumeGrid, plane_model, planes, slice_scope
from tfmisr.edge.volumes.slice_profile import SliceProfile
from tfmisr.export import cards, convert
from tfmisr.export import planes as plane_cards
from tfmisr.inference import upscalers

AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
DEGRADATION = degradations.make("through_plane(min_ratio=2, max_ratio=6, min_fwhm=0.8, max_fwhm=1.2)", scale=1)
SCALE = planes.UnitScale(0.0, 1.0)


def write(path, network, flavor="float32", tile=None):
    """Writes a file with the card of a plane network, as `python -m tfmisr.export` does."""
    subgraph = convert.exported_subgraph(network, flavor)
    content = convert.to_tflite(subgraph, flavor, tile, lambda: (picture(48, 48, seed=seed) for seed in range(4)))
    radius = upscalers.receptive_radius(subgraph.network)
    described = cards.describe("tiny", flavor, subgraph, 1, tile, radius, {})
    path.write_bytes(card.attach(content, plane_cards.describe(described, DEGRADATION)))
    return path


@pytest.fixture(scope="module")
def network():
    return tiny_network("plain", scale=1, num_layers=3)


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    return write(tmp_path_factory.mktemp("plane") / "tiny.tflite", network)


def changed_card(path, file, **changed):
    """Writes the file with other fields in its card."""
    path.write_bytes(card.replace(file.read_bytes(), card.read(file, plane_card.KIND) | changed))
    return path


@pytest.fixture(scope="module")
def upscaling(tmp_path_factory):
    return write_tflite(tmp_path_factory.mktemp("plane") / "up.tflite", tiny_network("plain", num_layers=2))


def grid(count, spacing=1.0, side=40):
    return VolumeGrid((count, side, side), (spacing, 1.0, 1.0), (0.0, 0.0, 0.0), AXES)


def volume(count=10, spacing=4.0, side=40):
    values = np.stack([picture(side, side, seed=seed)[..., 0] for seed in range(count)])
    return Volume(values, grid(count, spacing, side))


def test_v09_plane_model_equals_keras_on_planes_of_any_size(network, file):
    model = plane_model.PlaneModel(file)
    for height, width in ((33, 47), (200, 21), (5, 9)):
        batch = np.stack([picture(height, width, seed=seed) for seed in range(2)])
        refined = model(batch)
        assert refined.dtype == np.float32 and refined.shape == batch.shape
        np.testing.assert_allclose(refined, network(batch, training=False), atol=1e-5)
        assert np.abs(refined - batch).max() > 1e-3  # the network does something


def test_v09_tiles_do_not_show(file):
    """Tiled equals untiled: the overlap covers the receptive field, and each window is bounded."""
    batch = picture(150, 90)[None]
    whole = plane_model.PlaneModel(file)(batch)[0]
    tiled = plane_model.load(file, tile=32)
    assert tiled.overlap == 4 and len(list(tiled.grid(150, 90))) > 12
    np.testing.assert_allclose(tiled(batch[0]), whole, atol=1e-6)


def test_v09_int8_is_within_a_level_of_its_float_file(network, file, tmp_path):
    int8 = plane_model.PlaneModel(write(tmp_path / "int8.tflite", network, "int8"))
    assert int8.card["fine_scale"] == 16 and int8.card["gating_thresholds"] is None
    batch = picture(64, 64, seed=9)[None]
    assert np.abs(int8(batch) - plane_model.PlaneModel(file)(batch)).max() < 1 / 255


def test_v09_a_residual_added_to_the_input_itself_is_exported_too(tmp_path):
    """Such as the network that a volume trains on its own slices: no layer of interpolation."""
    plane = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(plane)
    x = keras.layers.Conv2D(1, 3, padding="same", name="b")(x)
    network = keras.Model(plane, keras.layers.Add()([plane, x]))
    batch = picture(40, 30)[None]
    for flavor, tolerance, fine in (("float32", 1e-5, 1), ("int8", 0.02, 16)):
        model = plane_model.PlaneModel(write(tmp_path / f"{flavor}.tflite", network, flavor))
        assert model.card["skip"] == "input" and model.card["fine_scale"] == fine
        np.testing.assert_allclose(model(batch), network(batch), atol=tolerance)


def test_v09_card_names_kind_profile_and_ranges(file):
    described = card.read(file, plane_card.KIND)
    assert card.kind_of(file) == described["kind"] == "through_plane"
    assert described["profile"] == ["gaussian", "rectangular"] and described["ratio_range"] == [2, 6]
    assert described["fwhm_range"] == [0.8, 1.2] and described["spacing"] is None and described["card_version"] == 3
    assert described["consistency"] is None and "thinner" in described["intended_use"]


def test_v09_files_in_each_others_place_are_refused_in_one_line(file, upscaling):
    with pytest.raises(InputError, match="expected a model, received a through-plane network.*tfmisr.volume takes"):
        runtime.Model(file)
    with pytest.raises(InputError, match="expected a through-plane network, received a model"):
        plane_model.PlaneModel(upscaling)
    assert type(plane_model.load(file)) is plane_model.PlaneNetwork
    assert type(plane_model.load(upscaling)) is runtime.Model


def test_v09_the_card_is_printed(file, capsys):
    assert card_command.main([str(file)]) == 0
    printed = capsys.readouterr().out
    assert "through_plane" in printed and "2, 6" in printed and "Agreement with the input" not in printed


@pytest.mark.parametrize(
    "changed",
    [{"profile": []}, {"profile": ["square"]}, {"ratio_range": [3, 2]}, {"skip": "bicubic"}, {"slices": {"names": []}}],
)
def test_v09_a_broken_card_is_named(file, tmp_path, changed):
    path = changed_card(tmp_path / "broken.tflite", file, **changed)
    with pytest.raises(InputError, match=f"model card with {next(iter(changed))}="):
        plane_model.PlaneModel(path)


@pytest.mark.parametrize(
    "spacing,profile,message",
    [
        (1.5, SliceProfile("gaussian", 1.5), "slices 2 to 6 times the new spacing apart. Received: 1.5"),
        (8.0, SliceProfile("gaussian", 8.0), "Received: 8"),
        (4.0, SliceProfile("gaussian", 2.0), "0.8 to 1.2 times the spacing of the slices. Received: 0.5"),
    ],
)
def test_v09_a_volume_outside_the_ranges_is_refused(file, spacing, profile, message):
    model = plane_model.PlaneModel(file)
    model.require(volume(), grid(40), SliceProfile("gaussian", 4.0), SCALE)
    with pytest.raises(InputError, match=message) as error:
        model.require(volume(spacing=spacing), grid(40), profile, SCALE)
    assert "--force" in str(error.value) and "\n" not in str(error.value)


def test_v09_a_profile_that_was_not_trained_is_refused():
    ranges = {"profile": ["gaussian"], "ratio_range": [2, 6], "fwhm_range": [0.8, 1.2]}
    assert "gaussian. Received: rectangular" in plane_card.mismatch(ranges, 4, "rectangular", 1)
    assert plane_card.mismatch(ranges, 6.02, "gaussian", 0.797) == ""  # rounded spacings of headers


def test_v08_slices_unlike_the_training_are_refused(file, tmp_path):
    training = [picture(64, 64, seed=seed)[..., 0] for seed in range(12)]
    field = slice_scope.describe(training)
    model = plane_model.PlaneModel(changed_card(tmp_path / "scope.tflite", file, slices=field))
    alike = Volume(np.stack([picture(64, 64, seed=20 + seed)[..., 0] for seed in range(10)]), grid(10, 4.0, 64))
    profile = SliceProfile("gaussian", 4.0)
    assert model.mismatches(alike, grid(40, side=64), profile, SCALE) == []
    assert model.remarks(alike, grid(40, side=64), profile, SCALE) == []
    noise = np.random.default_rng(0).random(alike.values.shape, np.float32)
    with pytest.raises(InputError, match="slices unlike those of the training in power spectrum and"):
        model.require(Volume(noise, alike.grid), grid(40, side=64), profile, SCALE)
    assert len(json.dumps(field)) < 2000 and slice_scope.describe(training[:7]) is None


def test_v08_a_deviation_by_hand():
    """A range from 0 to 2 and a median of 6: two widths beyond the end."""
    image = picture(64, 64)[..., 0]
    measured = slice_scope._measured(image)
    low, high = measured - 6.0, measured - 4.0
    field = {"names": list(slice_scope.NAMES), "low": low.tolist(), "high": high.tolist(), "images": 9}
    found = slice_scope.deviations(field, np.stack([image] * 5), SCALE.to_unit)
    assert slice_scope.is_valid(field) and len(found) == len(slice_scope.NAMES)
    np.testing.assert_allclose(list(found.values()), 2.0, rtol=1e-6)
    assert slice_scope.deviations(field, np.zeros((3, 20, 64), np.float32), SCALE.to_unit) == {}


def test_v09_what_needs_the_whole_plane_or_color_is_refused():
    whole = {"overlap": None, "channels": 1, "skip": "none", "flavor": "float32", "fine_scale": 1}
    with pytest.raises(InputError, match="limited receptive field"):
        plane_cards.described(whole, ["gaussian"], (2, 6), (1, 1), None)
    with pytest.raises(InputError, match="gray images. Received: one for 3 channels"):
        plane_cards.described(whole | {"overlap": 3, "channels": 3}, ["gaussian"], (2, 6), (1, 1), None)
    with pytest.raises(InputError, match="--degradation through_plane"):
        plane_cards.describe(whole, types.SimpleNamespace(steps=(), describe=lambda: "Bicubic(scale=1)"))


RUN = """
import sys
for name in ("tensorflow", "keras", "jax", "scipy", "nibabel"):
    sys.modules[name] = None  # importing it raises
import numpy as np
from tfmisr.edge.volumes import Volume, VolumeGrid, planes
from tfmisr.edge.volumes.plane_model import PlaneModel
axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
grid = VolumeGrid((6, 20, 24), (4.0, 1.0, 1.0), (0.0, 0.0, 0.0), axes)
thick = Volume(np.random.default_rng(0).random((6, 20, 24), np.float32), grid)
result = planes.upsample(thick, thick.grid.with_slice_spacing(1.0), PlaneModel(sys.argv[1]))
assert result.values.shape == (24, 20, 24) and np.isfinite(result.values).all()
"""


def test_v09_the_file_runs_on_the_base_install(file):
    done = subprocess.run([sys.executable, "-c", RUN, str(file)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
