"""Measurement bias: differences, areas, quantiles and widths of edges by hand."""

import math

import numpy as np
import pytest
from scipy import special

from tfmisr import metrics
from tfmisr.evaluation import statistics, summary, table

CT = 4095


def value(name, hr, sr, max_val=CT):
    return metrics.get(name)(np.asarray(hr, np.float64)[..., None], np.asarray(sr, np.float64)[..., None], max_val)


# T-48
def test_bias_by_window_and_area_in_hounsfield_units():
    hu = np.array([[-700.0, -700.0], [50.0, 300.0]])
    shifted = hu + [[10.0, 20.0], [-6.0, 100.0]]
    hr, sr = hu + 1024, shifted + 1024
    assert value("bias", hr, sr) == 31 and value("bias_spread", hr, sr) == pytest.approx(np.std([10, 20, -6, 100]))
    assert value("bias_lung", hr, sr) == pytest.approx((10 + 20 - 6) / 3)  # -1350 to 150 HU
    assert value("bias_soft_tissue", hr, sr) == -6  # -150 to 250 HU
    assert value("bias_bone", hr, sr) == pytest.approx((-6 + 100) / 2)  # -500 to 1300 HU
    assert value("area_bone", hr, np.full((2, 2), 1300.0)) == 300  # four pixels above 200 HU instead of one
    assert value("area_tissue", hr, hr - 600) == -50 and value("area_tissue", hr, hr) == 0.0
    for name in ("bias_lung", "area_bone"):
        assert math.isnan(value(name, hr, sr, 255))


def test_shift_of_quantiles():
    hr = np.arange(101.0).reshape(1, 101)
    assert value("shift_p5", hr, 2 * hr) == pytest.approx(5) and value("shift_p95", hr, 2 * hr) == pytest.approx(95)


@pytest.mark.parametrize("sigma", [0.8, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("turned", [False, True])
def test_blurred_edge_is_wider_by_the_full_width_at_half_maximum_of_the_gaussian(sigma, turned):
    def edge(sd):
        rows = np.tile(1000 + 500 * special.erf((np.arange(96) - 47.3) / sd / math.sqrt(2)), (96, 1))
        return rows.T if turned else rows

    expected = 2 * math.sqrt(2 * math.log(2)) * (sigma - 1)
    assert value("edge_width", edge(1.0), edge(sigma)) == pytest.approx(expected, abs=0.05)


def test_limits_of_agreement_over_patients_by_hand():
    # Patients' means 1, 2 and 6: mean 3, standard deviation sqrt(7).
    low, high = statistics.limits_of_agreement([0, 2, 2, 6], ["a", "a", "b", "c"])
    assert (low, high) == (pytest.approx(3 - 1.96 * math.sqrt(7)), pytest.approx(3 + 1.96 * math.sqrt(7)))
    assert all(map(math.isnan, statistics.limits_of_agreement([1, 2], [0, 0])))


def test_limits_of_agreement_in_the_results_and_the_table():
    rows = [{"id": str(i), "patient": i, "model": "net", "psnr": 30.0, "bias": b} for i, b in enumerate((1, 2, 6))]
    found = summary.summarize(rows, {"net": 10})
    assert found["net"]["bias_loa_high"] == pytest.approx(3 + 1.96 * math.sqrt(7))
    assert "psnr_loa_high" not in found["net"]
    text = table.markdown_table({"protocol": {}, "models": found})
    assert "| bias [levels, HU in CT] (95 % interval; limits of agreement) |" in text
    assert "; limits -2.186 to +8.186)" in text
