"""Consistency with the input (T-01 to T-05): the operator, the correction, its windows, and the measures."""

import dataclasses
import hashlib
import math

import numpy as np
import pydicom
import pytest
from dicom_sources import WHEN, ct, product, xa
from PIL import Image
from tiny_network import picture, tiny_network, write_tflite

from tfmisr import degradations, upscale
from tfmisr.edge import (
    banded,
    blas,
    consistency,
    consistency_measures,
    derived,
    interpolation,
    resize,
    runtime,
    shipped,
)
from tfmisr.edge.errors import InputError
from tfmisr.inference import upscalers

BICUBIC = {scale: consistency.Operator.of("bicubic", scale) for scale in (2, 3, 4, 8)}


def test_products_take_one_thread_and_leave_the_others_their_own():
    """Threads of several processes wait for each other: --processes 2 took 2.4 times as long."""
    libraries = blas._libraries()
    before = [library["num_threads"] for library in libraries.info()]
    with blas.single_threaded():
        assert [library["num_threads"] for library in libraries.info()] == [1] * len(before)
    assert before and [library["num_threads"] for library in libraries.info()] == before


def correction(scale=2, iterations=1, dead_zone=0.25, noise=0.0):
    return consistency.Consistency.from_card(
        consistency.describe("bicubic", scale, iterations, dead_zone, noise), scale
    )


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
    """A tiny network with consistency, whose results are far from it."""
    fields = consistency.describe("bicubic", 2, 2, 0.25, 0.0)
    path = tmp_path_factory.mktemp("corrected") / "m.tflite"
    return write_tflite(path, tiny_network(), tile=32, consistency=fields)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("shape", [(24, 20), (5, 1)])
def test_operator_is_pillows_reduction_and_the_interpolation_is_the_runtimes(scale, shape):
    hr = np.random.default_rng(0).random((shape[0] * scale, shape[1] * scale, 1), np.float32)
    np.testing.assert_allclose(BICUBIC[scale].reduce(hr[..., 0]), resize.resize(hr, shape)[..., 0], atol=1e-6)
    lr = np.random.default_rng(1).random((*shape, 1), np.float32)
    up, across = (banded.interpolation(side, scale) for side in shape)
    np.testing.assert_allclose(up @ lr[..., 0] @ across.T, interpolation.bicubic(lr, scale)[..., 0], atol=1e-6)


def test_taps_are_the_published_ones_and_those_of_the_inverse_matrix():
    taps = banded.inverse_taps(banded.bicubic_kernel(4), 4, 7)
    np.testing.assert_allclose(taps[:6], [1.31, -0.231, 0.099, -0.030, 0.010, -0.003], atol=1.5e-3)
    inverse = np.linalg.inv(banded.reduction(banded.bicubic_kernel(4), 65, 4) @ banded.interpolation(65, 4))
    np.testing.assert_allclose(taps, inverse[32, 32:39], atol=1e-3)
    assert math.isclose(taps[0] + 2 * sum(taps[1:]), 1, abs_tol=1e-12)


def test_kernel_without_an_inverse_is_refused():
    # Every second low-resolution frequency is lost in a mean over two low-resolution pixels.
    with pytest.raises(ValueError, match="must keep all frequencies"):
        banded.inverse_taps([0.25] * 4, 2, 7)


def test_kernel_that_does_not_fit_the_scale_is_refused():
    described = {"vertical": [0.2] * 5, "horizontal": [0.2] * 5, "border": "mirror", "exponent": 0.0}
    with pytest.raises(InputError, match="as even or odd in length as the scale"):
        consistency.Operator.of(described, 2)


@pytest.mark.parametrize("max_val", [255, 4095, 65535])
@pytest.mark.parametrize("off,left", [(0.2, 0.2), (-0.2, -0.2), (1.0, 0.25), (-3.0, -0.25)])
def test_dead_zone_is_a_part_of_a_stored_level(max_val, off, left):
    # T-04, by hand: a constant image off by 3 levels is moved by 2.75; one within the dead zone is not.
    lr = np.full((12, 10, 1), 0.5, np.float32)
    sr = np.full((24, 20, 1), 0.5 + off / max_val, np.float32)
    found = (correction().correct(sr, lr, max_val) - 0.5) * max_val
    np.testing.assert_allclose(found, left, atol=1e-6 * max_val)


def test_noise_is_not_corrected():
    # T-04: the discrepancy principle; and levels of an unknown depth are those of 8 bits.
    noisy = correction(noise=0.02)
    assert noisy.threshold(255) == 0.02 and correction().threshold(None) == 0.25 / 255
    lr, sr = np.full((12, 10, 1), 0.5, np.float32), np.full((24, 20, 1), 0.519, np.float32)
    np.testing.assert_array_equal(noisy.correct(sr.copy(), lr, 255), sr)


