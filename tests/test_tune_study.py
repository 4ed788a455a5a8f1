"""What a study says of its trials, against statsmodels and SciPy, and the report and plots that say it."""

import math

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from tfmisr.edge.errors import InputError
from tfmisr.tuning import parameter_study_plots, parameter_study_report, parameter_study_stability
from tfmisr.tuning import parameter_study_statistics as statistics
from tfmisr.tuning.parameter_study_table import ParameterStudy, read

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
    return read(write(tmp_path / "study.csv"), "val_psnr")


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
    study = ParameterStudy({"a": [1, 2], "b": [1, 2, 3], "c": [0, 5]}, settings, {}, 4, [])
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
        study = ParameterStudy({"a": [0, 1, 2], "b": [0, 1, 2]}, settings, {}, 3, [])
        false += min(statistics.holm([c.p for *_, c in statistics.comparisons(study)])) < 0.05
    assert false <= 20  # 5 % are 10; 20 or more have a chance of 0.3 %


def test_missing_setting_leaves_the_comparisons_that_are_fair(tmp_path):
    scores = {k: v for k, v in SCORES.items() if k != (8, 0.01)} | {(16, 0.001): [30.6]}
    study = read(write(tmp_path / "study.csv", scores), "val_psnr")
    assert statistics.variance(study) is None
    found = {(factor, a, b): c.estimate for factor, a, b, c in statistics.comparisons(study)}
    # Of the filters only the rate 0.003 is left, of 0.001 and 0.003 only 8 filters, of 0.003 and 0.01 only 16.
    assert set(found) == {("filters", 8, 16), ("rate", 0.001, 0.003), ("rate", 0.003, 0.01)}
    assert found["filters", 8, 16] == pytest.approx(32.1 - 31.0333333)


def test_front_holds_what_nothing_cheaper_equals():
    settings = {(i,): np.array([score]) for i, score in enumerate([30.0, 30.0, 31.0, 30.5, 32.0])}
    costs = {(i,): {"parameters": cost} for i, cost in enumerate([1, 2, 3, 4, 5])}
    study = ParameterStudy({"a": [0, 1, 2, 3, 4]}, settings, costs, 1, [])
    assert statistics.pareto_front(study, "parameters") == [(0,), (2,), (4,)]
    less = ParameterStudy({"a": [0, 1, 2, 3, 4]}, settings, costs, 1, [], "min")
    assert statistics.pareto_front(less, "parameters") == [(0,)]


def test_report_says_which_differences_the_seeds_do_not_explain(tmp_path, capsys):
    failed = (
        '18,failed,8,0.1,mae,0,,,,,"the loss became nan | at step 3"\n19,over,99,0.1,mae,0,,,9999,9,over the limit\n'
    )
    table = write(tmp_path / "study.csv", extra=failed)
    assert parameter_study_report.main([str(table)]) == 0
    text = (tmp_path / "report.md").read_text()
    best = "Best setting: filters 16, rate 0.003 with val_psnr 32.1000, mean of 3 seeds, 31.9000 to 32.4000."
    assert best in text and text.splitlines()[2] == "6 settings, 3 seeds, 2 trials not completed."
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


@pytest.fixture
def drawn(monkeypatch):
    """Collects the figures that are drawn, instead of writing them."""
    figures = []
    monkeypatch.setattr(parameter_study_plots, "_write", lambda figure, path: figures.append(figure))
    return figures


def boxes(figure, texts):
    """Returns the places of texts that are shown, in pixels."""
    figure.canvas.draw()
    return [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]


def are_apart(found):
    return not any(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])


@pytest.mark.parametrize(
    "rates",
    [
        [1e-4, 3e-4, 1e-3, 3e-3],
        [2.9655e-4, 2.8406e-4, 1.3893e-3, 3.8608e-3, 8.1671e-3],
        np.geomspace(1, 12, 10),
        np.geomspace(1e-5, 1e-2, 10),
    ],
)
def test_values_below_the_effects_can_be_read(drawn, rates):
    study = ParameterStudy({"rate": sorted(rates)}, {(rate,): np.array([30.0]) for rate in rates}, {}, 1, [])
    parameter_study_plots.effects(study, "val_psnr", None)
    drawn[0].canvas.draw()
    panel = drawn[0].axes[0]
    low, high = panel.get_xlim()
    labels = [t.label1 for t in panel.xaxis.get_major_ticks() if low <= t.get_loc() <= high]
    assert len(labels) > 1 and are_apart(boxes(drawn[0], labels))
    assert panel.get_xscale() == "log" and panel.get_xlabel() == "rate"


LOSSES = ["mae", "charbonnier + 0.1*ms_ssim(scales=2)", "mae + 0.05*perceptual(layers=conv5_4)", "mse"]


