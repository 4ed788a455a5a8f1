"""Expected numbers: R's ordinal::clmm and MASS::polr, from tests/oracles/ordinal.R."""

import numpy as np
import pytest

from tfmisr.reader_study.statistics import influence, ordinal
from tfmisr.reader_study.statistics.laplace import MarginalLikelihood, Terms


def arithmetic_scores(readers=5, cases=40, arms=4):
    """The data set of tests/oracles/ordinal.R: score, arm, reader and case, without a random number."""
    reader, case, arm = (v.ravel() for v in np.meshgrid(*map(range, (readers, cases, arms)), indexing="ij"))
    noise = (arm * 7919 + case * 104729 + reader * 1299709 + arm * case * 31 + case * reader * 17) % 997 + 0.5
    latent = np.array([0, 0.4, 1.3, 1.9])[arm] + np.array([-0.6, 0.1, 0.5, -0.2, 0.3])[reader]
    latent = latent + 1.2 * np.sin(3 * case + 1) + 0.7 * np.cos(5 * case + 2 * arm) + np.log(noise / (997 - noise))
    return 1 + sum((latent > cut).astype(int) for cut in (-2, -0.5, 1, 2.5)), arm, reader, case


def test_data_set_is_that_of_the_oracle():
    score, arm, _, _ = arithmetic_scores()
    expected = [[31, 55, 53, 39, 22], [24, 41, 58, 48, 29], [6, 30, 48, 56, 60], [6, 18, 35, 66, 75]]
    assert [np.bincount(score[arm == i], minlength=6)[1:].tolist() for i in range(4)] == expected


def test_r19_model_of_readers_and_cases_agrees_with_clmm():
    found = ordinal.fit(*arithmetic_scores())
    np.testing.assert_allclose(found.thresholds, [-1.9519355, -0.3625874, 0.9466764, 2.3913657], atol=2e-5)
    np.testing.assert_allclose(found.effects, [0, 0.4015934, 1.3842075, 1.8572607], atol=2e-5)
    errors = np.sqrt(np.diag(found.covariance))
    np.testing.assert_allclose(errors, [0, 0.1815218, 0.1870643, 0.1911682], rtol=1e-3)
    np.testing.assert_allclose(found.deviations["reader"] ** 2, 0.1175571, atol=2e-5)
    np.testing.assert_allclose(found.deviations["case"] ** 2, 0.5841594, atol=1e-4)
    np.testing.assert_allclose(found.log_likelihood, -1147.8640975, atol=1e-5)


def test_model_with_effects_within_arms_agrees_with_clmm():
    found = ordinal.fit(*arithmetic_scores(), by_arm=True)
    np.testing.assert_allclose(found.effects, [0, 0.4282446, 1.4854270, 2.0127463], atol=1e-4)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance))[1:], [0.2501182, 0.2553792, 0.2613727], rtol=1e-3)
    variances = [found.deviations[term] ** 2 for term in ("reader", "case", "case:arm")]
    np.testing.assert_allclose(variances, [0.1500082, 0.5859875, 0.5751294], atol=2e-4)
    assert found.deviations["reader:arm"] == 0  # at the boundary: clmm was given the model without it
    np.testing.assert_allclose(found.log_likelihood, -1136.9578400, atol=1e-4)


def test_r22_missing_answers_agree_with_clmm():
    score, arm, reader, case = arithmetic_scores()
    kept = ((case + 1) * 3 + (reader + 1) * 5 + arm + 1) % 7 != 0
    found = ordinal.fit(score[kept], arm[kept], reader[kept], case[kept])
    assert len(found.levels) == 686
    np.testing.assert_allclose(found.effects, [0, 0.3334142, 1.4074442, 1.8286058], atol=5e-5)
    np.testing.assert_allclose(found.deviations["case"] ** 2, 0.6479879, atol=1e-4)


