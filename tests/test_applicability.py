"""Applicability of a model to an image (T-30, T-31, T-33): statistics, p-value, words, the card's field, its fit."""

import dataclasses
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pydicom
import pytest
import scipy.fft
import scipy.ndimage
from dicom_sources import ct, mr
from PIL import Image

from tfmisr import degradations, upscale
from tfmisr.calibration import applicability as fitting
from tfmisr.calibration import defects
from tfmisr.edge import (
    applicability,
    applicability_field,
    card,
    card_sections,
    images,
    interpolation,
    resize,
    runtime,
    shipped,
)
from tfmisr.edge import applicability_statistics as statistics
from tfmisr.edge.applicability import Applicability
from tfmisr.edge.errors import InputError
from tfmisr.edge.upscaler import Upscaler, to_levels

SIDE, SCALE = 64, 2


def scene(seed: int) -> np.ndarray:
    """Returns an image (128, 128) in [0, 255]: a bright ellipse at the lower left, and texture as 1 / f."""
    rng = np.random.default_rng([16, seed])
    side = SIDE * SCALE
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    texture = np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) / np.maximum(frequency, 1 / side)).real
    y, x = np.mgrid[:side, :side] / side
    organ = np.exp(-12 * (y - 0.7 - rng.normal(0, 0.02)) ** 2 - 3 * (x - 0.3 - rng.normal(0, 0.02)) ** 2)
    return np.clip(80 + 100 * organ + 1.5 * texture + rng.normal(0, 1, (side, side)), 0, 255)


def upscaled(lr: np.ndarray) -> np.ndarray:
    """Returns bicubic interpolation with some sharpening, uint8, in the place of a network."""
    image = interpolation.bicubic(lr.astype(np.float32), SCALE)[..., 0]
    sharpened = image + 0.5 * (image - scipy.ndimage.gaussian_filter(image, 1.0))
    return np.rint(np.clip(sharpened, 0, 255)).astype(np.uint8)[..., None]


def reduced(hr: np.ndarray) -> np.ndarray:
    mean = hr.reshape(SIDE, SCALE, SIDE, SCALE).mean((1, 3))
    return np.rint(mean).astype(np.uint8)[..., None]


def samples(start: int, stop: int) -> list[fitting.Sample]:
    found = []
    for seed in range(start, stop):
        hr = scene(seed)
        lr = reduced(hr)
        found.append(fitting.Sample(seed, lr, upscaled(lr), np.rint(hr).astype(np.uint8)[..., None], 255))
    return found


@pytest.fixture(scope="module")
def field():
    """The field that is fitted on 120 patients, of which 20 are held out."""
    return fitting.fit(samples(0, 100), samples(100, 120), {"Modality": ["CR"], "BitsStored": [8]})


@pytest.fixture(scope="module")
def check(field):
    return Applicability.of({"applicability": field})


def verdict(check: Applicability, lr: np.ndarray) -> applicability.Verdict:
    lr = np.rint(np.clip(lr, 0, 255)).astype(np.uint8).reshape(SIDE, SIDE, 1)
    return check.check(lr, upscaled(lr), 255)


def of(values: np.ndarray, *names: str) -> list[float]:
    return [float(values[statistics.NAMES.index(name)]) for name in names]


# -- Statistics ---------------------------------------------------------------------------------------------------


def test_power_of_white_noise_is_its_variance_in_every_band():
    noise = np.random.default_rng(0).normal(128, 3, (256, 256)).astype(np.float32)
    found = statistics.measure_input(noise, 255)[: statistics.INPUT_NAMES.index("direction_fine")]
    np.testing.assert_allclose(np.exp(found[2:]), 9, rtol=0.1)
    np.testing.assert_allclose(np.exp(found[:2]), 9, rtol=0.5)  # few frequencies


