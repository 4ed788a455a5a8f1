"""The C++ example returns the same pixels as the Python runtime."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tiny_network import picture, tiny_network, write_tflite

from tfmisr.edge import card, consistency, runtime, shipped

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "examples" / "cpp"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The example, built against the library in the wheel of LiteRT."""
    litert = importlib.util.find_spec("ai_edge_litert")
    if not litert or not pathlib.Path(litert.origin).with_name("libLiteRt.so").is_file():
        pytest.skip("no ai-edge-litert with libLiteRt.so")
    if not shutil.which("make") or not shutil.which("g++"):
        pytest.skip("no C++ compiler; install it with apt-get install g++ make")
    target = tmp_path_factory.mktemp("cpp") / "enlarge"
    command = ["make", "-C", FOLDER, f"PYTHON={sys.executable}", f"OUTPUT={target}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def write_pgm(path, pixels, full):
    height, width, channels = pixels.shape
    head = f"{'P5' if channels == 1 else 'P6'}\n# a comment\n{width} {height}\n{full}\n"
    path.write_bytes(head.encode() + pixels.astype(">u2" if full > 255 else "u1").tobytes())
    return path


def read_pgm(path):
    kind, size, full, content = path.read_bytes().split(b"\n", 3)
    width, height = map(int, size.split())
    values = np.frombuffer(content, ">u2" if int(full) > 255 else "u1")
    return values.reshape(height, width, {b"P5": 1, b"P6": 3}[kind]), int(full)


def run(program, *arguments):
    return subprocess.run([program, *arguments], capture_output=True, text=True)


def assert_same(program, model, pixels, full, folder):
    source, target = write_pgm(folder / "in.pgm", pixels, full), folder / "out.pgm"
    done = run(program, model, source, target)
    assert done.returncode == 0, done.stderr
    found, found_full = read_pgm(target)
    expected = runtime.Model(model).upscale(pixels, full).astype(int)
    assert found_full == full
    assert found.shape == expected.shape
    differing = np.abs(found - expected)
    assert differing.max() <= 1  # a value half way between two levels may be rounded to either
    assert (differing > 0).mean() < 1e-3


@pytest.mark.parametrize("flavor", ["float32", "float16", "dynamic", "int8"])
def test_every_flavor_gives_the_same_pixels(program, tmp_path, flavor):
    model = write_tflite(tmp_path / "m.tflite", tiny_network(), flavor)
    pixels = np.rint(picture(75, 90) * 65535).astype(np.uint16)
    assert_same(program, model, pixels, 65535, tmp_path)


@pytest.mark.parametrize("shape", [(20, 90), (75, 20), (9, 9), (1, 30)])
def test_image_smaller_than_a_tile_is_given_as_it_is(program, tmp_path, shape):
    model = write_tflite(tmp_path / "m.tflite", tiny_network(), "int8")
    pixels = np.rint(picture(*shape) * 4095).astype(np.uint16)
    assert_same(program, model, pixels, 4095, tmp_path)


def test_color_gives_the_same_pixels(program, tmp_path):
    model = write_tflite(tmp_path / "m.tflite", tiny_network(channels=3), "int8")
    pixels = np.rint(picture(50, 60, 3) * 255).astype(np.uint8)
    assert_same(program, model, pixels, 255, tmp_path)


def test_file_for_any_size_gives_the_same_pixels(program, tmp_path):
    model = write_tflite(tmp_path / "m.tflite", tiny_network(), "float32", tile=None)
    pixels = np.rint(picture(40, 300) * 255).astype(np.uint8)
    assert_same(program, model, pixels, 255, tmp_path)


@pytest.mark.parametrize(
    "shape,max_tile", [((90, 75), 40), ((41, 133), 40), ((200, 9), 40), ((30, 40), 40), ((70, 50), 13)]
)
def test_windows_are_chosen_for_an_image_as_the_runtime_does(program, tmp_path, shape, max_tile):
    # With an overlap that is too small there are seams, so other windows would give other pixels.
    network = tiny_network("plain", num_layers=3)
    model = write_tflite(tmp_path / "m.tflite", network, tile=None, max_tile=max_tile, overlap=1)
    pixels = np.rint(picture(*shape) * 65535).astype(np.uint16)
    assert_same(program, model, pixels, 65535, tmp_path)


def test_bound_below_the_overlap_is_refused(program, tmp_path):
    model = write_tflite(tmp_path / "m.tflite", tiny_network(), tile=None, max_tile=12)
    done = run(program, model, write_pgm(tmp_path / "in.pgm", np.zeros((40, 40, 1)), 255), tmp_path / "out.pgm")
    assert done.returncode == 2 and "must be above twice its overlap" in done.stderr


@pytest.mark.parametrize("full", [255, 4095])
def test_shipped_model_gives_the_same_pixels(program, tmp_path, full):
    # T-02: the same consistency, with the rounding of 8 and of 12 bits.
    pixels = np.rint(np.clip(1.4 * picture(300, 240) - 0.2, 0, 1) * full)  # two windows, clipped black and white
    pixels = pixels.astype(np.uint8 if full == 255 else np.uint16)
    assert_same(program, shipped.path("fast-x4"), pixels, full, tmp_path)


@pytest.mark.parametrize("shape,channels", [((60, 70), 1), ((9, 3), 1), ((30, 40), 3)])
def test_consistency_gives_the_same_pixels_in_windows(program, tmp_path, shape, channels):
    fields = consistency.describe("bicubic", 2, 2, 0.25, 0.01)
    model = write_tflite(tmp_path / "m.tflite", tiny_network(channels=channels), consistency=fields)
    pixels = np.rint(picture(*shape, channels) * 255).astype(np.uint8)
    assert_same(program, model, pixels, 255, tmp_path)


@pytest.mark.large
def test_windows_of_the_correction_are_those_of_the_runtime(program, tmp_path):
    # T-02: at the scale 8 and in color, a window of the correction is 314 x 314 pixels.
    fields = consistency.describe("bicubic", 8, 1, 0.25, 0.0)
    model = write_tflite(tmp_path / "m.tflite", tiny_network(scale=8, channels=3), consistency=fields)
    loaded = runtime.Model(model)
    assert len(list(loaded.consistency.grid(330, 320, 3, loaded.overlap))) > 1
    assert_same(program, model, np.rint(picture(330, 320, 3) * 255).astype(np.uint8), 255, tmp_path)


@pytest.mark.parametrize("flavor", ["float32", "int8"])
def test_card_of_version_two_gives_the_same_pixels(program, tmp_path, flavor):
    model = write_tflite(tmp_path / "m.tflite", tiny_network(), flavor)
    content = model.read_bytes()
    fields = {old: value for old, value in card.check(content, "m").items() if old not in (*card.NAMES, "consistency")}
    start, _ = card._locate(content, "m")
    model.write_bytes(card._with_card(content[: start - 4], fields | {"card_version": 2}))
    assert "gate" in fields and "consistency" not in fields
    assert_same(program, model, np.rint(picture(50, 60) * 255).astype(np.uint8), 255, tmp_path)


def test_operator_that_is_not_shown_is_refused(program, tmp_path):
    kernel = {"vertical": [0.5, 0.5], "horizontal": [0.5, 0.5], "border": "nearest", "exponent": 0.0}
    fields = {"operator": kernel, "iterations": 1, "dead_zone": 0.25, "noise": 0.0, "taps": [1.0]}
    model = write_tflite(tmp_path / "m.tflite", tiny_network(), consistency=fields)
    done = run(program, model, write_pgm(tmp_path / "in.pgm", np.zeros((40, 40, 1)), 255), tmp_path / "out.pgm")
    assert done.returncode == 2 and "an operator other than bicubic" in done.stderr


def test_what_the_card_states_is_printed_and_unknown_fields_are_passed_over(program, tmp_path):
    # T-51: the fields of card version 3, and some that no release has.
    levels = {"0.05": {"multiplier": 1.61, "factors": {}}, "0.1": {"multiplier": 1.22, "factors": {}}}
    calibration = {"alpha": 0.1, "delta": 0.15, "confidence": None, "patients": 57, "patients_sha256": ["ab", "cd"]}
    head = {"weights_sha256": "ef" * 32}
    fields = {
        "calibration": {"delta": 9, "patients": 9},  # of an int8 file
        "uncertainty": {"head": head, "groups": None, "levels": levels, "calibration": calibration},
        "applicability": {"declared": {"Modality": ["CR", "DX"]}, "statistics": {}, "scores": "AAAA"},
        "task": {"hash": "0123456789ab", "table": [{"task": "dot"}]},
        "of_a_later_release": {"levels": {"0.1": {"multiplier": 7}}},
    }
    model = write_tflite(tmp_path / "m.tflite", tiny_network())
    plain = run(program, model, write_pgm(tmp_path / "in.pgm", np.zeros((40, 40, 1)), 255), tmp_path / "out.pgm")
    assert (plain.returncode, plain.stdout) == (0, "")
    content = model.read_bytes()
    model.write_bytes(card.replace(content, card.check(content, "m") | fields))
    done = run(program, model, tmp_path / "in.pgm", tmp_path / "out.pgm")
    assert done.returncode == 0, done.stderr
    assert "(alpha 0.1, delta 0.15, lambda 1.22, n 57 patients)" in done.stdout
    assert "the images that the model is for; this example does not check it" in done.stdout
    found = card.check(content, "m") | {"uncertainty": {"head": head}}  # trained, and not calibrated
    model.write_bytes(card.replace(model.read_bytes(), found))
    assert run(program, model, tmp_path / "in.pgm", tmp_path / "out.pgm").stdout == ""
    model.write_bytes(card.replace(model.read_bytes(), found | {"kind": "uncertainty_head"}))
    done = run(program, model, tmp_path / "in.pgm", tmp_path / "out.pgm")
    assert done.returncode == 2 and "is an uncertainty head" in done.stderr


def test_mistakes_are_reported_in_one_line_and_leave_no_file(program, tmp_path):
    model = write_tflite(tmp_path / "m.tflite", tiny_network(), "float32")
    (tmp_path / "bare.tflite").write_bytes(model.read_bytes().replace(card.NAME, b"another_one"))
    wide = write_tflite(tmp_path / "wide.tflite", tiny_network(), "int16x8")
    gray = write_pgm(tmp_path / "gray.pgm", np.zeros((40, 40, 1)), 255)
    colour = write_pgm(tmp_path / "colour.pgm", np.zeros((40, 40, 3)), 255)
    (tmp_path / "short.pgm").write_bytes(gray.read_bytes()[:-1])
    (tmp_path / "no.pgm").write_bytes(b"\x89PNG\r\n\x1a\n")
    for arguments, reason in (
        ((tmp_path / "bare.tflite", gray), "has no model card"),
        ((tmp_path / "none.tflite", gray), "reading"),
        ((wide, gray), "not shown here"),
        ((model, colour), "expected an image of 1 channel(s), found 3"),
        ((model, tmp_path / "short.pgm"), "ends too early"),
        ((model, tmp_path / "no.pgm"), "expected a binary PGM or PPM image"),
        ((model, tmp_path / "none.pgm"), "expected a binary PGM or PPM image"),
    ):
        done = run(program, *arguments, tmp_path / "out.pgm")
        assert done.returncode == 2
        assert reason in done.stderr.splitlines()[-1], done.stderr
        assert not list(tmp_path.glob("out*"))
    assert run(program, model, gray, tmp_path / "none" / "out.pgm").returncode == 2
    assert run(program).stderr.startswith("usage:")
