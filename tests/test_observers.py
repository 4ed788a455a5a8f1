"""Model observers against theory, scikit-learn and enumeration by hand (T-41 to T-43 of the requirements)."""

import math

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from tfmisr.edge.errors import InputError
from tfmisr.observers import channels, observers, roc

SIDE = 32


def signal(width=2.0):
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    return np.exp(-(x**2 + y**2) / (2 * width**2))


def power_law_noise(count, rng, exponent=2.0):
    """Returns windows of noise with the power spectrum 1 / (0.02 + f)^exponent, and that spectrum."""
    f = np.fft.fftfreq(SIDE)
    spectrum = 1 / (0.02 + np.hypot(f[:, None], f[None, :])) ** exponent
    white = rng.standard_normal((count, SIDE, SIDE))
    return np.fft.ifft2(np.fft.fft2(white) * np.sqrt(spectrum)).real, spectrum


@pytest.mark.parametrize("name", channels.CHANNELS)
@pytest.mark.parametrize("exponent", [0.0, 2.0])
def test_channelized_hotelling_observer_reaches_the_analytic_detectability(name, exponent):
    """T-43: in noise of known covariance K, d'^2 = (U s)^T (U K U^T)^-1 (U s) for channels U and signal s."""
    rng = np.random.default_rng(0)
    noise, spectrum = power_law_noise(6000, rng, exponent)
    matrix = channels.create(name, SIDE)
    covariance = [np.fft.ifft2(np.fft.fft2(c.reshape(SIDE, SIDE)) * spectrum).real.ravel() for c in matrix]
    responses = matrix @ signal().ravel()
    unit = responses @ np.linalg.solve(matrix @ np.array(covariance).T, responses)
    present = signal() * (1.6 / math.sqrt(unit))  # d' of 1.6
    observer = observers.ChannelizedHotelling(name)
    template = observer.template(noise[:2000], noise[2000:4000] + present)
    ratings = [observer.ratings(template, w, rng) for w in (noise[4000:5000], noise[5000:] + present)]
    expected = stats.norm.cdf(1.6 / math.sqrt(2))
    # Exact for this template, so that only its training is random: mean and spread of its ratings.
    weights = np.fft.fft2(template)
    spread = math.sqrt((np.abs(weights) ** 2 * spectrum).sum() / SIDE**2)
    area = stats.norm.cdf((template * present).sum() / spread / math.sqrt(2))
    assert area == pytest.approx(expected, abs=0.02 if len(matrix) > 20 else 0.005) and area <= expected + 1e-9
    assert roc.auc(*ratings) == pytest.approx(area, abs=0.03)


def test_template_is_that_of_linear_discriminant_analysis():
    """T-43"""
    rng = np.random.default_rng(1)
    noise, _ = power_law_noise(400, rng)
    absent, present = noise[:200], noise[200:] + signal()
    template = observers.ChannelizedHotelling("ddog").template(absent, present)
    matrix = channels.create("ddog", SIDE)
    responses = np.concatenate([w.reshape(len(w), -1) @ matrix.T for w in (absent, present)])
    lda = LinearDiscriminantAnalysis(solver="lsqr").fit(responses, np.repeat([0, 1], 200))
    theirs = lda.coef_[0] @ matrix
    ours = template.ravel()
    assert ours / np.linalg.norm(ours) == pytest.approx(theirs / np.linalg.norm(theirs), abs=1e-6)


def test_internal_noise_lowers_detection_as_much_as_noise_of_the_pixels():
    """White noise of standard deviation 2 with internal noise of 1.5 is white noise of 2.5 to the observer."""
    rng = np.random.default_rng(2)
    noise = 2 * rng.standard_normal((8000, SIDE, SIDE))
    present = noise[:4000] + signal()
    observer = observers.NonPrewhitening(internal_noise=1.5)
    ratings = [observer.ratings(signal() - signal().mean(), w, rng) for w in (noise[4000:], present)]
    expected = np.linalg.norm(signal() - signal().mean()) / 2.5
    assert roc.auc(*ratings) == pytest.approx(stats.norm.cdf(expected / math.sqrt(2)), abs=0.02)