def test_noise_is_immerkaers_filter():
    image = np.random.default_rng(1).normal(100, 5, (72, 79))
    kernel = np.outer([1, -2, 1], [1, -2, 1])
    response = np.abs(scipy.ndimage.convolve(image, kernel))[1:-1, 1:-1]
    blocks = [response[i : i + 7, j : j + 7].mean() for i in range(0, 70, 7) for j in range(0, 77, 7)]
    found = statistics.measure_input(image, 255)
    expected = np.log1p(np.percentile(blocks, [10, 25, 50, 75, 95]))
    np.testing.assert_allclose(of(found, *(f"noise_{q}" for q in (10, 25, 50, 75, 95))), expected, rtol=1e-5)
    # Immerkaer 1996: the mean absolute response is 6 sigma sqrt(2 / pi).
    assert np.mean(blocks) == pytest.approx(30 * np.sqrt(2 / np.pi), rel=0.05)


def test_coefficients_are_those_of_scipys_dct():
    image = np.random.default_rng(2).uniform(0, 255, (1, 24, 27)).astype(np.float32)
    expected = [
        np.abs(scipy.fft.dctn(image[0, i : i + 8, j : j + 8], norm="ortho"))[statistics._FINE]
        for i in range(3, 17, 8)
        for j in range(5, 20, 8)
    ]
    np.testing.assert_allclose(statistics._coefficients(image, 3, 5), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("grid", [(0, 0), (3, 5), (4, 4)])
def test_jpeg_leaves_zeros_on_its_grid_wherever_that_is(grid):
    image = np.random.default_rng(3).normal(128, 20, (144, 144))
    image = scipy.ndimage.gaussian_filter(image, 0.7)
    cropped = tuple(slice(8 - offset, 136 - offset) for offset in grid)
    before, after = (of(statistics.measure_input(i[cropped], 255), "block_zeros") for i in (image, _jpeg(image)))
    assert before[0] < 0.05 < 0.3 < after[0]


def _jpeg(image):
    return defects.jpeg(image.astype(np.float32), 255, 75)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_residual_is_what_is_added_to_bicubic_interpolation(scale):
    lr = np.random.default_rng(4).random((40, 33, 1), np.float32)
    sr = interpolation.bicubic(lr, scale) + np.float32(3 / 255)
    values = statistics.measure(lr[..., 0], sr[..., 0])
    expected = [np.log(3.02), *[np.log(3.2)] * 3]
    np.testing.assert_allclose(of(values, "residual", "residual_50", "residual_90", "residual_99"), expected, atol=1e-3)
    assert abs(of(values, "residual_correlation")[0]) < 0.05


def test_thumbnail_is_pillows_box_reduction_with_mean_0_and_variance_1():
    image = np.random.default_rng(5).uniform(0, 255, (64, 96)).astype(np.float32)
    box = np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BOX), np.float64)
    expected = (box - box.mean()) / box.std()
    np.testing.assert_allclose(statistics.thumbnail(image), expected.ravel(), atol=1e-4)


def test_statistics_do_not_depend_on_the_bit_depth():
    lr = np.random.default_rng(6).integers(0, 256, (48, 40)).astype(np.uint8)
    sr = np.repeat(np.repeat(lr, 2, 0), 2, 1)
    low = statistics.measure(lr, sr, 255)
    high = statistics.measure(lr.astype(np.uint16) * 257, sr.astype(np.uint16) * 257, 65535)
    as_float = statistics.measure(lr / np.float32(255), sr / np.float32(255))
    np.testing.assert_allclose(high, low, atol=1e-4)
    np.testing.assert_allclose(as_float, low, atol=1e-4)


@pytest.mark.parametrize("image", [np.zeros((32, 32)), np.full((40, 200), 255.0), np.eye(32) * 255])
def test_statistics_of_degenerate_images_are_finite(image):
    values = statistics.measure(image, np.kron(image, np.ones((4, 4))), 255)
    assert np.isfinite(values).all() and np.isfinite(statistics.thumbnail(image)).all()


def test_memory_is_bounded_by_windows():
    """T-33: of a large image 16 windows are measured; the arrays here take no memory themselves."""
    lr = np.broadcast_to(np.uint16(1000), (3000, 5000))
    sr = np.broadcast_to(np.uint16(1000), (12000, 20000))
    tracemalloc.start()
    assert np.isfinite(statistics.measure(lr, sr, 4095)).all()
    assert np.isfinite(statistics.thumbnail(lr)).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6
    assert len(statistics._places(512, 512)) == 1 and len(statistics._places(513, 512)) == 16
    assert all(place.start % 8 == 0 for pair in statistics._places(3000, 5000) for place in pair)


