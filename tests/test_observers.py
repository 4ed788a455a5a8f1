"""Model observers against theory, scikit-learn and enumeration by hand (T-41 to T-43 of the requirements)."""

import json
import math

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score
from synthetic import ArraySource, backgrounds

import tfmisr
from tfmisr import data, degradations, observe
from tfmisr.edge.errors import InputError
from tfmisr.inference import upscalers
from tfmisr.observers import assessment, catalog, channels, observers, report, roc, signals, tasks, verdicts, windows

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


def test_paired_differences_of_nothing_are_significant_in_five_percent():
    """T-43: 500 pairs of arms that see the signal equally well, 3 windows of each of 40 patients."""
    rng = np.random.default_rng(10)
    patients, significant = np.repeat(np.arange(40), 3), 0
    for _ in range(500):
        shared = 0.6 * rng.standard_normal((1, 120)) + np.repeat(0.6 * rng.standard_normal(40), 3)
        absent, present = (shared + 0.7 * rng.standard_normal((3, 120)) + shift for shift in (0.0, 1.0))
        ratings = assessment.Ratings(["HR", "bicubic", "net"], absent, present, patients)
        values = assessment.summarize(ratings, resamples=400)["net"]
        significant += values["p_value"] <= 0.05
    assert 15 <= significant <= 35, significant


# -- Signals, tasks and windows -------------------------------------------------------------------------------------


def test_profiles_have_the_size_they_are_asked_for():
    """A sphere of volume pi d^3 / 6, divided by its height d; blurring keeps sums."""
    nodule = signals.create("nodule", 64, 10)
    assert nodule.sum() == pytest.approx(math.pi * 10**3 / 6 / 10, rel=0.01)
    assert signals.create("disk", 64, 9).sum() == pytest.approx(math.pi * 4.5**2, rel=0.01)
    assert signals.create("line", 64, 0.7, length=20).sum() == pytest.approx(14, rel=0.15)
    dots, bar = (signals.create(name, 64, 0.8) for name in ("two_dots", "bar"))
    assert dots.sum() == pytest.approx(4 * math.pi * 0.8**2, rel=0.01) and bar.sum() == pytest.approx(dots.sum())
    assert np.unravel_index(nodule.argmax(), nodule.shape) == (32, 32)
    edge = signals.create("edge", 64, 1.0)
    assert abs(edge[[0, -1]]).max() < 0.01 and abs(edge[:, [0, -1]]).max() < 0.01


def test_insertion_adds_levels_or_multiplies():
    window = np.full((64, 64), 1000.0)
    additive = tasks.Task("a", "disk", 20, 51)
    assert additive.inserted(window, additive.profile(), 4095)[32, 32] == pytest.approx(1000 + 51 * 4095 / 255)
    hounsfield = tasks.Task("h", "disk", 20, -30, contrast_unit="HU")
    assert hounsfield.inserted(window, hounsfield.profile(), 4095)[32, 32] == pytest.approx(970)
    with pytest.raises(InputError, match="a contrast in HU needs CT slices. Received: a full scale of 255"):
        hounsfield.inserted(window, hounsfield.profile(), 255)
    linear = tasks.Task("m", "disk", 20, 10, contrast_unit="percent", insertion="multiplicative")
    assert linear.inserted(window, linear.profile(), 4095)[32, 32] == pytest.approx(1000 * math.exp(-0.1))
    assert linear.hash != additive.hash == tasks.Task("b", "disk", 20, 51).hash


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"size_unit": "mm"}, "needs pixel_spacing"),
        ({"insertion": "multiplicative"}, "go together"),
        ({"signal": "nodul"}, "signal must be one of"),
        ({"size": 60}, "does not fit into a window"),
        ({"options": {"length": 3}}, "signal disk has the options none. Received: length"),
        ({"contrast": "high"}, "contrast must be a number"),
        ({"colour": 3}, "is no task file"),
        ({"name": "../other"}, "a task's name must be a text of letters, digits, - and _. Received: '../other'"),
        ({"name": 3}, "a task's name must be a text of letters, digits, - and _. Received: 3"),
        ({"pixel_spacing": -1, "size_unit": "mm"}, "pixel_spacing must be above 0. Received: -1"),
    ],
)
def test_task_files_are_checked(tmp_path, fields, message):
    path = tmp_path / "task.json"
    path.write_text(json.dumps({"signal": "disk", "size": 9, "contrast": 5, **fields}))
    with pytest.raises(InputError, match=message):
        tasks.load(path)
    path.write_text(json.dumps({"signal": "disk", "size": 9, "contrast": 5}))
    assert tasks.load(path) == tasks.Task("task", "disk", 9, 5)
    assert tuple(tasks.TASKS) == catalog.NAMES and all(tasks.load(name).name == name for name in tasks.TASKS)


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    return ArraySource(tmp_path_factory.mktemp("observed"), {"test": backgrounds(40)})


