"""The calibrated half-width: groups by steepness (T-13), the card's field, levels, files that belong together."""

import numpy as np
import pytest
from scipy import ndimage

from tfmisr.edge import card as model_card
from tfmisr.edge import half_width, shipped, uncertainty
from tfmisr.edge.errors import InputError
from tfmisr.edge.half_width import Groups, HalfWidth

GROUPS = Groups(1, (0.1, 0.2), (0.4, 0.6))
FACTORS = {"edges": 1.5, "letters": 3.0}


class Head:
    """A head whose scale is 0.01 everywhere."""

    def scale_map(self, lr, sr, max_val=1.0):
        return np.full(sr.shape, 0.01, np.float32)


def card(groups=GROUPS, **levels):
    level = {"multiplier": 2.0, "factors": FACTORS}
    calibration = {"delta": 0.1, "confidence": None, "patients": 57}
    field = {"groups": groups and groups.to_card(), "levels": levels or {"0.1": level}, "calibration": calibration}
    return {"uncertainty": field, "weights_sha256": "a" * 64, "name": "net"}


def test_steepness_is_the_largest_step_in_the_window():
    image = np.random.default_rng(0).random((1100, 40, 3)).astype(np.float32)  # more rows than a strip
    steps = np.zeros(image.shape[:2], np.float32)
    for channel in np.moveaxis(image, 2, 0):
        steps[:, :-1] = np.maximum(steps[:, :-1], abs(channel[:, 1:] - channel[:, :-1]))
        steps[:-1] = np.maximum(steps[:-1], abs(channel[1:] - channel[:-1]))
    for radius in (1, 2):
        expected = ndimage.maximum_filter(steps, 2 * radius + 1, mode="constant")
        np.testing.assert_allclose(Groups(radius, (0, 1), (2, 3)).steepness(image), expected, atol=1e-6)


def test_steepness_of_levels_is_that_of_fractions():
    levels = np.random.default_rng(0).integers(0, 4096, (30, 20, 1), np.uint16)
    np.testing.assert_allclose(
        GROUPS.steepness(levels, 4095), GROUPS.steepness((levels / 4095).astype(np.float32)), atol=1e-6
    )


def test_factor_is_interpolated_between_groups_t13():
    steepness = np.array([[0, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0]], np.float32)
    expected = [[1, 1, 1.25, 1.5, 1.5, 1.5, 2.25, 3, 3]]
    np.testing.assert_allclose(GROUPS.factor(steepness, FACTORS), expected, rtol=1e-6)


def test_half_width_is_multiplier_factor_and_scale():
    sr = np.zeros((8, 12, 1), np.float32)
    sr[:, 8:] = 1.0  # one edge of full height, between columns 7 and 8: columns 6 to 8 are within one pixel
    width = HalfWidth.from_card(Head(), card(), 0.1)(sr[::2, ::2], sr)
    expected = np.full((8, 12, 1), 0.02)
    expected[:, 6:9] *= 3
    np.testing.assert_allclose(width, expected, rtol=1e-6)
    assert width.dtype == np.float32


def test_without_groups_there_is_one_multiplier():
    sr = np.random.default_rng(0).random((8, 8, 1))
    assert np.allclose(HalfWidth.from_card(Head(), card(groups=None), 0.1)(sr, sr), 0.02)


def test_statement_names_alpha_delta_multiplier_and_patients():
    text = HalfWidth.from_card(Head(), card(), 0.1).statement
    assert "alpha 0.1, delta 0.1, multiplier 2" in text and "57" in text and text.count(".") == text.count("0.") + 1
    assert "on average over calibrations" in text
    sure = card()
    sure["uncertainty"]["calibration"]["confidence"] = 0.9
    assert "90% confidence in this calibration" in HalfWidth.from_card(Head(), sure, 0.1).statement


def test_level_that_is_not_calibrated_is_refused_with_those_that_are_t15():
    level = {"multiplier": 1.0, "factors": FACTORS}
    known = card(**{"0.32": level, "0.05": level})
    with pytest.raises(InputError, match=r"calibrated levels 0.05, 0.32. Received: 0.1"):
        HalfWidth.of("net.tflite", known, 0.1)


def test_model_without_calibration_has_none():
    for field in (None, {"head": {"weights_sha256": "b" * 64}}):
        assert HalfWidth.of("net.tflite", {"uncertainty": field}) is None


def test_calibrated_model_without_its_head_is_refused(tmp_path):
    with pytest.raises(InputError, match="missing; copy both files"):
        HalfWidth.of(tmp_path / "net.tflite", card())


def test_shipped_model_has_half_widths_of_its_own_head_only(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(shipped.path("fast-x4").read_bytes())
    fields = model_card.read(path)
    uncertainty.beside(path).write_bytes(uncertainty.beside(shipped.path("fast-x4")).read_bytes())
    found = HalfWidth.of(path, fields, 0.05)
    assert found.multiplier == fields["uncertainty"]["levels"]["0.05"]["multiplier"] and found.model == "fast-x4"
    uncertainty.beside(path).write_bytes(uncertainty.beside(shipped.path("fast-x2")).read_bytes())
    with pytest.raises(InputError, match="belongs to another model"):
        HalfWidth.of(path, fields, 0.05)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), "x", None])
def test_broken_field_is_refused(value):
    broken = card()
    broken["uncertainty"]["levels"]["0.1"]["multiplier"] = value
    with pytest.raises(InputError, match="broken field `uncertainty`"):
        HalfWidth.from_card(Head(), broken, 0.1)


def test_levels_are_sorted_numbers():
    assert list(half_width.levels(card(**{"0.32": {}, "0.05": {}}))) == [0.05, 0.32]