# -- Verdicts -----------------------------------------------------------------------------------------------------


def test_p_value_is_the_conformal_one(check):
    by_hand = dataclasses.replace(check, scores=np.array([1.0, 2.0, 2.0, 3.0]))
    # (1 + scores at least as large) / (n + 1)
    assert [by_hand.p_value(s) for s in (0.5, 2.0, 2.5, 3.0, 4.0)] == [1.0, 4 / 5, 2 / 5, 2 / 5, 1 / 5]
    assert by_hand.p_value(np.nan) == by_hand.p_value(np.inf) == 1 / 5


def test_new_images_of_the_same_kind_are_flagged_as_often_as_promised(check):
    """T-31: p-values of exchangeable images are uniform; 200 images, three standard errors."""
    p_values = np.array([check.check(s.lr, s.sr, 255).p_value for s in samples(1000, 1200)])
    # The error of the share has a part of the 120 scores as well.
    for level in (0.05, 0.2, 0.5):
        assert abs((p_values <= level).mean() - level) < 3 * np.sqrt(level * (1 - level) * (1 / 200 + 1 / 120))


DEFECTS = {
    "noise": (lambda lr, rng: lr + rng.normal(0, 4, lr.shape), "noise "),
    "blur": (lambda lr, rng: scipy.ndimage.gaussian_filter(lr, 0.7), "blurred"),
    "jpeg": (lambda lr, rng: defects.jpeg(lr.astype(np.float32), 255, 60), "JPEG blocks"),
    "inverted": (lambda lr, rng: 255 - lr, "inverted"),
    "turned": (lambda lr, rng: np.rot90(lr), "turned by 90 degrees"),
    "upside down": (lambda lr, rng: lr[::-1], "upside down"),
    "darker": (lambda lr, rng: 0.4 * lr, "darker"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_defect_is_unusual_and_named(check, name):
    """T-31: the deviations are named in words."""
    alter, word = DEFECTS[name]
    rng = np.random.default_rng(7)
    found = [verdict(check, alter(s.lr[..., 0].astype(float), rng)) for s in samples(2000, 2010)]
    assert all(v.p_value <= applicability.UNUSUAL and not v.guarantee_applies for v in found)
    assert sum(any(text.startswith(word) for text in v.deviations) for v in found) >= 8
    assert all(1 <= len(v.deviations) <= 3 for v in found)


def test_image_in_scope_has_no_deviations_and_the_guarantee(check):
    found = next(v for s in samples(3000, 3010) if (v := check.check(s.lr, s.sr, 255)).outcome == "in scope")
    assert found.deviations == () and found.guarantee_applies and found.p_value > 0.05


@pytest.mark.parametrize(
    "p_value,differs,expected",
    [
        (0.051, False, "in scope"),
        (0.05, False, "unusual"),
        (0.0101, False, "unusual"),
        (0.01, False, "out of scope"),
        (0.9, True, "unusual"),
        (0.005, True, "out of scope"),
        (None, True, "not tested"),
    ],
)
def test_outcome_follows_from_the_p_value_and_the_header(p_value, differs, expected):
    # T-31: in scope above 0.05, out of scope up to 0.01.
    assert applicability._outcome(p_value, differs) == expected


@pytest.mark.parametrize("shape", [(64, 64, 3), (31, 64, 1), (64, 31, 1), (1, 1, 1)])
def test_color_and_small_images_are_not_tested(check, shape):
    # T-30
    lr = np.zeros(shape, np.uint8)
    found = check.check(lr, np.zeros((2 * shape[0], 2 * shape[1], shape[2]), np.uint8), 255)
    assert (found.outcome, found.p_value, found.deviations) == ("not tested", None, ())


def test_image_of_no_numbers_is_out_of_scope(check):
    lr = np.full((32, 32, 1), np.nan, np.float32)
    assert check.check(lr, np.full((64, 64, 1), np.nan, np.float32)).p_value == 1 / (len(check.scores) + 1)


@pytest.mark.parametrize("sr", [(64, 64, 1), (128, 128, 3), (128, 192, 1), (130, 128, 1), (128, 128)])
def test_result_of_another_size_is_refused(check, sr):
    with pytest.raises(InputError, match="expected an image"):
        check.check(np.zeros((64, 64, 1), np.uint8), np.zeros(sr, np.uint8), 255)


def test_verdict_in_one_line():
    text = str(applicability.Verdict("unusual", 0.02, ("blurred",), ("Bits Stored is 12",)))
    assert text == "unusual (p = 0.020): Bits Stored is 12; blurred"


# -- The card's field, and its fit ----------------------------------------------------------------------------------


def test_field_is_small_and_has_no_image(field):
    """T-33: at most 16 KiB; of each patient there is one number, in sorted order."""
    assert len(json.dumps(field)) <= applicability_field.LARGEST == 16384
    scores = applicability_field.decoded(field["scores"], (None,))
    assert len(scores) == 120 and (np.diff(scores) >= 0).all()
    sizes = {len(applicability_field.decoded(field["statistics"][key], (None,))) for key in ("thumbnail", "principal")}
    assert sizes == {64, 640}


def test_whitening_is_that_of_ledoit_and_wolf(field):
    from sklearn.covariance import LedoitWolf

    values = np.array([statistics.measure(s.lr[..., 0], s.sr[..., 0], 255) for s in samples(0, 100)])
    space = applicability_field.Reference.from_card(field["statistics"]).statistics
    expected = LedoitWolf(assume_centered=True).fit(space.deviations(values)).mahalanobis(space.deviations(values))
    np.testing.assert_allclose(np.exp(space.log_distance(values)), expected, rtol=0.02)  # float16


def test_patient_counts_once(field):
    """T-33: further images of a patient change nothing, so that scores are exchangeable."""
    train, held_out = samples(0, 100), samples(100, 120)
    again = [dataclasses.replace(sample, patient=0) for sample in held_out]
    declared = {"Modality": ["CR"], "BitsStored": [8]}
    assert fitting.fit([*train, *again], [*again, *held_out], declared) == field


def test_folds_do_not_score_images_that_they_were_fitted_on(monkeypatch):
    measured = fitting._measured(samples(0, 40), with_defects=False)
    seen = []
    monkeypatch.setattr(fitting, "_reference", lambda others: others)
    monkeypatch.setattr(fitting, "_stored", lambda others: others)
    monkeypatch.setattr(fitting, "_scores", lambda others, part: seen.append((others, part)) or np.zeros(0))
    fitting._cross_fitted(measured)
    parts = np.concatenate([part.statistics for _, part in seen])
    assert len(seen) == fitting.FOLDS and len(parts) == len(np.unique(parts, axis=0)) == 40
    for others, part in seen:
        assert len(np.unique(np.concatenate([others.statistics, part.statistics]), axis=0)) == 40


class Cache(list):
    """Images in the place of a prepared split."""

    ids, patients, max_vals = ("a", "b"), np.array([7, 9]), np.array([255, 255])


def test_samples_are_inputs_and_results_as_they_are_stored():
    images_of = {"train": Cache([s.hr for s in samples(0, 2)]), "validation": Cache([s.hr for s in samples(2, 4)])}
    upscaler = Upscaler("bicubic", lambda lr, scale, *parts: parts[0](resize.upscale(lr, scale)))
    upscaler = dataclasses.replace(upscaler, scale=SCALE)
    degradation = degradations.make(scale=SCALE)
    places = [(images_of[split], index) for split in ("train", "validation") for index in range(2)]
    found = list(fitting.samples(places, upscaler, degradation))
    assert [sample.patient for sample in found] == [7, 9, 7, 9]
    for sample, hr in zip(found, images_of["train"] + images_of["validation"], strict=True):
        np.testing.assert_array_equal(sample.hr, hr)
        expected = to_levels(resize.resize(hr / np.float32(255), (SIDE, SIDE)), 255)
        np.testing.assert_array_equal(sample.lr, expected)
        np.testing.assert_array_equal(sample.sr, to_levels(resize.upscale(expected / np.float32(255), SCALE), 255))
        assert sample.lr.dtype == sample.sr.dtype == np.uint8 and sample.max_val == 255


def test_too_few_patients_are_refused_with_the_number_that_is_missing():
    with pytest.raises(InputError, match="at least 99 patients .* Received: 12; 87 more are needed"):
        fitting.fit(samples(0, 10), samples(5, 12))


def test_images_that_cannot_be_tested_are_refused():
    color = dataclasses.replace(samples(0, 1)[0], lr=np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(InputError, match="expected gray images of at least 32 x 32"):
        fitting.fit([color])
    with pytest.raises(InputError, match="expected values or ranges of Modality"):
        fitting.fit([], declared={"PatientName": ["A"]})


def test_many_scores_are_thinned_out_and_keep_their_ends():
    scores = np.random.default_rng(8).normal(size=5000)
    kept = applicability_field.decoded(fitting._thinned(scores), (None,))
    assert len(kept) == 1024
    np.testing.assert_allclose(kept[[0, -1]], [scores.min(), scores.max()], rtol=1e-3)
    np.testing.assert_allclose(np.quantile(kept, 0.95), np.quantile(scores, 0.95), atol=0.02)


@pytest.mark.parametrize(
    "path,value",
    [
        (("scores",), ""),
        (("scores",), applicability_field.encoded(np.arange(98.0))),
        (("scores",), applicability_field.encoded(np.arange(99.0)[::-1])),
        (("scores",), 5),
        (("scores",), "no base64"),
        (("scores",), "A" * 20000),
        (("declared",), None),
        (("declared",), {"PatientID": ["1"]}),
        (("declared", "Modality"), "CR"),
        (("declared", "PixelSpacing"), {"minimum": 2.0, "maximum": 1.0}),
        (("statistics",), []),
        (("statistics", "names"), ["power"]),
        (("statistics", "principal"), applicability_field.encoded(np.zeros(63))),
        (("statistics", "principal"), applicability_field.encoded(np.zeros(64))),
        (("statistics", "thumbnail"), "AAAA"),
        (("statistics", "discriminants"), []),
        (("statistics", "discriminants"), {"rain": applicability_field.encoded(np.zeros(40))}),
        (("statistics", "discriminants", "noise"), applicability_field.encoded(np.zeros(39))),
        (("statistics", "median"), [0.0]),
        (("statistics", "spread", 0), 0.0),
        (("statistics", "statistics", "scale", 0), -1.0),
        (("statistics", "statistics", "mean", 0), 1e300),
        (("statistics", "statistics", "mean", 0), True),
        (("statistics", "statistics", "whitening"), applicability_field.encoded(np.zeros(1599))),
    ],
)
def test_card_that_the_check_cannot_follow_is_refused(field, path, value):
    """T-33: a hostile card is a message, not a crash."""
    hostile = json.loads(json.dumps(field))
    place = hostile
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert applicability_field.is_valid(field)
    assert not applicability_field.is_valid(hostile)


@pytest.mark.parametrize("key", ["declared", "statistics", "scores"])
def test_card_without_a_part_of_the_field_is_refused(field, key):
    assert not applicability_field.is_valid({k: v for k, v in field.items() if k != key})


def test_message_about_a_card_is_one_short_line():
    content = shipped.path("fast-x4").read_bytes()
    fields = card.check(content, "m.tflite") | {"applicability": {"scores": "A" * 10000}}
    with pytest.raises(InputError, match="model card with applicability=") as refused:
        card.check(card.replace(content, fields), "m.tflite")
    assert len(str(refused.value)) < 200


def test_models_without_the_field_are_not_checked():
    assert Applicability.of({"applicability": None}) is None and Applicability.of({}) is None


@pytest.mark.parametrize("name", [name for name in shipped.names() if name != "ct-x4"])
def test_shipped_models_refuse_white_noise(name):
    """T-33: every card of a network for radiographs has the field; T-32: noise is no radiograph."""
    fields = card.read(shipped.path(name))
    found = Applicability.of(fields)
    side = 512 // fields["scale"]
    lr = np.random.default_rng(9).integers(0, 256, (side, side, 1)).astype(np.uint8)
    sr = np.kron(lr, np.ones((fields["scale"], fields["scale"], 1), np.uint8))
    assert found.check(lr, sr, 255).outcome == "out of scope"
    assert len(found.scores) == 513 and len(json.dumps(fields["applicability"])) <= 16384


@pytest.mark.large
@pytest.mark.parametrize("pattern", ["ct/*.dcm", "mr/*.dcm", "us/*.png"])
def test_other_modalities_are_flagged_by_their_pixels(shared_data, pattern):
    """T-32: at least 95 % at the 5 % threshold; the header is not asked."""
    model = runtime.Model(shipped.path("fast-x4"))
    check, p_values = Applicability.of(model.card), []
    for path in sorted(shared_data.glob(pattern)):
        image = images.read_images(path)[0]
        pixels = image.pixels[..., :1].astype(np.float32) / image.max_val
        small = resize.resize(pixels, tuple(side // 4 for side in pixels.shape[:2]))
        lr = to_levels(small, 255)
        p_values.append(check.check(lr, model.upscale(lr, 255), 255).p_value)
    assert len(p_values) >= 16 and np.mean(np.array(p_values) <= applicability.UNUSUAL) >= 0.95


def test_check_needs_numpy_alone():
    """T-33, T-52: no SciPy on the device."""
    text = (
        "import sys, numpy as np; from tfmisr.edge import applicability, card, shipped\n"
        "check = applicability.Applicability.of(card.read(shipped.path('fast-x4')))\n"
        "check.check(np.zeros((128, 128, 1), np.uint8), np.zeros((512, 512, 1), np.uint8), 255)\n"
        "print([name for name in ('scipy', 'sklearn', 'tensorflow', 'keras') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout == "[]\n"


# -- A declared use without statistics: a model that was trained on too few patients -----------------------------------


HEADER_ALONE = {"declared": {"Modality": ["CT"]}, "statistics": None, "scores": None}


def test_header_alone_is_compared_where_there_are_no_statistics():
    assert applicability_field.is_valid(HEADER_ALONE)
    check, image = Applicability.of({"applicability": HEADER_ALONE}), np.zeros((64, 64, 1))
    sr = np.zeros((128, 128, 1))
    other = pydicom.Dataset()
    other.Modality = "MR"
    verdict = check.check(image, sr, header=other)
    assert (verdict.outcome, verdict.p_value) == ("out of scope", None) and "MR" in verdict.header_mismatches[0]
    other.Modality = "CT"
    for header in (other, None):
        verdict = check.check(image, sr, header=header)
        assert verdict.outcome == "not tested" and not verdict.guarantee_applies and verdict.header_mismatches == ()


@pytest.mark.parametrize(
    "changed", [{"declared": {}}, {"scores": "AAAA"}, {"statistics": {}}, {"declared": {"Modality": "CT"}}]
)
def test_half_of_statistics_or_nothing_declared_is_no_field(changed):
    assert not applicability_field.is_valid(HEADER_ALONE | changed)


def test_model_of_few_patients_refuses_another_modality_and_says_what_it_did_not_test(tmp_path, capsys):
    path = tmp_path / "few.tflite"
    content = shipped.path("fast-x2").read_bytes()
    fields = card.check(content, path) | {"applicability": HEADER_ALONE, "uncertainty": None, "name": "few"}
    path.write_bytes(card.replace(content, fields))
    source, flags = tmp_path / "in.dcm", ["--model", str(path), "--output", str(tmp_path / "out.dcm")]
    inverted = HEADER_ALONE | {"declared": {"Modality": ["CT"], "PhotometricInterpretation": ["MONOCHROME1"]}}
    path.write_bytes(card.replace(content, fields | {"applicability": inverted}))
    ct().save_as(source, enforce_file_format=True)
    upscale.main([*flags, str(source)])
    assert "PhotometricInterpretation" in capsys.readouterr().err.replace(
        "Photometric Interpretation", "PhotometricInterpretation"
    )
    path.write_bytes(card.replace(content, fields))
    (tmp_path / "out.dcm").unlink()
    for modality, build in (("CT", ct), ("MR", mr)):
        build().save_as(source, enforce_file_format=True)
        if modality == "CT":
            upscale.main([*flags, str(source)])
            assert "was not tested (it was trained on too few patients: the header alone" in capsys.readouterr().err
        else:
            with pytest.raises(InputError, match=r"is out of scope for few .*Modality"):
                upscale.main([*flags, str(source), "--overwrite"])
    assert "too few patients to compare pixels" in card_sections.applicability_section({"applicability": HEADER_ALONE})