def arms(*names):
    return [upscalers.load(name) for name in names]


def test_signal_is_recovered_in_hr_and_one_of_no_contrast_cannot_be_detected(radiographs):
    """T-43: transfer 1.00 +- 0.03 in HR, and AUC 0.5 for a signal of contrast 0."""
    degradation = degradations.make(2)
    task = tasks.Task("disk", "disk", 12, 25)
    found = windows.sample(arms("bicubic"), radiographs, ["test"], 2, degradation, task, progress=False)
    assert found.arms == ["HR", "LR", "bicubic"] and found.absent.shape == found.present.shape
    mean, deviation = assessment.transfer(found, task)["HR"]
    assert mean == pytest.approx(1, abs=0.03) and deviation < 0.03
    observer = observers.NonPrewhitening()
    summary = assessment.summarize(assessment.rate(found, observer), resamples=200)
    assert summary["HR"]["auc"] > 0.9 and summary["bicubic"]["difference"] == 0
    assert summary["HR"]["lost"] == 0 == summary["HR"]["hallucinated"]
    nothing = tasks.Task("nothing", "disk", 12, 0)
    found = windows.sample(arms("bicubic"), radiographs, ["test"], 2, degradation, nothing, progress=False)
    assert (found.absent == found.present).all()
    rated = assessment.rate(found, observer)
    assert roc.auc(rated.absent[0], rated.present[0]) == 0.5
    assert np.isnan(assessment.transfer(found, nothing)["HR"]).all()


def test_command_takes_a_signal_of_no_contrast(radiographs, tmp_path, monkeypatch, capsys):
    """T-43: the report of a check against nothing; its amplitude is undefined."""
    monkeypatch.setattr(data, "load_for", lambda *_: radiographs)
    path, out = tmp_path / "nothing.json", tmp_path / "out"
    path.write_text(json.dumps({"signal": "disk", "size": 12, "contrast": 0}))
    assert (
        observe.main(["lanczos", "--task", str(path), "--scale", "2", "--observer", "npw", "--output", str(out)]) == 0
    )
    arms = json.loads((out / "observe.json").read_text())["tasks"][0]["arms"]
    assert arms["lanczos"]["auc"] == 0.5 and arms["lanczos"]["transfer"] is None
    assert arms["lanczos"]["verdict"] == "equivalent"
    assert "| 0.0% | - | equivalent |" in capsys.readouterr().out


def test_windows_hold_one_signal_and_no_letters(radiographs):
    hr = np.zeros((512, 512), np.uint8) + np.uint8(100)
    hr[::2] += 4
    hr[:200, 300:] = 255
    hr[:200:7, 300:] = 0  # letters
    hr[300:, :100] = 0  # background
    places = windows._places(hr, 255, 4, 99, np.random.default_rng(0))
    assert len(places) > 10
    assert len({tuple(place % 4) for place in places}) > 5
    for i, (row, column) in enumerate(places):
        assert not (row < 200 and column + 64 > 300) and not (row >= 300 and column + 64 <= 100)
        others = np.delete(places, i, axis=0)
        assert (np.abs(others - (row, column)).max(1) >= 64).all()


