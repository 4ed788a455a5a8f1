"""Split conformal calibration by patient (T-12, T-13) and its guarantee in simulations (T-17)."""

import base64
import dataclasses
import math

import numpy as np
import pytest
from synthetic import ArraySource, smooth_images

from tfmisr import degradations
from tfmisr.calibration import conformal, groups, measuring, patients, results
from tfmisr.data import pipeline
from tfmisr.edge.errors import InputError
from tfmisr.edge.half_width import Groups, HalfWidth
from tfmisr.inference import upscalers

DELTA = ALPHA = 0.1
CALIBRATIONS, PATIENTS, NEW, PIXELS = 500, 57, 40, 300


def binomial(n, p, most):
    """The probability of at most `most` successes."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(most + 1))


@pytest.mark.parametrize("n,average,sure", [(57, 53, 55), (100, 91, 95), (200, 181, 186)])
def test_order_is_that_of_the_design_t12(n, average, sure):
    assert conformal.order(n, 0.1) == average
    assert conformal.order(n, 0.1, 0.9) == sure
    # The k-th of n uniform numbers exceeds 0.9 exactly if at most k - 1 of them lie below it.
    assert binomial(n, 0.9, sure - 1) >= 0.9 > binomial(n, 0.9, sure - 2)


@pytest.mark.parametrize("delta,confidence,least", [(0.1, None, 9), (0.05, None, 19), (0.1, 0.9, 22), (0.2, 0.95, 14)])
def test_least_number_of_patients_t12(delta, confidence, least):
    assert conformal.least_patients(delta, confidence) == least
    assert conformal.order(least, delta, confidence) <= least
    assert conformal.order(least - 1, delta, confidence) == least
    assert conformal.multiplier(np.ones(least - 1), delta, confidence) == math.inf


def test_beta_interval_is_that_of_order_statistics():
    # Beta(k, n + 1 - k) <= x exactly if at least k of n uniform numbers are <= x.
    low, high = conformal.beta_interval(53, 57)
    assert 1 - binomial(57, low, 52) == pytest.approx(0.025, abs=1e-6)
    assert 1 - binomial(57, high, 52) == pytest.approx(0.975, abs=1e-6)


def test_left_out_is_a_calibration_with_the_others():
    scores = np.random.default_rng(0).permutation([*np.linspace(1, 2, 18), 1.5, 1.5])
    expected = [scores[i] <= conformal.multiplier(np.delete(scores, i), DELTA) for i in range(len(scores))]
    np.testing.assert_array_equal(conformal.left_out(scores, DELTA), expected)
    assert conformal.left_out(scores[:9], DELTA) is None


@pytest.mark.parametrize("share", [0.68, 0.9, 0.95, 1.0])
def test_quantile_is_rounded_up_by_at_most_a_thousandth(share):
    ratios = np.random.default_rng(1).lognormal(0, 2, 9_999)
    streamed = conformal.Ratios()
    for part in np.array_split(np.log(ratios), 7):
        streamed.add(part)
    exact = np.quantile(ratios, share, method="inverted_cdf")
    assert exact <= streamed.quantile(share) <= 1.0011 * exact
    assert np.mean(ratios <= streamed.quantile(share)) >= share


def test_quantile_of_zeros_and_of_errors_beyond_all_scales():
    streamed = conformal.Ratios()
    assert math.isnan(streamed.quantile(0.9))
    with np.errstate(divide="ignore"):
        streamed.add(np.log(np.array([0.0, 0.0, 1e9])))
    assert 0 < streamed.quantile(0.6) < 1e-5 and streamed.quantile(0.9) == math.inf


def simulated(rng, sets, count, noise_head=False):
    """Returns error and scale, (sets, patients, pixels): heteroscedastic, with an effect of each of 1 to 3 images."""
    shape = (sets, count, PIXELS)
    sigma = rng.lognormal(0, 0.7, shape)
    image = np.minimum(np.arange(PIXELS) // (PIXELS // 3), rng.integers(1, 4, (sets, count, 1)) - 1)
    effect = np.take_along_axis(rng.lognormal(0, 0.15, (sets, count, 3)), image, axis=2)
    error = np.abs(rng.normal(size=shape)) * sigma * effect
    scale = rng.lognormal(0, 1, shape) if noise_head else sigma
    return error, scale


def needed(ratio):
    """The score of each patient, by NumPy's own quantile."""
    return np.quantile(ratio, 1 - ALPHA, axis=2, method="inverted_cdf")


