"""The card's field `consistency` of new files follows from the degradation of the run (T-01, T-04)."""

import numpy as np
import pytest
from tiny_network import picture, tiny_network

from tfmisr import degradations
from tfmisr.classical import operators
from tfmisr.edge.consistency import Consistency
from tfmisr.export import cards, consistency, convert


@pytest.mark.parametrize("text", ["bicubic", "bicubic(rounding=pillow8)"])
@pytest.mark.parametrize("scale,iterations", [(2, 2), (4, 3), (8, 3)])
def test_bicubic_degradation_has_the_recipe_of_the_shipped_models(text, scale, iterations):
    fields, reason = consistency.describe(degradations.make(text, scale=scale), scale)
    assert (fields["operator"], fields["iterations"], reason) == ("bicubic", iterations, "")
    assert (fields["dead_zone"], fields["noise"], len(fields["taps"])) == (0.25, 0.0, 7)


@pytest.mark.parametrize("text,scale", [("xray", 2), ("xray", 4), ("ct", 2), ("ct", 3), ("ultrasound", 4), ("oct", 4)])
def test_operator_with_noise_reproduces_the_noiseless_degradation(text, scale):
    # T-04: the dead zone is the standard deviation of the noise.
    degradation = degradations.make(text, scale=scale)
    fields, reason = consistency.describe(degradation, scale)
    correction = Consistency.from_card(fields, scale)
    assert not reason and correction.threshold(65535) == fields["noise"]
    assert fields["noise"] == pytest.approx(operators.noise_level(degradation), abs=1e-6)
    hr = picture(30 * scale, 41 * scale)
    expected = operators.reduce(operators.without_noise(degradation), hr)[..., 0]
    np.testing.assert_allclose(correction.operator.reduce(hr[..., 0]), expected, rtol=0, atol=1e-3)


def test_noisy_image_within_its_noise_is_not_changed():
    degradation = degradations.make("xray", scale=2)
    correction = Consistency.from_card(consistency.describe(degradation, 2)[0], 2)
    hr = np.full((60, 60, 1), 0.5, np.float32)
    noise = correction.noise * np.random.default_rng(0).uniform(-0.9, 0.9, (30, 30, 1)).astype(np.float32)
    np.testing.assert_array_equal(correction.correct(hr.copy(), 0.5 + noise, 255), hr)


@pytest.mark.parametrize(
    "text,scale,reason",
    [
        ("mr", 2, "no operator"),
        ("ultrasound", 2, "no operator"),
        ("real_world", 4, "drawn at random for each image"),
        ("blind_xray", 2, "drawn at random"),
        ("jpeg", 2, "compressed with losses"),
        ("unsharp", 2, "no operator"),
    ],
)
def test_unknown_operator_has_no_consistency_and_the_card_says_so(text, scale, reason):
    # T-04: ultrasound at the scale 2 blurs over more than a low-resolution pixel, which has no inverse.
    degradation = degradations.make(text, scale=scale)
    found = consistency.describe(degradation, scale)
    assert found[0] is None and reason in found[1]
    subgraph = convert.exported_subgraph(tiny_network(scale=scale), "float32")
    card = cards.describe("m", "float32", subgraph, scale, 32, 8, {}, degradation=degradation)
    assert card["consistency"] is None
    assert card["limits"][-1].startswith("Results are not corrected to agree with the input: ")
    known = cards.describe("m", "float32", subgraph, scale, 32, 8, {}, degradation=degradations.make(scale))
    assert known["consistency"]["operator"] == "bicubic" and not any("corrected" in limit for limit in known["limits"])
