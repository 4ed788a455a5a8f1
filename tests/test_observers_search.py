"""Signals at unknown positions: the scanning observer against theory, enumeration and simulation (T-41)."""

import json
import math

import numpy as np
import pytest
from scipy import integrate, stats
from synthetic import ArraySource, backgrounds

from tfmisr import data, degradations, observe
from tfmisr.edge.errors import InputError
from tfmisr.inference import upscalers
from tfmisr.observers import assessment, observers, roc, search, tasks, windows


class FixedTemplate:
    """Observer with a template of one pixel, whose responses are the pixels themselves."""

    internal_noise = 0.0

    def template(self, absent, present):
        template = np.zeros(absent.shape[1:])
        template[absent.shape[1] // 2, absent.shape[1] // 2] = 1
        return template


def white_noise(count, radius, height, side=24, seed=0):
    """Windows of white noise; the second hypothesis has one pixel of this height at a random offset."""
    rng = np.random.default_rng(seed)
    absent, present = rng.standard_normal((2, count, side, side))
    offsets = rng.integers(-radius, radius + 1, (count, 2))
    present[(np.arange(count), *(side // 2 + offsets).T)] += height
    arms = ["HR", "bicubic"]
    return windows.Windows(arms, np.stack([absent] * 2), np.stack([present] * 2), np.arange(count), count, 255, offsets)


@pytest.mark.parametrize("radius, height", [(1, 2.0), (4, 4.0)])
def test_area_is_that_of_theory_in_white_noise(radius, height):
    """T-41: with M independent positions, the area is the integral of phi(x - d) Phi(x)^(2 M - 1).

    The signal's response must exceed those of the M - 1 other positions, else its mark is wrong, and the M of a window
    without a signal.
    """
    given, positions = white_noise(3000, radius, height), (2 * radius + 1) ** 2
    rated = assessment.rate(given, FixedTemplate(), folds=2, search=search.Search(radius, 0.5))
    x = np.linspace(-8, 8 + height, 4001)
    expected = integrate.trapezoid(stats.norm.pdf(x - height) * stats.norm.cdf(x) ** (2 * positions - 1), x)
    summary = assessment.summarize(rated, resamples=200)["HR"]
    deviation = (summary["auc_high"] - summary["auc_low"]) / 2 / 1.96
    assert summary["auc"] == pytest.approx(expected, abs=3.5 * deviation) and deviation < 0.012
    marked = integrate.trapezoid(stats.norm.pdf(x - height) * stats.norm.cdf(x) ** (positions - 1), x)
    assert np.isfinite(rated.present[0]).mean() == pytest.approx(marked, abs=0.03)
    false, true = roc.curve(rated.absent[0], rated.present[0])
    assert false[-1] == 1 and true[-1] == np.isfinite(rated.present[0]).mean()
    assert integrate.trapezoid(true, false) == pytest.approx(summary["auc"])


def test_area_counts_pairs_with_a_right_mark():
    """T-41: enumeration, ties included."""
    absent, present, found = np.array([1.0, 2, 2]), np.array([2.0, 3, 9, 0]), np.array([True, True, False, True])
    wins = [f * ((p > a) + 0.5 * (p == a)) for p, f in zip(present, found, strict=True) for a in absent]
    rated = search.localized(present, found)
    assert roc.auc(absent, rated) == pytest.approx(sum(wins) / 12)
    samples = roc.bootstrap(absent[:3], rated[:3], np.arange(3), 300)
    assert samples.min() >= 0 and samples.max() <= 1


def test_scanning_finds_a_signal_where_it_was_put():
    """T-41: marks are offsets of the signal; templates are trained on windows around it."""
    rng = np.random.default_rng(2)
    profile = tasks.load("nodule_3mm").profile()
    region = search.Search.of(tasks.load("nodule_3mm"), 12)
    offsets = region.offsets(40, rng)
    assert np.abs(offsets).max() == 12 and region.tolerance == 3
    absent = 0.5 * rng.standard_normal((40, 64, 64))
    present = absent + 20 * np.stack([np.roll(profile, offset, (0, 1)) for offset in offsets])
    centered = region.centered(present - absent, offsets)
    assert centered.shape == (40, 40, 40)
    assert centered == pytest.approx(np.stack([20 * profile[12:52, 12:52]] * 40))
    template = observers.NonPrewhitening().template(region.centered(absent, offsets), region.centered(present, offsets))
    ratings, marks = region.ratings(template, present)
    assert (marks == offsets).all() and region.found(marks, offsets).all()
    for i in range(3):
        y, x = 12 + offsets[i]
        assert ratings[i] == pytest.approx((template * present[i, y : y + 40, x : x + 40]).sum())
    assert not region.found(offsets + [0, 4], offsets).any() and region.found(offsets + [2, -2], offsets).all()


@pytest.mark.parametrize(
    "name, radius, message",
    [
        ("rayleigh", 8, "a search needs one signal; bar is another"),
        ("edge", 8, "the signal is too large for a search of 8 pixels"),
        ("dot", 17, "search must be 1 to 16 pixels. Received: 17"),
    ],
)
def test_searches_that_cannot_be_measured_are_refused(name, radius, message):
    """T-41"""
    with pytest.raises(InputError, match=message):
        search.Search.of(tasks.load(name), radius)


def test_faint_parts_of_a_mask_do_not_enter_at_the_other_side(tmp_path):
    """T-41: they count for the size as well."""
    mask = np.full((40, 40), 0.02)
    mask[18:22, 18:22] = 1
    np.save(tmp_path / "mask.npy", mask)
    (tmp_path / "task.json").write_text(json.dumps({"signal": "mask", "mask": "mask.npy", "contrast": 9}))
    task = tasks.load(tmp_path / "task.json")
    assert task.size == 4 and search.Search.of(task, 12).tolerance == 3
    with pytest.raises(InputError, match="the signal is too large for a search of 13 pixels"):
        search.Search.of(task, 13)


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    return ArraySource(tmp_path_factory.mktemp("searched"), {"test": backgrounds(32, 88)})


def test_signals_are_inserted_where_the_observer_must_find_them(radiographs):
    """T-41, T-43: transfer of 1 in HR wherever signals lie, and none lies outside of the search region."""
    task = tasks.Task("disk", "disk", 12, 25)
    region = search.Search.of(task, 8)
    assert region.tolerance == pytest.approx(7, abs=0.5)  # the radius, a pixel of blur
    arms = [upscalers.load("bicubic")]
    given = windows.sample(arms, radiographs, ["test"], 2, degradations.make(2), task, progress=False, search=region)
    assert given.offsets.shape == (len(given.patients), 2) and len(np.unique(given.offsets)) > 8
    mean, deviation = assessment.transfer(given, task)["HR"]
    assert mean == pytest.approx(1, abs=0.03) and deviation < 0.03
    change = np.abs(given.present[0].astype(float) - given.absent[0])
    assert change[0].sum() > 0 and change[:, 0].max() == 0
    spread = assessment.refitted(given, observers.NonPrewhitening(), resamples=2, search=region)
    assert math.isfinite(spread["HR"][0])


def test_command_reports_a_search(radiographs, tmp_path, monkeypatch):
    """T-41: LROC is harder than detection at a known place, and the report says what it is."""
    monkeypatch.setattr(data, "load_for", lambda *_: radiographs)
    flags = ["lanczos", "--task", "dot", "--scale", "2", "--observer", "npw", "--output"]
    assert observe.main([*flags, str(tmp_path / "a"), "--search", "8", "--internal_noise", "3"]) == 0
    content = json.loads((tmp_path / "a" / "observe.json").read_text())
    arms = content["tasks"][0]["arms"]
    assert content["protocol"]["search"] == 8
    for values in arms.values():
        assert 0 <= values["auc"] <= values["localized"] <= 1 and values["d_prime"] is None
    assert arms["bicubic"]["localized"] < arms["HR"]["localized"]
    assert "area under the LROC curve" in (tmp_path / "a" / "report.md").read_text()