def test_verdicts():
    def values(low, high, p):
        return {"difference_low": low, "difference_high": high, "p_holm": p}

    assert verdicts.verdict("net", values(0.03, 0.05, 0.01), 0.02) == "better"
    assert verdicts.verdict("net", values(-0.015, -0.001, 0.01), 0.02) == "worse, within the margin"
    assert verdicts.verdict("net", values(0.03, 0.05, 0.06), 0.02) == "undecided"
    assert verdicts.verdict("net", values(-0.01, 0.019, 0.5), 0.02) == "equivalent"
    assert verdicts.verdict("bicubic", {}, 0.02) == ""
    summary = {
        "HR": {},
        "LR": {},
        "bicubic": {},
        "a": {"p_value": 0.01},
        "b": {"p_value": 0.04},
        "c": {"p_value": 0.03},
    }
    verdicts.adjust(summary)
    assert [round(summary[a].get("p_holm", -1), 3) for a in "HR a b c".split()] == [-1, 0.03, 0.06, 0.06]


def test_summary_says_which_differences_are_within_the_margin():
    """T-45: not `better` where a difference counts as equivalent."""
    found = {"a": "better, within the margin", "b": "better", "c": "better, within the margin"}
    content = {
        "protocol": {"margin": 0.02, "models": ["net"]},
        "tasks": [{"task": {"name": name}, "arms": {"net": {"verdict": verdict}}} for name, verdict in found.items()],
    }
    assert report.summary(content) == (
        "net against bicubic interpolation: better, within the margin for a, c; better for b. "
        "Margin of equivalence: 0.02 in AUC."
    )


def test_command_writes_a_report(radiographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "load_for", lambda *_: radiographs)
    flags = ["--task", "dot", "--scale", "2", "--observer", "npw", "--output", str(tmp_path / "out"), "--refits", "2"]
    found = tfmisr.observe("lanczos", task="dot", scale=2, observer="npw", output=tmp_path / "out", refits=2)
    assert capsys.readouterr().out == ""
    assert observe.main(["lanczos", *flags]) == 0
    content = json.loads((tmp_path / "out" / "observe.json").read_text())
    (result,) = content["tasks"]
    assert list(result["arms"]) == ["HR", "LR", "bicubic", "back_projection", "unsharp_mask", "lanczos"]
    assert result["patients"] == 40 and result["arms"]["lanczos"]["refitted_deviation"] >= 0
    assert 0.5 < result["arms"]["bicubic"]["auc"] <= result["arms"]["HR"]["auc"] <= 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page and "lanczos" in page and f"Protocol {content['protocol']['hash']}" in page
    assert "| lanczos |" in (tmp_path / "out" / "report.md").read_text()
    assert (tmp_path / "out" / "dot.png").stat().st_size > 10_000
    assert "lanczos against bicubic interpolation" in found.table()
    assert f"{found}\n" == capsys.readouterr().out and found.results == content
    assert found.summary["dot"] == result["arms"] and found.figure == tmp_path / "out" / "dot.png"
    assert repr(found) == f"<Observation: dot; files in {tmp_path / 'out'}>"


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--task", "dots"], "task must be one of"),
        (["--margin", "0"], "margin must be above 0"),
        (["--split", "test", "--task", "rayleigh"], "expected at least 640 windows of each class for 64 channels"),
    ],
)
def test_mistakes_are_one_line(radiographs, tmp_path, monkeypatch, flags, message):
    monkeypatch.setattr(data, "load_for", lambda *_: radiographs)
    with pytest.raises(InputError, match=message):
        observe.main(["bicubic", "--scale", "2", "--output", str(tmp_path / "out"), *flags])
    assert not (tmp_path / "out").exists()


def test_color_is_refused_however_few_the_images(monkeypatch, tmp_path):
    images = [np.zeros((80, 80, 3), np.uint8)] * 3
    monkeypatch.setattr(data, "load_for", lambda *_: ArraySource(tmp_path, {"test": images}))
    with pytest.raises(InputError, match="observers look at gray images. Received: .* with 3 channels"):
        observe.main(["bicubic", "--task", "dot", "--output", str(tmp_path / "out")])


def test_too_few_patients_are_refused(radiographs, monkeypatch, tmp_path):
    """T-42, before anything is upscaled."""
    monkeypatch.setattr(data, "load_for", lambda *_: radiographs)
    monkeypatch.setattr(windows, "_arms", None)
    with pytest.raises(InputError, match="expected images of at least 30 patients, found 12"):
        observe.main(["bicubic", "--task", "dot", "--max_images", "12", "--output", str(tmp_path / "out")])