def test_long_words_do_not_hide_one_another(drawn):
    settings = {(loss, 0.00123456 * 10**i): np.array([30.0 + i]) for i, loss in enumerate(LOSSES)}
    costs = {s: {"parameters": 10**i, "multiply_adds": 10**i} for i, s in enumerate(settings, 3)}
    factors = {"loss": LOSSES, "rate": [s[1] for s in settings]}
    study = ParameterStudy(factors, settings, costs, 1, [])
    parameter_study_plots.effects(study, "val_psnr", None)
    parameter_study_plots.pareto(study, "val_psnr", None)
    words = drawn[0].axes[0].get_xticklabels()
    assert [word.get_text().replace("\n", " ") for word in words] == LOSSES
    assert all(word.get_rotation() == 30 for word in words) and "\n" in words[1].get_text()
    for panel in drawn[1].axes:
        assert [text.get_text() for text in panel.texts] == ["1", "2", "3", "4"]  # rows of the report's table
        assert panel.get_window_extent().width > 400


def test_two_at_a_time_have_the_intervals_of_their_means(drawn, study):
    parameter_study_plots.interactions(study, "val_psnr", None)
    panel = drawn[0].axes[0]
    _, _, (bars,) = panel.containers[0].lines
    low, high = (y for _, y in bars.get_segments()[0])
    # The only setting of 8 filters and the first rate.
    half = stats.t.ppf(0.975, 2) * np.std([30.1, 30.4, 30.2], ddof=1) / math.sqrt(3)
    assert panel.get_legend_handles_labels()[1] == ["0.001", "0.003", "0.01"] and panel.get_xlabel() == "filters"
    np.testing.assert_allclose([low, high], [90.7 / 3 - half, 90.7 / 3 + half], rtol=1e-6)
    low, high = panel.get_xlim()
    assert low < 8 < 16 < high  # the lines stand a little aside of their values


def test_report_holds_the_scores_against_bicubic_and_tells_of_similarity(tmp_path):
    lines = write(tmp_path / "study.csv").read_text().splitlines()
    lines[0] += ",bicubic_psnr,val_ssim"
    lines[1:] = [f"{line},31.0,{0.9 + i % 6 // 3 / 100 + i / 1e5}" for i, line in enumerate(lines[1:])]
    (tmp_path / "study.csv").write_text("\n".join(lines) + "\n")
    parameter_study_report.write(tmp_path / "study.csv", "val_psnr", "max")
    text = (tmp_path / "report.md").read_text()
    # Means: 30.2333, 31.0333, 30.9333, 30.6667, 32.1, 31.4.
    assert "crops: 31.0000; 3 of 6 settings are above it (differences from -0.7667 to +1.1000)." in text
    similarity = text.partition("## Effect of each parameter on structural similarity")[2].partition("## Interactions")[
        0
    ]
    assert "| filters | 8 to 16 | +0.0100 (" in similarity
    assert parameter_study_report.bicubic_comparison(tmp_path / "study.csv", "val_psnr", "max") in text
    parameter_study_report.main([str(tmp_path / "study.csv"), "--objective", "val_ssim"])
    assert (tmp_path / "report.md").read_text().startswith("# val_ssim: 18 trials")


def test_best_setting_of_which_a_seed_failed_says_so(tmp_path):
    scores = {**SCORES, (16, 0.003): [32.0, 32.4]}
    parameter_study_report.write(write(tmp_path / "study.csv", scores), "val_psnr", "max")
    text = (tmp_path / "report.md").read_text()
    assert "mean of 2 seeds, 32.0000 to 32.4000; 1 of the 3 seeds was not completed with it." in text


@pytest.mark.parametrize(
    "bicubic,expected",
    [
        (
            "35.0",
            "of the same crops: 35.0000; none of 6 settings is above it (differences from -4.7667 to",
        ),
        ("32.0", "32.0000; 1 of 6 settings is above it (differences from -1.7667 to +0.1000)."),
        ("inf", ""),  # of blank crops, as an earlier version wrote it
        ("", ""),
    ],
)
def test_report_says_where_no_setting_beats_bicubic(tmp_path, bicubic, expected):
    lines = write(tmp_path / "study.csv").read_text().splitlines()
    lines = [lines[0] + ",bicubic_psnr", *(f"{line},{bicubic}" for line in lines[1:])]
    (tmp_path / "study.csv").write_text("\n".join(lines) + "\n")
    said = parameter_study_report.bicubic_comparison(tmp_path / "study.csv", "val_psnr", "max")
    assert expected in said and bool(said) is bool(expected)
    parameter_study_report.write(tmp_path / "study.csv", "val_psnr", "max")
    assert said in (tmp_path / "report.md").read_text()


def test_two_at_a_time_are_drawn_of_grids_alone(tmp_path):
    scores = {(8 + i, 0.001 * 2**i): [30.0 + i] for i in range(5)}
    names = {
        path.name for path in parameter_study_report.write(write(tmp_path / "study.csv", scores), "val_psnr", "max")
    }
    assert names == {"report.md", "pareto.png", "effects.png"}


def test_study_without_repeats_makes_no_claim_about_noise(tmp_path):
    table = write(tmp_path / "study.csv", {k: v[:1] for k, v in SCORES.items()})
    parameter_study_report.write(table, "val_psnr", "max")
    text = (tmp_path / "report.md").read_text()
    assert "the variance of seeds is unknown" in text and "yes" not in text


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "trial,status,seed,val_psnr,parameters,multiply_adds,reason\n"])
def test_file_that_is_no_study_is_told(tmp_path, content):
    (tmp_path / "study.csv").write_text(content)
    with pytest.raises(InputError, match="study.csv"):
        parameter_study_report.write(tmp_path / "study.csv", "val_psnr", "max")


