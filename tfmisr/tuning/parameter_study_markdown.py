"""The report of a parameter study as Markdown: effects, interactions, Pareto fronts, and the statistical method."""

from tfmisr.edge.text import counted
from tfmisr.tuning import parameter_study_statistics as statistics
from tfmisr.tuning.parameter_study_stability import Stability
from tfmisr.tuning.parameter_study_statistics import LEVEL
from tfmisr.tuning.parameter_study_table import ParameterStudy

_METHOD = """\
Means have 95 % confidence intervals. A difference compares the means over all settings that exist for both levels; its
variance is computed from the variance between seeds within each setting, not pooled (Welch; degrees of freedom by
Satterthwaite). p-values are two-sided and adjusted for the number of rows of their table (Holm). Significant: below
0.05, so that in each table the family-wise error rate is at most 5 %. Settings with the same seed are trained on the
same batches; where this correlates their scores positively, intervals of differences are too wide, and intervals of
means over several settings too narrow. All scores are of central crops of the validation images and of this length of
training: longer runs, other images or other parameters may rank differently.
"""


def text(
    study: ParameterStudy,
    objective: str,
    figures: list[str],
    ssim_study: ParameterStudy | None = None,
    stability: Stability | None = None,
) -> str:
    """Returns the report as Markdown.

    Args:
        study: The study.
        objective: Column of the scores.
        figures: Names of the figures that exist.
        ssim_study: Study of the SSIM of the same trials, or `None`.
        stability: Comparison with the same grid in shorter runs, or `None`.
    """
    completed = sum(map(len, study.settings.values())) + study.shorter
    parts = [f"# {objective}: {counted(completed, 'trial')}\n", _summary(study, objective)]
    parts += _effects(study, objective, figures)
    if ssim_study:
        parts += ["## Effect of each parameter on structural similarity\n", *_effect_tables(ssim_study, "val_ssim")]
    parts += _interactions(study, figures)
    parts += [_stability(stability)] if stability else []
    parts += [_fronts(study, objective)]
    if study.seeds > 1:
        parts += [_near_best(study), "## Method\n", _METHOD]
    if study.left_out:
        parts += [_left_out(study.left_out)]
    return "\n".join(parts)


def _summary(study, objective) -> str:
    best = study.best()
    scores = study.settings[best]
    counts = (
        counted(len(study.settings), "setting"),
        counted(study.seeds, "seed"),
        counted(len(study.left_out), "trial"),
    )
    lines = [f"{', '.join(counts)} not completed."]
    if study.steps and study.steps[0] < study.steps[1]:
        short = f"; {study.shorter} shorter, which longer ones continued, left out" if study.shorter else ""
        lines.append(f"Runs of {study.steps[0]} to {study.steps[1]} steps{short}.")
    spread = f", mean of {len(scores)} seeds, {scores.min():.4f} to {scores.max():.4f}" if len(scores) > 1 else ""
    if len(scores) < study.seeds:
        missing = study.seeds - len(scores)
        spread += f"; {missing} of the {study.seeds} seeds {'was' if missing == 1 else 'were'} not completed with it"
    lines.append(f"Best setting: {_setting(study, best)} with {objective} {scores.mean():.4f}{spread}.")
    if comparison := bicubic_comparison(study):
        lines.append(comparison)
    return "\n".join(lines) + "\n"


def _effects(study, objective, figures) -> list[str]:
    if "effects" not in figures:
        return []
    parts = ["## Effect of each parameter\n", "![Effect of each parameter](effects.png)\n"]
    tables = _effect_tables(study, objective)
    return parts + (tables or ["No setting was repeated with another seed, so the variance of seeds is unknown.\n"])


def _effect_tables(study, objective) -> list[str]:
    means, differences = effect_rows(study)
    if not differences:
        return []
    head = ("parameter", "from, to", "difference (95 %)", "df", "p (Holm)", "significant")
    levels = _table(("parameter", "value", f"mean {objective} (95 %)"), means)
    return [levels, "### Differences\n", _table(head, differences)]


def effect_rows(study: ParameterStudy) -> tuple[list, list]:
    """Returns the rows of the tables of means and of differences."""
    means = []
    for factor in study.factors:
        for level, mean in statistics.level_means(study, factor).items():
            if mean:
                means.append((factor, _number(level), f"{mean.estimate:.4f} ({mean.low:.4f} to {mean.high:.4f})"))
    comparisons = statistics.comparisons(study)
    adjusted = statistics.holm([contrast.p for *_, contrast in comparisons])
    differences = [
        (factor, f"{_number(a)} to {_number(b)}", _difference(c), f"{c.df:.1f}", _p(p), "yes" if p < LEVEL else "no")
        for (factor, a, b, c), p in zip(comparisons, adjusted, strict=True)
    ]
    return means, differences


def _interactions(study, figures) -> list[str]:
    parts = ["## Interactions\n"] if study.factors else []
    if "interactions" in figures:
        parts.append("![Two-way interactions](interactions.png)\n")
    rows, residual = variance_rows(study)
    if not rows:
        return [*parts, "The grid has gaps or no repeats: no analysis of variance.\n"] if parts else []
    head = ("source", "share of the variance", "df", "F", "p (Holm)", "significant")
    return [*parts, _table(head, rows), residual]


