"""Figures of a parameter study: effect of each parameter, two-way interactions, score versus cost."""

import itertools
import math
import pathlib
import textwrap

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from tfmisr.edge.files import atomic_write
from tfmisr.tuning import parameter_study_statistics as statistics
from tfmisr.tuning.parameter_study_table import ParameterStudy

_DPI = 110
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_MARKERS = "osD^vP*"
_LONGEST = 24  # characters of a label
_OFFSET = 0.012  # of an axis, between the lines of a panel
_LABELS = {
    "val_psnr": "validation PSNR [dB]",
    "val_loss": "validation loss",
    "val_ssim": "validation SSIM",
    "parameters": "parameters",
    "multiply_adds": "multiply-adds of a 512x512 image",
}


def effects(study: ParameterStudy, objective: str, path: pathlib.Path) -> None:
    """Writes a PNG with one panel per factor: every trial, and the mean of each level with its 95 % interval."""
    figure, panels = _figure(len(study.factors), 3.6)
    for panel, (factor, levels) in zip(panels, study.factors.items(), strict=True):
        index = list(study.factors).index(factor)
        positions = _positions(levels)
        for setting, scores in study.settings.items():
            x = positions[setting[index]]
            panel.plot(np.full(len(scores), x), scores, ".", color="#999999", markersize=4, zorder=1)
        _draw_means(panel, study, factor, positions)
        _label_axis(panel, factor, levels, positions)
    panels[0].set_ylabel(_LABELS.get(objective, objective))
    _write(figure, path)


def _draw_means(panel, study, factor, positions):
    means = statistics.level_means(study, factor)
    if any(contrast is None for contrast in means.values()):
        return
    x = [positions[level] for level in means]
    y = np.array([contrast.estimate for contrast in means.values()])
    ends = np.array([(c.estimate - c.low, c.high - c.estimate) for c in means.values()]).T
    panel.errorbar(x, y, ends, fmt="o-", color=_COLORS[0], capsize=4, linewidth=1.5, zorder=2)


def interactions(study: ParameterStudy, objective: str, path: pathlib.Path) -> None:
    """Writes a PNG with one interaction plot per pair of factors: a line of means for each level of the second.

    Means have 95 % intervals if all of their settings have repeats.
    """
    pairs = list(itertools.combinations(study.factors, 2))
    figure, panels = _figure(len(pairs), 4.0)
    for panel, (first, second) in zip(panels, pairs, strict=True):
        levels = study.factors[second]
        for i, level in enumerate(levels):
            style = {"color": _COLORS[i % len(_COLORS)], "marker": _MARKERS[i % len(_MARKERS)], "label": _text(level)}
            _draw_line(panel, study, (first, second), level, style, i - (len(levels) - 1) / 2)
        _label_axis(panel, first, study.factors[first], _positions(study.factors[first]))
        panel.legend(title=second, fontsize=8, title_fontsize=8)
    panels[0].set_ylabel(f"mean {_LABELS.get(objective, objective)}")
    _write(figure, path)


def _draw_line(panel, study, pair, level, style, rank):
    first, second = (list(study.factors).index(name) for name in pair)
    x, y, ends = [], [], []
    # Lines are shifted, so that no interval hides another.
    for value, position in _shifted(study.factors[pair[0]], _OFFSET * rank).items():
        settings = [s for s in study.settings if s[first] == value and s[second] == level]
        if not settings:
            continue
        x.append(position)
        y.append(np.mean([study.settings[s].mean() for s in settings]))
        if all(len(study.settings[s]) > 1 for s in settings):
            mean = statistics.contrast(study.settings, {s: 1 / len(settings) for s in settings})
            ends.append((mean.estimate - mean.low, mean.high - mean.estimate))
        else:
            ends.append((np.nan, np.nan))
    panel.errorbar(x, y, np.transpose(ends), capsize=3, linewidth=1.5, elinewidth=1, **style)


