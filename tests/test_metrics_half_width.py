"""Measures of calibrated half-widths (T-16): by hand, and through `python -m tfmisr.evaluate`."""

import csv
import dataclasses

import numpy as np
import pytest
from scipy import stats

from tfmisr import data, evaluate, metrics
from tfmisr.edge.errors import InputError
from tfmisr.evaluation import protocol, summary
from tfmisr.inference import upscalers

NAMES = ["coverage", "interval_width", "patients_held", "error_correlation"]
HR = np.array([[10, 20], [30, 40]], np.uint8)[..., None]
SR = np.array([[10, 22], [27, 44]], np.uint8)[..., None]  # errors 0, 2, 3, 4
WIDTH = np.array([[1, 2], [4, 3]], np.float64)[..., None] / 255


def test_metrics_are_those_by_hand_t16():
    values = {name: metrics.get(name)(HR, SR, 255, WIDTH) for name in NAMES}
    assert values["coverage"] == 0.75
    assert values["interval_width"] == pytest.approx(2.5)
    assert values["patients_held"] == pytest.approx(3 - 0.9 * 4)
    assert values["error_correlation"] == pytest.approx(0.8)  # 1 - 6 * (1 + 1) / (4 * 15)


def test_rank_correlation_is_scipys_with_ties():
    rng = np.random.default_rng(0)
    hr, sr = rng.integers(0, 9, (2, 40, 30, 3))
    width = rng.random((40, 30, 3))
    expected = stats.spearmanr(abs(hr - sr).ravel(), width.ravel()).statistic
    assert metrics.get("error_correlation")(hr, sr, 255, width) == pytest.approx(expected)


@pytest.mark.parametrize("sr,width", [(HR, WIDTH), (SR, np.full_like(WIDTH, 0.01)), (HR[:1, :1], WIDTH[:1, :1])])
def test_rank_correlation_of_constants_is_nan_with_a_reason(sr, width):
    assert np.isnan(metrics.get("error_correlation")(HR[: len(sr), : sr.shape[1]], sr, 255, width))
    assert metrics.get("error_correlation").undefined != metrics.Metric.undefined


def test_patients_not_images_hold():
    # Patient 1: 92 of 100 and 89 of 100 pixels, together 181 of 200: holds. Patient 2: exactly 90 %. Patient 3: 89 %.
    rows = [(1, 2.0), (1, -1.0), (2, 0.0), (3, -1.0)]
    rows = [{"id": str(i), "patient": p, "model": "net", "patients_held": v} for i, (p, v) in enumerate(rows)]
    bicubic = [{"id": str(i), "patient": row["patient"], "model": "bicubic"} for i, row in enumerate(rows)]
    found = summary.summarize([*bicubic, *rows], {"bicubic": 0, "net": 5})
    assert found["net"]["patients_held"] == pytest.approx(2 / 3)
    # Clopper-Pearson, 2 of 3: quantiles 0.025 of Beta(2, 2) and 0.975 of Beta(3, 1).
    assert found["net"]["patients_held_low"] == pytest.approx(stats.beta.ppf(0.025, 2, 2), abs=1e-6)
    assert found["net"]["patients_held_high"] == pytest.approx(0.975 ** (1 / 3), abs=1e-6)
    assert "patients_held" not in found["bicubic"] and "patients_held_gain" not in found["net"]


class Constant:
    """A half-width of 20 of 255 levels."""

    def __call__(self, lr, sr, max_val=1.0):
        assert sr.max() <= 1 and sr.shape[0] == 2 * lr.shape[0]
        return np.full(sr.shape, 20 / 255, np.float32)


def test_evaluate_measures_models_that_have_half_widths_t16(tiny_source, tmp_path, monkeypatch):
    calibrated = dataclasses.replace(upscalers.load("lanczos"), half_width=lambda level: Constant())
    load = upscalers.load
    monkeypatch.setattr(upscalers, "load", lambda name, **_: calibrated if name == "lanczos" else load(name))
    monkeypatch.setattr(data, "load_for", lambda *args: tiny_source)
    flags = ["lanczos", "--scale", "2", "--output", str(tmp_path), "--measures", "psnr", *NAMES]
    found = evaluate.run(evaluate._parser().parse_args(flags))
    values = found.summary["lanczos"]
    assert values["interval_width"] == pytest.approx(20) and values["coverage_low"] <= values["coverage"] <= 1
    assert not set(NAMES) & set(found.summary["bicubic"])
    with open(tmp_path / "per_image.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    held = [float(row["coverage"]) >= 0.9 for row in rows if row["model"] == "lanczos"]
    assert values["patients_held"] == np.mean(held)
    assert {row["coverage"] for row in rows if row["model"] == "bicubic"} == {""}
    assert found.metrics["protocol"]["measures"] == protocol.definitions(["psnr", *NAMES])
    for name in NAMES:
        assert metrics.get(name).definition in found.metrics["protocol"]["measures"]
    assert "| 90 % half-width [levels] (less is better) |" in (tmp_path / "table.md").read_text()


def test_evaluate_without_any_half_width_is_refused(tmp_path):
    flags = ["bicubic", "--output", str(tmp_path / "out"), "--measures", "psnr", "coverage"]
    with pytest.raises(InputError, match=r"coverage needs a model with a calibrated half-width. Received: bicubic"):
        evaluate.run(evaluate._parser().parse_args(flags))
    assert not (tmp_path / "out").exists()


def test_call_without_a_half_width_is_refused_by_name():
    flat = np.zeros((4, 4, 1))
    with pytest.raises(ValueError, match="coverage needs `half_width`"):
        metrics.get("coverage")(flat, flat, 255)
    with pytest.raises(ValueError, match="psnr takes no `half_width`"):
        metrics.get("psnr")(flat, flat, 255, flat)