def test_short_trials_that_went_on_are_no_repeats(tmp_path):
    head = "trial,status,rate,seed,steps,val_psnr,parameters,multiply_adds,reason\n"
    rows = ["0,completed,0.1,0,3,30.0,9,9,", "1,completed,0.2,0,3,29.0,9,9,", "2,completed,0.1,0,6,36.0,9,9,"]
    (tmp_path / "study.csv").write_text(head + "\n".join(rows) + "\n")
    study = read(tmp_path / "study.csv", "val_psnr")
    assert {s: scores.tolist() for s, scores in study.settings.items()} == {(0.1,): [36.0], (0.2,): [29.0]}
    parameter_study_report.write(tmp_path / "study.csv", "val_psnr", "max")
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# val_psnr: 3 trials\n")
    assert "Runs of 3 to 6 steps; 1 shorter, which longer ones continued, left out." in text


@pytest.mark.parametrize(
    "row",
    ["0,completed,1,0,much,9,9,", "0,completed,1,0,nan,9,9,", "0,completed,1,0,30.0,few,9,", "0,completed,1,0,30"],
)
def test_study_with_a_broken_row_is_told(tmp_path, row):
    head = "trial,status,a,seed,val_psnr,parameters,multiply_adds,reason\n"
    (tmp_path / "study.csv").write_text(f"{head}{row}\n")
    with pytest.raises(InputError, match="trial 0 in .*study.csv"):
        parameter_study_report.write(tmp_path / "study.csv", "val_psnr", "max")


def test_study_in_which_nothing_was_completed_is_told(tmp_path):
    head = "trial,status,a,seed,val_psnr,parameters,multiply_adds,reason\n"
    (tmp_path / "study.csv").write_text(head + "0,failed,1,0,,,,broken\n")
    with pytest.raises(InputError, match="no trial in .* was completed"):
        parameter_study_report.write(tmp_path / "study.csv", "val_psnr", "max")


LONGER = {
    (8, 0.001): [31.1, 31.4, 31.2],
    (8, 0.003): [31.9, 32.2, 31.7],
    (8, 0.01): [31.3, 31.5, 31.8],
    (16, 0.001): [32.9, 32.8, 33.2],
    (16, 0.003): [32.8, 33.2, 32.7],
    (16, 0.01): [32.0, 32.5, 32.4],
}


@pytest.fixture
def longer(tmp_path):
    path = write(tmp_path / "longer.csv", LONGER)
    path.write_text(path.read_text().replace(",20,", ",40,"))
    return path


def test_stability_compares_the_conclusions_of_two_lengths(study, longer):
    found = parameter_study_stability.compare(study, read(longer, "val_psnr"))
    assert found.steps == (20, 40)
    # By hand: ranks of the means 30.233, 31.033, 30.933, 30.667, 32.1, 31.4 and 31.233, 31.933, 31.533, 32.967, 32.9,
    # 32.3 are 1 4 3 2 6 5 and 1 3 2 6 5 4, so 1 - 6 (0 + 1 + 1 + 16 + 1 + 1) / (6 * 35).
    assert found.rank_correlation == pytest.approx(1 - 6 * 20 / 210)
    np.testing.assert_allclose(found.changes, ((1 + 0.9 + 0.6 + 2.3 + 0.8 + 0.9) / 6, 0.6, 2.3), atol=1e-12)
    assert found.spread == pytest.approx(32.9666667 - 31.2333333)
    same = {(d.factor, *d.levels): d.same for d in found.differences}
    # Welch's p, Holm: only the shorter study finds 0.001 below 0.01 (mean differences 0.717 and -0.183).
    assert same == {
        ("filters", 8, 16): True,
        ("rate", 0.001, 0.003): False,
        ("rate", 0.001, 0.01): False,
        ("rate", 0.003, 0.01): True,
    }


def test_report_has_the_stability_against_shorter_runs(tmp_path, longer):
    shorter = write(tmp_path / "shorter.csv")
    assert parameter_study_report.main([str(longer), "--shorter", str(shorter)]) == 0
    section = (tmp_path / "report.md").read_text().split("## Stability\n")[1].split("\n## ")[0]
    assert "for 2 of 4 differences" in section and "rank correlation of the settings is 0.43" in section
    row = next(line for line in section.splitlines() if line.startswith("| filters | 8 to 16 |"))
    assert row.count(" *") == 2 and row.endswith("| yes |")


def test_shorter_study_has_to_be_the_same_grid_in_shorter_runs(tmp_path, study, longer):
    with pytest.raises(InputError, match="fewer steps"):
        parameter_study_stability.compare(read(longer, "val_psnr"), study)
    other = write(tmp_path / "other.csv", {s: v for s, v in SCORES.items() if s[1] != 0.01})
    with pytest.raises(InputError, match="same settings"):
        parameter_study_stability.compare(read(other, "val_psnr"), read(longer, "val_psnr"))