def pareto(study: ParameterStudy, objective: str, path: pathlib.Path) -> None:
    """Writes a PNG of the score of each setting versus parameters and multiply-adds, with the Pareto front."""
    figure, panels = _figure(2, 6.0, 4.8)
    means = study.means()
    numbered = max(map(len, _settings(study.settings))) > _LONGEST
    for panel, cost in zip(panels, ("parameters", "multiply_adds"), strict=True):
        for setting, scores in study.settings.items():
            x = study.costs[setting][cost]
            panel.plot([x, x], [scores.min(), scores.max()], color="#bbbbbb", linewidth=1, zorder=1)
            panel.plot(x, means[setting], "o", color="#777777", markersize=4, zorder=2)
        front = statistics.pareto_front(study, cost)
        x, y = [study.costs[s][cost] for s in front], [means[s] for s in front]
        panel.step(x, y, where="post", color=_COLORS[1], zorder=3)
        panel.plot(x, y, "o", color=_COLORS[1], zorder=4)
        style = {"textcoords": "offset points", "fontsize": 8, "color": _COLORS[1]}
        for i, (text, a, b) in enumerate(zip(_settings(front), x, y, strict=True), 1):
            panel.annotate(str(i) if numbered else text, (a, b), (4, -11), **style)
        if study.bicubic is not None:
            panel.axhline(study.bicubic, color="#777777", linestyle="--", linewidth=1, zorder=1)
            at = {"xycoords": panel.get_yaxis_transform(), "textcoords": "offset points", "ha": "right"}
            panel.annotate("bicubic", (1, study.bicubic), (-4, 3), **at, fontsize=8, color="#777777")
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.margins(x=0.2)
        panel.set_xlabel(_LABELS[cost])
    panels[0].set_ylabel(_LABELS.get(objective, objective))
    labels = "rows of the tables in report.md" if numbered else ", ".join(study.factors)
    panels[0].set_title(f"labels: {labels}", fontsize=9, loc="left")
    panels[1].set_title("gray lines: from the worst to the best seed", fontsize=9, loc="left")
    _write(figure, path)


def _settings(settings) -> list[str]:
    return [", ".join(map(_text, setting)) for setting in settings]


def _positions(levels) -> dict:
    """Returns the position of each level on the axis: its value, or its index if any level is a text."""
    if any(isinstance(level, str) for level in levels):
        return {level: i for i, level in enumerate(levels)}
    return {level: float(level) for level in levels}


def _shifted(levels, fraction: float) -> dict:
    """Returns the position of each level, shifted by a fraction of the axis."""
    positions = _positions(levels)
    low, high = min(positions.values()), max(positions.values())
    if _is_logarithmic(levels):
        return {level: position * (high / low) ** fraction for level, position in positions.items()}
    return {level: position + (high - low) * fraction for level, position in positions.items()}


def _is_logarithmic(levels) -> bool:
    """Returns whether the axis is logarithmic: positive numbers that span more than a factor of four."""
    return not any(isinstance(v, str) for v in levels) and min(levels) > 0 and max(levels) / min(levels) > 4


def _text(level) -> str:
    return level if isinstance(level, str) else f"{level:g}"


def _label_axis(panel, factor, levels, positions):
    """Sets the label, the scale and the ticks of the x axis."""
    panel.set_xlabel(factor)
    ticks, texts = [positions[level] for level in levels], [_text(level) for level in levels]
    words = any(isinstance(level, str) for level in levels)
    logarithmic = _is_logarithmic(levels)
    if logarithmic:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(levels) / min(levels) < 30 else (1,)))
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
    if words and sum(map(len, texts)) > _LONGEST:
        texts = [textwrap.fill(text, _LONGEST, break_long_words=False) for text in texts]
        panel.set_xticks(ticks, texts, rotation=30, ha="right", fontsize=8)
    elif words or _do_not_overlap(np.log(ticks) if logarithmic else np.array(ticks), texts):
        panel.set_xticks(ticks, texts)
        panel.minorticks_off()
    panel.margins(x=0.15)


def _do_not_overlap(ticks, texts) -> bool:
    gaps = np.diff(np.sort(ticks))
    return len(texts) == 1 or (len(texts) <= 8 and max(map(len, texts)) <= 7 and gaps.min() > 0.15 * gaps.sum())


def _figure(count: int, width: float, height: float = 3.8):
    columns = min(count, 4)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(max(width * columns, 5.0), height * rows), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel in panels:
        panel.grid(True, color="#e5e5e5", linewidth=0.7)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[count:]:
        panel.set_visible(False)
    return figure, panels[:count]


def _write(figure, path):
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")