def variance_rows(study: ParameterStudy) -> tuple[list, str]:
    """Returns the rows of the analysis of variance, and a sentence on its residual; empty for a grid with gaps."""
    analysis = statistics.variance(study)
    if analysis is None:
        return [], ""
    components, deviation = analysis
    adjusted = statistics.holm([component.p for component in components])
    rows = [
        (" x ".join(c.factors), f"{100 * c.share:.1f} %", c.df, f"{c.f:.2f}", _p(p), "yes" if p < LEVEL else "no")
        for c, p in zip(components, adjusted, strict=True)
    ]
    rest = 1 - sum(component.share for component in components)
    return rows, (
        f"The seeds account for the other {100 * rest:.1f} %; their standard deviation within a setting is "
        f"{deviation:.4f} (analysis of variance, which assumes equal variance in all settings).\n"
    )


def _stability(stability: Stability) -> str:
    """Returns the section on which conclusions shorter runs of the same grid lead to as well."""
    (few, many), changes = stability.steps, stability.changes
    head = ("parameter", "from, to", f"{few:,} steps (95 %)", f"{many:,} steps (95 %)", "same conclusion")
    rows = [
        (d.factor, " to ".join(map(_number, d.levels)), *_both(d), "yes" if d.same else "no")
        for d in stability.differences
    ]
    same = f"{sum(d.same for d in stability.differences)} of {counted(len(rows), 'difference')}"
    summary = (
        f"The same grid in runs of {few:,} in place of {many:,} steps leads to the same conclusion for {same}: neither "
        "study finds the difference significant (*), or both do, with the same sign. Spearman's rank correlation of "
        f"the settings is {stability.rank_correlation:.2f}. The longer runs change the score of a setting by "
        f"{changes[0]:+.4f} on average ({changes[1]:+.4f} to {changes[2]:+.4f}), where the best and the worst setting "
        f"differ by {stability.spread:.4f}."
    )
    return f"## Stability\n\n{summary}\n\n{_table(head, rows)}"


def _both(difference) -> list[str]:
    pairs = zip((difference.shorter, difference.longer), difference.significant, strict=True)
    return [_difference(contrast) + (" *" if significant else "") for contrast, significant in pairs]


def _fronts(study, objective) -> str:
    means = study.means()
    parts = ["## Score versus cost\n", "![Score versus cost](pareto.png)\n"]
    for cost, name in (("parameters", "parameters"), ("multiply_adds", "multiply-adds of a 512x512 image")):
        rows = [
            (f"{study.costs[s][cost]:,.0f}", f"{means[s]:.4f}", _setting(study, s))
            for s in statistics.pareto_front(study, cost)
        ]
        parts.append(_table((name, f"mean {objective}", "Pareto-optimal setting"), rows))
    return "\n".join(parts)


def _near_best(study) -> str:
    comparisons = statistics.against_best(study)
    adjusted = statistics.holm([contrast.p for _, contrast in comparisons])
    near = [(s, c) for (s, c), p in zip(comparisons, adjusted, strict=True) if p >= LEVEL]
    near.sort(key=lambda item: study.costs[item[0]]["parameters"])
    rows = [(_setting(study, s), f"{study.costs[s]['parameters']:,.0f}", _difference(c)) for s, c in near]
    worse, others = len(comparisons) - len(near), counted(len(comparisons), "other")
    summary = f"{worse} of {others} {'differs' if worse == 1 else 'differ'} significantly from the best setting."
    if not near:
        return f"## The best setting\n\n{summary}\n"
    few = " With few seeds, few differences are significant: the settings below may still be worse."
    few = few if study.seeds < 10 else ""
    head = ("not significantly different from the best", "parameters", "difference (95 %, not adjusted)")
    return f"## The best setting\n\n{summary}{few}\n\n{_table(head, rows)}"


def _left_out(left_out) -> str:
    rows = [(trial, status, reason.replace("|", "/")) for trial, status, reason in left_out]
    return "## Not completed\n\n" + _table(("trial", "status", "reason"), rows)


def _setting(study, setting) -> str:
    pairs = zip(study.factors, setting, strict=True)
    return ", ".join(f"{name} {_number(value)}" for name, value in pairs) or "the only one"


def _number(value) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _difference(contrast) -> str:
    return f"{contrast.estimate:+.4f} ({contrast.low:+.4f} to {contrast.high:+.4f})"


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _table(head, rows) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def bicubic_comparison(study: ParameterStudy) -> str:
    """Returns a sentence that compares the settings with bicubic interpolation; empty if its score is unknown."""
    if study.bicubic is None:
        return ""
    gains = [mean - study.bicubic for mean in study.means().values()]
    above, settings = sum(gain > 0 for gain in gains), counted(len(gains), "setting")
    spread = f"differences from {min(gains):+.4f} to {max(gains):+.4f}" if len(gains) > 1 else f"{gains[0]:+.4f}"
    if above:
        result = f"{above} of {settings} {'is' if above == 1 else 'are'} above it ({spread})."
    else:
        result = f"none of {settings} is above it ({spread}): none is useful as trained here; try more --steps."
    return f"Bicubic interpolation of the same crops: {study.bicubic:.4f}; {result}"