@pytest.mark.parametrize("scale", [2, 4])
def test_truth_of_a_clipped_input_is_kept(scale):
    # Letters: the reduction overshoots the range, and the file holds 0 and 1 there.
    hr = np.zeros((40 * scale, 40 * scale, 1), np.float32)
    hr[9 * scale : 21 * scale + 1, 7 * scale + 1 : 30 * scale] = 1
    reduced = BICUBIC[scale].reduce(hr[..., 0])
    assert reduced.max() > 1.02 and reduced.min() < -0.02
    found = correction(scale, 3, dead_zone=0.0).correct(hr.copy(), np.clip(reduced, 0, 1)[..., None], 255)
    np.testing.assert_allclose(found, hr, atol=1e-6)


@pytest.mark.parametrize("max_val", [255, 4095])
@pytest.mark.parametrize("scale,channels", [(2, 1), (4, 1), (3, 3)])
def test_input_is_reproduced_to_half_a_level(scale, channels, max_val):
    hr = np.clip(picture(40 * scale, 36 * scale, channels), 0.1, 0.9)  # nothing is clipped on the way
    degradation = degradations.make(scale)
    lr = degradation(hr, max_val)
    sr = resize.upscale(lr, scale)
    before, after = (
        consistency_measures.agreement(image * max_val, lr * max_val, BICUBIC[scale], max_val, False)
        for image in (np.clip(sr, 0, 1), correction(scale, 3).correct(sr.copy(), lr, max_val))
    )
    assert before.within_half < 0.6 < 0.97 < after.within_half
    assert after.within_three_quarters > 0.997


@pytest.mark.parametrize("orientations", [1, 8])
def test_windows_equal_the_full_image(corrected, monkeypatch, orientations):
    # T-02: to 1e-5, and to one level.
    lr = np.clip(1.4 * picture(150, 130) - 0.2, 0, 1)
    whole, windows = (runtime.Model(corrected, self_ensemble=orientations > 1) for _ in range(2))
    expected, levels = whole(lr, max_val=255), whole.upscale(np.rint(lr * 4095).astype(np.uint16), 4095)
    assert len(list(whole.consistency.grid(150, 130, 1, whole.overlap))) == 1
    monkeypatch.setattr(consistency, "_MOST_VALUES", 208**2)
    assert len(list(windows.consistency.grid(150, 130, 1, windows.overlap))) > 2
    np.testing.assert_allclose(windows(lr, max_val=255), expected, rtol=0, atol=1e-5)
    found = windows.upscale(np.rint(lr * 4095).astype(np.uint16), 4095)
    assert np.abs(found.astype(int) - levels).max() <= 1


def test_windows_do_not_grow_with_the_image():
    # T-02: memory is bounded.
    for scale, channels in ((2, 1), (4, 1), (4, 3), (8, 1)):
        windows = list(correction(scale, 3).grid(6000, 9000, channels, 17))
        values = {(y[1] - y[0]) * (x[1] - x[0]) * scale**2 * channels for y, x in windows}
        assert len(windows) > 4 and max(values) <= 4352**2
        read = sum((y[1] - y[0]) * (x[1] - x[0]) for y, x in windows)
        assert scale == 8 or channels == 3 or read < 1.25 * 6000 * 9000
    assert correction(4, 3).radius == 30 and correction(4, 1).radius == 2 + 6 + 2


@pytest.mark.parametrize("name", ["fast-x2", "perceptual-x4"])
def test_shipped_model_reproduces_its_input(name):
    # T-03 in small: the figures on patients are measured by benchmarks/consistency.py.
    model, plain = runtime.Model(shipped.path(name)), runtime.Model(shipped.path(name), consistency=False)
    hr = np.asarray(Image.fromarray(np.rint(255 * picture(300, 300)[..., 0]).astype(np.uint8)))[..., None]
    lr = np.rint(255 * degradations.make(model.scale)(hr[: 75 * 4, : 75 * 4] / np.float32(255), 255)).astype(np.uint8)
    new, old = (
        consistency_measures.agreement(m.upscale(lr, 255), lr, model.operator, 255, False) for m in (model, plain)
    )
    assert new.within_half > 0.99 and new.within_three_quarters >= 0.997 and old.within_half < new.within_half
    assert plain.consistency is None


def test_null_space_energy_of_the_pseudoinverse_is_zero_and_rises_by_what_is_added():
    # T-05, with the dense pseudoinverse; the image has several windows.
    operator, rng = BICUBIC[2], np.random.default_rng(0)
    matrices = [banded.reduction(operator.vertical, side, 2) for side in (230, 60)]
    inverses = [np.linalg.pinv(matrix) for matrix in matrices]
    y = rng.random((230, 60))
    x = inverses[0] @ y @ inverses[1].T
    assert consistency_measures.null_space_energy(x[..., None], operator) < 1e-6
    pattern = rng.standard_normal(x.shape)
    pattern -= inverses[0] @ (matrices[0] @ pattern @ matrices[1].T) @ inverses[1].T
    both = (x + 0.1 * pattern)[..., None]
    expected = 0.01 * np.square(pattern).sum() / np.square(both - both.mean()).sum()
    assert math.isclose(consistency_measures.null_space_energy(both, operator), expected, rel_tol=1e-6)
    for image in (x[..., None], both):
        deviation = consistency_measures.deviations(255 * image, 255 * y[..., None], operator, 255)
        assert np.abs(deviation).max() < 1e-3
    assert math.isnan(consistency_measures.null_space_energy(np.full((8, 8, 1), 9), operator))


