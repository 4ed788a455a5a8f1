"""The models that come with the package: loaded by name, checked by their digest, and as their cards state."""

import hashlib
import math

import numpy as np
import pytest
from tiny_network import picture, tiny_network, write_tflite

from tfmisr.edge import card, runtime, shipped
from tfmisr.edge.errors import InputError
from tfmisr.inference import upscalers

MOST_BYTES = 12_000_000  # of all models together


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A package that ships one tiny model, `tiny-x2`."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    path = write_tflite(tmp_path / "tiny-x2.tflite", tiny_network())
    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    return path


def test_shipped_model_is_loaded_by_name(made_up):
    assert shipped.names() == ["tiny-x2"] and shipped.path("tiny-x2") == made_up
    upscaler = upscalers.load("tiny-x2")
    assert (upscaler.name, upscaler.scale) == ("tiny-x2", 2)
    lr = picture(20, 24)
    np.testing.assert_array_equal(upscaler(lr, 2), runtime.Model(made_up)(lr))


def test_modified_file_is_refused(made_up):
    made_up.write_bytes(made_up.read_bytes() + b" ")
    with pytest.raises(InputError, match="install tfmisr again"):
        upscalers.load("tiny-x2")
    made_up.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        shipped.path("tiny-x2")


def test_unknown_name_is_refused_with_the_known_names(made_up):
    with pytest.raises(InputError, match=r"of tfmisr \(tiny-x2\). Received: best-x8"):
        upscalers.load("best-x8")


def test_file_or_folder_of_that_name_is_not_taken_for_a_shipped_model(made_up, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine-x4").mkdir()
    assert not shipped.is_name("mine-x4") and shipped.is_name("mine-x3") and not shipped.is_name("bicubic")


def test_no_shipped_models_no_names(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "none")
    assert shipped.names() == []
    with pytest.raises(InputError, match="none"):
        shipped.path("best-x4")


def test_shipped_models_are_a_few_megabytes_in_total():
    assert sum(shipped.path(name).stat().st_size for name in shipped.names()) < MOST_BYTES


@pytest.mark.parametrize("name", shipped.names())
def test_parameters_of_the_card_are_the_weights_that_the_file_stores(name):
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(shipped.path(name).read_bytes(), 0))
    graph, convolution = model.subgraphs[0], schema.BuiltinOperator.CONV_2D
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    # Kernel and bias; every branch of a merged self-ensemble has kernels of its own.
    stored = {i for o in graph.operators if codes[o.opcodeIndex] == convolution for i in o.inputs[1:]}
    assert sum(math.prod(graph.tensors[i].shape) for i in stored) == card.read(shipped.path(name))["parameters"]


@pytest.mark.parametrize("name", shipped.names())
@pytest.mark.parametrize("side", [512, 1024, 1760, 2048])
def test_shipped_model_reads_little_more_than_the_image(name, side):
    windows = list(runtime.Model(shipped.path(name)).grid(side, side))
    read = {(y[1] - y[0], x[1] - x[0]) for y, x in windows}
    assert len(read) == 1  # one shape, for which it allocates once
    assert sum(tall * wide for tall, wide in read) * len(windows) <= 1.15 * side * side


@pytest.mark.parametrize("name", shipped.names())
def test_tiles_of_a_shipped_model_leave_no_seam(name):
    one_tile, tiled = (runtime.Model(shipped.path(name), max_tile=side) for side in (128, 56))
    rng = np.random.default_rng(0)
    edges = picture(110, 64) > 0.5 * rng.random((110, 64, 1), np.float32)  # letters on noise
    lr = np.where(edges, picture(110, 64), rng.random((110, 64, 1), np.float32))
    assert len(list(tiled.grid(110, 64))) > 2 and len(list(one_tile.grid(110, 64))) == 1
    np.testing.assert_allclose(tiled(lr), one_tile(lr), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", shipped.names())
def test_receptive_field_of_a_shipped_model_is_within_its_overlap(name):
    model = runtime.Model(shipped.path(name))
    side, middle = 2 * model.overlap + 7, model.overlap + 3
    lr = np.random.default_rng(1).integers(0, 2, (side, side, 1)).astype(np.float32)
    other = lr.copy()
    other[middle, middle] = 1 - lr[middle, middle]
    moved = np.argwhere((model.residual(lr) != model.residual(other)).any(-1)) // model.scale
    distances = np.abs(moved - middle).max(axis=0)
    assert (distances <= model.overlap).all() and (distances >= model.overlap - 4).all()


@pytest.mark.parametrize("name", shipped.names())
def test_shipped_model_matches_its_name_and_card(name):
    model = runtime.Model(shipped.path(name))
    assert model.card["name"] == name and name.endswith(f"-x{model.scale}")
    for field in ("modality", "license", "training", "protocol", "scores", "intended_use", "limits"):
        assert model.card[field]
    pixels = np.rint(255 * picture(70, 61)).astype(np.uint8)
    sr = model.upscale(pixels, 255)
    assert sr.shape == (70 * model.scale, 61 * model.scale, 1) and sr.dtype == np.uint8
    # Means of blocks are the pixels again, but for noise, edges and what rounding and detail make of them.
    means = sr.reshape(70, model.scale, 61, model.scale, 1).mean((1, 3))
    assert np.abs(means - pixels).mean() < 3