@pytest.mark.parametrize("noise_head", [False, True])
def test_new_patients_hold_in_500_calibrations_t17(noise_head):
    held, pooled, widths = [], [], []
    for seed in range(5):  # in parts, for the memory
        rng = np.random.default_rng([int(noise_head), seed])
        error, scale = simulated(rng, CALIBRATIONS // 5, PATIENTS + NEW, noise_head)
        ratio = error / scale
        scores = needed(ratio)
        multipliers = np.array([[conformal.multiplier(own, DELTA)] for own in scores[:, :PATIENTS]])
        held.append((scores[:, PATIENTS:] <= multipliers).mean(axis=1))
        of_pixels = np.quantile(ratio[:, :PATIENTS].reshape(len(ratio), -1), 1 - ALPHA, axis=1)
        pooled.append((scores[:, PATIENTS:] <= of_pixels[:, None]).mean(axis=1))
        widths.append(multipliers.mean() * scale.mean())
    held, pooled = np.concatenate(held), np.concatenate(pooled)
    monte_carlo = held.std() / np.sqrt(CALIBRATIONS)
    assert held.mean() >= 1 - DELTA - 2 * monte_carlo
    assert held.mean() == pytest.approx(53 / 58, abs=4 * monte_carlo)  # what the theory says for scores without ties
    # One multiplier for the pixels of all patients together serves about half of them.
    assert 0.4 < pooled.mean() < 0.65
    # A head that returns noise keeps the promise by being wide: 1.28 sigma would be enough for a true one.
    assert (np.mean(widths) > 4) == noise_head


def test_confidence_is_that_of_the_set_in_hand_t17():
    # Scores are uniform: a multiplier serves exactly its own value of new patients.
    rng = np.random.default_rng(0)
    served = [conformal.multiplier(rng.random(PATIENTS), DELTA, 0.9) for _ in range(2000)]
    share = np.mean(np.array(served) >= 1 - DELTA)
    assert 0.9 - 0.02 <= share == pytest.approx(binomial(PATIENTS, 0.9, 54), abs=0.02)
    average = [conformal.multiplier(rng.random(PATIENTS), DELTA) for _ in range(2000)]
    assert np.mean(np.array(average) >= 1 - DELTA) < 0.8  # without it, every third set has less


class Head:
    """A scale that follows the values of the image."""

    def scale_map(self, lr, sr, max_val=1.0):
        return (0.01 + 0.05 * sr / max_val).astype(np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Twelve images of four patients."""
    made = ArraySource(tmp_path_factory.mktemp("source"), {"validation": smooth_images(12, 64, 1)})
    examples = made.examples
    made.examples = lambda split: ({**e, "patient": e["patient"] % 4} for e in examples(split))
    return made


@pytest.fixture(scope="module")
def plan():
    factors = {alpha: {"edges": 1.5, "letters": 2.0} for alpha in (0.1, 0.32)}
    return measuring.Plan((0.1, 0.32), Groups(1, (0.1, 0.2), (0.4, 0.6)), factors, by_group=True)


@pytest.fixture(scope="module")
def measured(source, plan):
    cache = pipeline.cache_of(source, "validation")
    lanczos = dataclasses.replace(upscalers.load("lanczos"), scale=2)
    return measuring.measure(lanczos, Head(), [cache], range(12), degradations.make(2), plan)


def pixels_by_hand(cache, plan):
    """Returns patient to the errors and to the scale with and without factors, and the steepness, of all its pixels."""
    found, lanczos = {}, upscalers.load("lanczos")
    for _, patient, max_val, lr, hr in pipeline.pairs(cache, 2, degradations.make(2)):
        sr = lanczos(lr, 2, max_val).astype(np.float32) / 255
        scale, steepness = Head().scale_map(lr, sr), plan.groups.steepness(sr)[..., None]
        factor = plan.groups.factor(steepness[..., 0], plan.factors[0.1])[..., None]
        own = [abs(hr / 255 - sr), scale * factor, scale, steepness]
        found.setdefault(patient, []).append([part.ravel() for part in own])
    return {patient: np.concatenate(parts, axis=1) for patient, parts in found.items()}


def test_images_of_a_patient_are_one_unit_t17(source, plan, measured):
    expected = pixels_by_hand(pipeline.cache_of(source, "validation"), plan)
    assert [score.patient for score in measured] == [0, 1, 2, 3] and {score.images for score in measured} == {3}
    for score in measured:
        error, scale, *_ = expected[score.patient]
        exact = np.quantile(error / scale, 0.9, method="inverted_cdf")
        assert exact * (1 - 1e-5) <= score.needed[0.1] <= 1.0011 * exact
        assert score.scale[0.1] == pytest.approx(scale.mean(), rel=1e-4)
        assert score.needed[0.32] < score.needed[0.1]


def test_groups_are_measured_without_their_factors_t13(source, plan, measured):
    expected = pixels_by_hand(pipeline.cache_of(source, "validation"), plan)
    for score in measured:
        error, _, scale, steepness = expected[score.patient]
        for name, mask in (("smooth", steepness <= 0.1), ("edges", (steepness >= 0.2) & (steepness <= 0.4))):
            exact = np.quantile((error / scale)[mask], 0.9, method="inverted_cdf")
            assert exact * (1 - 1e-5) <= score.by_group[name][0.1] <= 1.0011 * exact


def test_factors_are_ratios_beyond_ten_percent_t13():
    smooth = np.linspace(1, 2, 29)
    needed_by = {"smooth": smooth, "edges": 1.45 * smooth, "letters": 1.05 * smooth}
    assert groups.factors(needed_by, DELTA) == {"edges": pytest.approx(1.45), "letters": 1.0}
    few = {**needed_by, "edges": [*(1.45 * smooth[:19]), *[math.nan] * 10]}
    assert groups.factors(few, DELTA) == {"edges": 1.0, "letters": 1.0}


def field(measured, plan, **changes):
    scores = [dataclasses.replace(measured[i % 4], patient=i) for i in range(12)]
    given = {"delta": 0.2, "confidence": None, "dataset": "d", "split": "s", "images_sha256": "0", "degradation": "b"}
    return results.fields(scores, plan, results.Settings(**{**given, **changes}), {"other": 1}, "e" * 64)


def test_runtime_covers_what_was_calibrated_over_the_combined_map_t13(source, plan, measured):
    card = {"uncertainty": field(measured, plan), "name": "lanczos"}
    width = HalfWidth.from_card(Head(), card, 0.1)
    lanczos, held = upscalers.load("lanczos"), {}
    for _, patient, max_val, lr, hr in pipeline.pairs(pipeline.cache_of(source, "validation"), 2, degradations.make(2)):
        sr = lanczos(lr, 2, max_val)
        inside = np.abs(hr.astype(float) - sr) <= 255 * width(lr, sr.astype(np.float32) / 255)
        held.setdefault(patient, []).append(inside)
    # k = ceil(13 * 0.8) = 11 of 12 scores, 3 of each patient: the largest, so that all four hold.
    assert card["uncertainty"]["levels"]["0.1"]["k"] == 11
    shares = [np.mean(parts) for parts in held.values()]
    assert min(shares) >= 0.9 and min(shares) < 0.91


def test_card_records_what_was_promised_and_on_whom_t12(measured, plan):
    found = field(measured, plan)
    assert found["other"] == 1 and found["head"] == {"weights_sha256": "e" * 64}
    level, calibration = found["levels"]["0.1"], found["calibration"]
    assert level["by_group"]["edges"] == pytest.approx(1.5 * level["multiplier"])
    assert (calibration["patients"], calibration["images"], calibration["k"]) == (12, 36, 11)
    assert calibration["beta_interval"] == [round(end, 4) for end in conformal.beta_interval(11, 12)]
    assert len(calibration["protocol_sha256"]) == 64
    assert field(measured, plan, delta=0.3)["calibration"]["protocol_sha256"] != calibration["protocol_sha256"]
    text = results.markdown(found, ["Note."])
    assert "| 90% |" in text and "12 patients" in text and text.endswith("Note.")


@pytest.mark.parametrize("changes,missing", [({"delta": 0.05}, 7), ({"delta": 0.1, "confidence": 0.9}, 10)])
def test_too_few_patients_are_refused_with_how_many_are_missing_t12(measured, plan, changes, missing):
    with pytest.raises(InputError, match=f"Received: 12 in d, split s: {missing} are missing"):
        field(measured, plan, **changes)


def test_training_patients_are_found_by_salted_hashes_t12(source):
    listed = patients.record(source, "validation")
    assert listed["patients"] == 4 and len(base64.b64decode(listed["sha256_64"])) == 4 * patients.BYTES
    assert patients.comparable(listed, source)
    assert patients.among(listed, [2, 4, 3, 99]) == [2, 3]
    assert patients.record(source, "validation")["sha256_64"] != listed["sha256_64"]  # another salt
    assert patients.record(source, "validation", listed["salt"]) == listed


def test_numbers_of_a_folder_mean_patients_of_that_folder_alone():
    class Folder:
        name, prepared = "image_folder", "ab12"

    class Archive:
        name, prepared = "chest_xray14/1024", "cd34"

    assert patients.identity(Folder()) == "image_folder/ab12" and patients.identity(Archive()) == "chest_xray14"
    listed = {"numbering": "image_folder/zz", "salt": "", "sha256_64": ""}
    assert not patients.comparable(listed, Folder())