def test_one_reader_and_one_case_leave_the_model_of_polr():
    score, arm, *_ = arithmetic_scores()
    nothing = np.zeros(len(arm), int)
    found = ordinal.fit(score, arm, nothing, nothing)
    assert found.deviations == {}
    np.testing.assert_allclose(found.thresholds, [-1.7386963, -0.2984953, 0.8564532, 2.1382220], atol=1e-5)
    np.testing.assert_allclose(found.effects[1:], [0.3858630, 1.2416978, 1.6699053], atol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance))[1:], [0.1791856, 0.1835257, 0.1871729], rtol=1e-4)
    np.testing.assert_allclose(found.log_likelihood, -1188.0115104, atol=1e-6)


def test_contrast_of_two_arms_is_a_model_with_another_first_arm():
    score, arm, reader, case = arithmetic_scores(cases=20)
    value, error = ordinal.fit(score, arm, reader, case).contrast(3, 1)
    turned = ordinal.fit(score, (arm - 1) % 4, reader, case)
    np.testing.assert_allclose(turned.contrast(2, 0), (value, error), rtol=1e-4)


def test_unused_categories_change_nothing():
    score, arm, reader, case = arithmetic_scores(cases=15)
    first, second = ordinal.fit(score, arm, reader, case), ordinal.fit(10 * score, arm, reader, case)
    np.testing.assert_allclose(first.effects, second.effects)


def test_derivatives_are_those_of_the_likelihood():
    score, arm, reader, case = arithmetic_scores(3, 8, 2)
    inside = np.eye(2)[arm]

    def terms(index, variance):
        columns = np.hstack([np.ones((len(index), 1)), inside])
        return Terms(index, columns, np.array([variance, variance + 2, variance + 2]), int(index.max()) + 1)

    likelihood = MarginalLikelihood(score - 1, 5, inside[:, 1:], terms(reader, 0), terms(case, 1))

    def at(point):
        value, *parts = likelihood(point[:4], point[4:5], np.exp(point[5:]))
        return value, np.concatenate(parts)

    point = np.array([-2, -0.4, 0.9, 2.2, 0.5, -0.7, -0.2, -1.1, -0.5])
    steps = 1e-5 * np.eye(9)
    expected = [(at(point + step)[0] - at(point - step)[0]) / 2e-5 for step in steps]
    np.testing.assert_allclose(at(point)[1], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "scores, why",
    [
        ([3, 3, 3, 3, 3, 3, 3, 3], "all answers are equal"),
        ([1, 5, 1, 5, 1, 5, 1, 5], "no finite effect|no clear maximum"),
    ],
)
def test_answers_without_an_estimate_are_refused_with_the_reason(scores, why):
    with pytest.raises(ordinal.NotFitted, match=why):
        ordinal.fit(scores, [0, 1] * 4, [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 1, 1])


def test_pseudovalues_predict_the_effect_of_leaving_a_reader_and_case_out():
    score, arm, reader, case = arithmetic_scores(cases=30)
    fit = ordinal.fit(score, arm, reader, case)
    found = influence.pseudovalues(fit, arm, reader, case)
    assert found.shape == (4, 5, 30)
    foretold, seen = [], []
    for j, k in [(0, 3), (2, 11), (4, 20), (1, 29), (3, 7), (0, 17)]:
        kept = ~((reader == j) & (case == k))
        without = ordinal.fit(score[kept], arm[kept], reader[kept], case[kept])
        seen.append(fit.effects[1:] - without.effects[1:])
        foretold.append(found[1:, j, k] / found[0].size)
    # One step of Newton's method, variances held, against the whole way: the same but for some ten per cent.
    assert np.corrcoef(np.ravel(foretold), np.ravel(seen))[0, 1] > 0.98
    np.testing.assert_allclose(np.std(foretold), np.std(seen), rtol=0.15)


def test_pseudovalues_are_missing_where_answers_are():
    score, arm, reader, case = arithmetic_scores(3, 10, 2)
    kept = ~((reader == 1) & (case == 4))
    fit = ordinal.fit(score[kept], arm[kept], reader[kept], case[kept])
    found = influence.pseudovalues(fit, arm[kept], reader[kept], case[kept])
    assert np.isnan(found[:, 1, 4]).all() and np.isnan(found).sum() == 2
