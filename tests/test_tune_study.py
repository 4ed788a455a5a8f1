"""What a study says of its trials, against statsmodels and SciPy, and the report and plots that say it."""

import math

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from tfmisr.edge.errors import InputError
from tfmisr.tuning import study_report
from tfmisr.tuning import study_statistics as statistics

SCORES = {
    (8, 0.001): [30.1, 30.4, 30.2],
    (8, 0.003): [31.0, 31.3, 30.8],
    (8, 0.01): [30.7, 30.9, 31.2],
    (16, 0.001): [30.6, 30.5, 30.9],
    (16, 0.003): [32.0, 32.4, 31.9],
    (16, 0.01): [31.1, 31.6, 31.5],
}


def write(path, scores=SCORES, extra=""):
    """Writes a study.csv of these scores, seed by seed, as a sweep does."""
    lines, trial = ["trial,status,filters,rate,fixed,seed,steps,val_psnr,parameters,multiply_adds,reason"], 0
    for seed in range(max(map(len, scores.values()))):
        for (filters, rate), own in scores.items():
            if seed < len(own):
                cost = f"{100 * filters},{7000 * filters}"
                lines.append(f"{trial},completed,{filters},{rate},mae,{seed},20,{own[seed]},{cost},")
                trial += 1
    path.write_text("\n".join(lines) + "\n" + extra)
    return path


@pytest.fixture
def study(tmp_path):
    return statistics.read(write(tmp_path / "study.csv"), "val_psnr")


def test_table_is_read_as_settings_with_their_seeds(study):
    assert study.factors == {"filters": [8, 16], "rate": [0.001, 0.003, 0.01]}
    assert study.seeds == 3 and study.left_out == []
    assert study.settings[16, 0.003].tolist() == [32.0, 32.4, 31.9]
    assert study.costs[8, 0.01] == {"parameters": 800.0, "multiply_adds": 56000.0}
    assert study.best() == (16, 0.003)


def test_difference_of_two_settings_is_welchs_test(study):
    a, b = study.settings[8, 0.001], study.settings[16, 0.003]
    found = statistics.contrast(study.settings, {(16, 0.003): 1.0, (8, 0.001): -1.0})
    expected = stats.ttest_ind(b, a, equal_var=False)
    interval = expected.confidence_interval(0.95)
    np.testing.assert_allclose(
        (found.estimate, found.p, found.df, found.low, found.high),
        (b.mean() - a.mean(), expected.pvalue, expected.df, interval.low, interval.high),
        rtol=1e-12,
    )


def test_difference_of_levels_is_the_mean_over_the_other_factor(study):
    found = {(factor, a, b): c for factor, a, b, c in statistics.comparisons(study)}
    assert len(found) == 1 + 3
    # By hand: cell means 30.2333, 31.0333, 30.9333 and 30.6667, 32.1, 31.4.
    assert found["filters", 8, 16].estimate == pytest.approx((0.4333333 + 1.0666667 + 0.4666667) / 3)
    # Variances 7/300, 19/300, 19/300 and 13/300, 7/100, 7/100, each over 3 seeds and 9 for the mean of three.
    variance = (7 + 19 + 19 + 13 + 21 + 21) / 300 / 27
    half = found["filters", 8, 16].high - found["filters", 8, 16].estimate
    assert half == pytest.approx(stats.t.ppf(0.975, found["filters", 8, 16].df) * math.sqrt(variance))
    # Satterthwaite: the square of the sum over the sum of squares, two degrees of freedom each.
    squares = 7**2 + 19**2 + 19**2 + 13**2 + 21**2 + 21**2
    assert found["filters", 8, 16].df == pytest.approx(100**2 / (squares / 2))


def test_analysis_of_variance_is_that_of_statsmodels(study):
    sources, noise = statistics.variance(study)
    # statsmodels 0.14, anova_lm(ols("v ~ C(f) * C(l)"), typ=2) on the same numbers.
    total = 6.822777777777774
    expected = [
        (("filters",), 1.933888888888859 / total, 1, 34.81, 7.25278449502513e-05),
        (("rate",), 3.8411111111111693 / total, 2, 34.57, 1.0463511502780784e-05),
        (("filters", "rate"), 0.38111111111109525 / total, 2, 3.43, 0.06634945286026003),
    ]
    for source, (factors, share, df, f, p) in zip(sources, expected, strict=True):
        assert (source.factors, source.df) == (factors, df)
        np.testing.assert_allclose((source.share, source.f, source.p), (share, f, p), rtol=1e-9)
    assert noise == pytest.approx(0.23570226039551548)


def test_three_factors_share_out_the_whole_variance():
    rng = np.random.default_rng(0)
    settings = {(a, b, c): rng.normal(a * b + c, 1, 4) for a in (1, 2) for b in (1, 2, 3) for c in (0, 5)}
    study = statistics.Study({"a": [1, 2], "b": [1, 2, 3], "c": [0, 5]}, settings, {}, 4, [])
    sources, noise = statistics.variance(study)
    scores = np.array(list(settings.values()))
    within = ((scores - scores.mean(1, keepdims=True)) ** 2).sum()
    assert sum(s.share for s in sources) + within / ((scores - scores.mean()) ** 2).sum() == pytest.approx(1)
    assert sum(s.df for s in sources) == 11 and noise == pytest.approx(math.sqrt(within / 36))