def test_non_prewhitening_templates():
    absent = np.zeros((2, SIDE, SIDE))
    present = absent + signal()
    plain = observers.NonPrewhitening().template(absent, present)
    assert plain == pytest.approx(signal() - signal().mean())
    eye = observers.NonPrewhitening(eye_filter=True).template(absent, present)
    assert abs(eye.mean()) < 1e-12
    ratio = np.abs(np.fft.fft2(eye) / np.fft.fft2(signal()))
    # 4 and 8 cycles per degree, of 32 pixels per degree: E^2 = f^2.6 exp(-0.08 f^2)
    assert ratio[0, 8] / ratio[0, 4] == pytest.approx(2**2.6 * math.exp(-0.08 * (64 - 16)))


def test_too_few_windows_are_refused():
    windows = np.zeros((99, SIDE, SIDE))
    with pytest.raises(InputError, match="expected at least 100 windows of each class for 10 channels"):
        observers.ChannelizedHotelling("ddog").template(windows, windows)
    with pytest.raises(InputError, match="channels must be one of"):
        observers.ChannelizedHotelling("dog").template(windows, windows)


def test_auc_and_curve_agree_with_scikit_learn_and_enumeration():
    rng = np.random.default_rng(3)
    absent, present = rng.integers(0, 9, 40).astype(float), rng.integers(2, 12, 30).astype(float)
    labels = np.repeat([0, 1], [40, 30])
    assert roc.auc(absent, present) == pytest.approx(roc_auc_score(labels, np.concatenate([absent, present])))
    false, true = roc.curve(absent, present)
    assert integrate.trapezoid(true, false) == pytest.approx(roc.auc(absent, present))
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert roc.auc(np.array([1.0, 2]), np.array([2.0, 3])) == (1 + 1 + 0.5 + 1) / 4


def test_detectability_and_forced_choice():
    area = stats.norm.cdf(1 / math.sqrt(2))
    assert roc.detectability(area) == pytest.approx(1)
    assert roc.forced_choice(area, 2) == pytest.approx(area, abs=1e-6)
    rng = np.random.default_rng(6)
    played = (rng.standard_normal(200_000) + 1 > rng.standard_normal((3, 200_000)).max(0)).mean()
    assert roc.forced_choice(area, 4) == pytest.approx(played, abs=0.004)
    assert roc.forced_choice(0.5, 4) == pytest.approx(0.25, abs=1e-6) and roc.forced_choice(1.0, 4) == 1


def test_delong_covariance_by_hand_and_against_resampling():
    # Placements of present: 1/2 and 1; of absent: 1 and 1/2. Variances 1/8 each, divided by two windows.
    area, covariance = roc.delong([[1.0, 3.0]], [[2.0, 4.0]])
    assert area[0] == 0.75 and covariance[0, 0] == pytest.approx(1 / 8)
    rng = np.random.default_rng(4)
    absent = rng.standard_normal((2, 300))
    absent[1] += absent[0]
    present = absent[:, ::-1] + 1
    _, covariance = roc.delong(absent, present)
    samples = roc.bootstrap(absent, present, np.arange(300), 1500)
    assert samples.std(0) == pytest.approx(np.sqrt(np.diag(covariance)), rel=0.3)


def test_bootstrap_draws_whole_patients():
    """The sample that holds each patient once has the AUC itself; patients of many windows make wider intervals."""
    rng = np.random.default_rng(5)
    shift = np.repeat(rng.standard_normal(30), 10)
    absent = shift + 0.3 * rng.standard_normal(300)
    present = shift + 0.3 * rng.standard_normal(300) + 0.5
    assert roc._weighted_auc(absent, present, np.ones((1, 300)))[0] == pytest.approx(roc.auc(absent, present))
    clustered = roc.bootstrap(absent, present, np.repeat(np.arange(30), 10), 400)
    single = roc.bootstrap(absent, present, np.arange(300), 400)
    assert clustered.shape == (400, 1)
    assert clustered.mean() == pytest.approx(roc.auc(absent, present), abs=0.02)
    assert clustered.std() > 1.5 * single.std()