def test_measures_by_hand():
    # T-05: blocks are constant, and the operator is their mean, so that A x is known.
    operator = consistency.Operator(2, (0.5, 0.5), (0.5, 0.5))
    lr = np.full((20, 50, 1), 100.0, np.float32)
    sr = lr.repeat(2, 0).repeat(2, 1)
    sr[:2, :20] += 0.5  # ten pixels at the limit of half a level
    sr[2:4, :20] += 0.7
    sr[6:8, 60:62] -= 3
    found = consistency_measures.agreement(sr, lr, operator, 255)
    assert (found.within_half, found.within_three_quarters) == (0.989, 0.999)
    assert found.maximum == pytest.approx(3, abs=1e-4) and found.place == (3, 30)
    assert found.p999 == pytest.approx(np.percentile([3.0] + [0.7] * 10 + [0.5] * 10 + [0.0] * 979, 99.9), abs=1e-4)
    assert found.null_space_energy == pytest.approx(0, abs=1e-12)
    assert str(found) == "98.9 % of the input reproduced to half a level, at most 3.0 levels off"


def test_identity_of_a_derived_image_changes_with_the_consistency_alone():
    # D-02: other pixels have another UID; without consistency the UIDs are those of earlier releases.
    plain, corrected = product(), product(consistency="bicubic, 3 iterations, dead zone 0.25 levels")
    left_out = {"intensities", "lossless", "burned_in", "force", "mean_limit", "p99_limit", "consistency"}
    left_out |= {"uncertainty", "applicability", "record_times"}
    fields = sorted((key, value) for key, value in dataclasses.asdict(plain).items() if key not in left_out)
    assert plain.key == hashlib.sha256(repr(fields).encode()).hexdigest() != corrected.key
    assert "Corrected to agree with the source (bicubic, 3 iterations" in corrected.description
    assert "Corrected" not in plain.description


def test_upscale_corrects_reports_and_leaves_it_out_on_request(tmp_path, capsys):
    # T-01, T-05
    Image.fromarray(np.rint(255 * picture(40, 44)[..., 0]).astype(np.uint8)).save(tmp_path / "in.png")
    outputs = []
    for name, flags in (("a.png", ("--force",)), ("b.png", ("--no-consistency",))):
        upscale.main(["--model", "fast-x2", str(tmp_path / "in.png"), "--output", str(tmp_path / name), *flags])
        outputs.append(capsys.readouterr().out)
        model = runtime.Model(shipped.path("fast-x2"), consistency=name == "a.png")
        expected = model.upscale(np.asarray(Image.open(tmp_path / "in.png"))[..., None], 255)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / name)), expected[..., 0])
    percents = [float(line.split("; ")[1].split(" %")[0]) for line in outputs]
    assert percents[0] > 97 and percents[1] < percents[0]


def test_derived_dicom_names_the_consistency_and_reports_its_worst_frame(tmp_path, capsys):
    xa(frames=2).save_as(tmp_path / "in.dcm", enforce_file_format=True)
    upscale.main(["--model", "fast-x2", str(tmp_path / "in.dcm"), "--output", str(tmp_path / "out.dcm"), "--force"])
    assert "levels off, in the worst frame" in capsys.readouterr().out
    assert "Corrected to agree with the source (bicubic" in pydicom.dcmread(tmp_path / "out.dcm").DerivationDescription


@pytest.mark.parametrize(
    "source,levels",
    [(lambda: ct(), 4095), (lambda: ct(RescaleSlope="2"), 2047.5), (lambda: xa(frames=1), 1023)],
)
def test_level_of_a_dicom_image_is_one_stored_value(source, levels):
    # T-04: of CT, 4096 HU are the range; with a slope of 2 HU half as many stored values. XA has 10 bits here.
    given = []

    def double(lr, number):
        given.append(number)
        return lr.repeat(2, 0).repeat(2, 1)

    derived.derive(source(), derived.LevelUpscaler(double), product(), WHEN)
    assert given == [pytest.approx(levels)]


def test_levels_of_the_input_are_those_of_the_result_unless_given(corrected):
    upscaler = upscalers.load(str(corrected))
    lr = np.clip(picture(30, 40), 0, 1)
    model = runtime.Model(corrected)
    np.testing.assert_array_equal(upscaler(lr, 2), model(lr))
    np.testing.assert_array_equal(upscaler(lr, 2, levels=4095), model(lr, max_val=4095))
    expected = np.rint(model(lr, max_val=65535) * np.float32(65535))
    np.testing.assert_array_equal(upscaler(lr, 2, 65535), expected)
    assert np.abs(model(lr, max_val=4095) - model(lr)).max() > 1e-4
    assert upscalers.load(str(corrected), consistency=False).consistency == ""