def test_holm_adjusts_as_statsmodels_does():
    # statsmodels 0.14, multipletests([...], method="holm"), and by hand.
    np.testing.assert_allclose(statistics.holm([0.01, 0.04, 0.03, 0.005, 0.5]), [0.04, 0.09, 0.09, 0.025, 0.5])
    assert statistics.holm([]) == []


def test_pure_noise_is_hardly_ever_called_an_effect():
    rng, false = np.random.default_rng(0), 0
    for _ in range(200):
        settings = {(a, b): rng.normal(0, 1 + a, 3) for a in range(3) for b in range(3)}
        study = statistics.Study({"a": [0, 1, 2], "b": [0, 1, 2]}, settings, {}, 3, [])
        false += min(statistics.holm([c.p for *_, c in statistics.comparisons(study)])) < 0.05
    assert false <= 20  # 5 % are 10; 20 or more have a chance of 0.3 %


def test_missing_setting_leaves_the_comparisons_that_are_fair(tmp_path):
    scores = {k: v for k, v in SCORES.items() if k != (8, 0.01)} | {(16, 0.001): [30.6]}
    study = statistics.read(write(tmp_path / "study.csv", scores), "val_psnr")
    assert statistics.variance(study) is None
    found = {(factor, a, b): c.estimate for factor, a, b, c in statistics.comparisons(study)}
    # Of the filters only the rate 0.003 is left, of 0.001 and 0.003 only 8 filters, of 0.003 and 0.01 only 16.
    assert set(found) == {("filters", 8, 16), ("rate", 0.001, 0.003), ("rate", 0.003, 0.01)}
    assert found["filters", 8, 16] == pytest.approx(32.1 - 31.0333333)


def test_front_holds_what_nothing_cheaper_equals():
    settings = {(i,): np.array([score]) for i, score in enumerate([30.0, 30.0, 31.0, 30.5, 32.0])}
    costs = {(i,): {"parameters": cost} for i, cost in enumerate([1, 2, 3, 4, 5])}
    study = statistics.Study({"a": [0, 1, 2, 3, 4]}, settings, costs, 1, [])
    assert statistics.front(study, "parameters") == [(0,), (2,), (4,)]
    less = statistics.Study({"a": [0, 1, 2, 3, 4]}, settings, costs, 1, [], "min")
    assert statistics.front(less, "parameters") == [(0,)]


def test_report_says_which_differences_the_seeds_do_not_explain(tmp_path, capsys):
    failed = (
        '18,failed,8,0.1,mae,0,,,,,"the loss became nan | at step 3"\n19,over,99,0.1,mae,0,,,9999,9,over the limit\n'
    )
    table = write(tmp_path / "study.csv", extra=failed)
    assert study_report.main([str(table)]) == 0
    text = (tmp_path / "report.md").read_text()
    assert "Best: filters 16, rate 0.003 with val_psnr 32.1000, 31.9000 to 32.4000 over 3 seeds." in text
    lines = {line.split(" | ")[0] + line.split(" | ")[1]: line for line in text.splitlines() if " | " in line}
    assert "+0.6556 (+0.4" in lines["| filters8 to 16"] and lines["| filters8 to 16"].endswith("| yes |")
    assert lines["| filters x rate5.6 %"].endswith("| no |")
    assert "| 18 | failed | the loss became nan / at step 3 |" in text
    assert "fixed" not in text  # one value is no parameter
    names = ["report.md", "pareto.png", "effects.png", "interactions.png"]
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in names]
    for name in names[1:]:
        picture = np.asarray(Image.open(tmp_path / name).convert("L"))
        assert picture.shape[0] > 300 and (picture < 128).mean() > 0.003


def test_study_without_repeats_makes_no_claim_about_noise(tmp_path):
    table = write(tmp_path / "study.csv", {k: v[:1] for k, v in SCORES.items()})
    study_report.write(table, "val_psnr", "max")
    text = (tmp_path / "report.md").read_text()
    assert "the noise of seeds is not known" in text and "yes" not in text


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "trial,status,seed,val_psnr,parameters,multiply_adds,reason\n"])
def test_file_that_is_no_study_is_told(tmp_path, content):
    (tmp_path / "study.csv").write_text(content)
    with pytest.raises(InputError, match="study.csv"):
        study_report.write(tmp_path / "study.csv", "val_psnr", "max")


def test_study_in_which_nothing_was_completed_is_told(tmp_path):
    head = "trial,status,a,seed,val_psnr,parameters,multiply_adds,reason\n"
    (tmp_path / "study.csv").write_text(head + "0,failed,1,0,,,,broken\n")
    with pytest.raises(InputError, match="no trial in .* was completed"):
        study_report.write(tmp_path / "study.csv", "val_psnr", "max")
