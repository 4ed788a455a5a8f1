"""The pictures of a study: the effect of each parameter, two at a time, and the score against the cost."""

import itertools
import math
import textwrap

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from tfmisr.edge.files import atomic_write
from tfmisr.tuning import parameter_study_statistics as statistics

_DPI = 110
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_MARKERS = "osD^vP*"
_LONGEST = 24  # characters of a label
_APART = 0.012  # of an axis, between lines of one panel
_NAMES = {
    "val_psnr": "validation PSNR [dB]",
    "val_loss": "validation loss",
    "val_ssim": "validation SSIM",
    "parameters": "parameters",
    "multiply_adds": "multiply-adds of a 512x512 image",
}


def effects(study: statistics.Study, objective: str, path) -> None:
    """Writes one panel a factor: every trial, and the mean of each level with its 95 % interval."""
    figure, panels = _figure(len(study.factors), 3.6)
    for panel, (factor, levels) in zip(panels, study.factors.items(), strict=True):
        places = list(study.factors).index(factor)
        positions = _positions(levels)
        for setting, scores in study.settings.items():
            x = positions[setting[places]]
            panel.plot(np.full(len(scores), x), scores, ".", color="#999999", markersize=4, zorder=1)
        _draw_means(panel, study, factor, positions)
        _name(panel, factor, levels, positions)
    panels[0].set_ylabel(_NAMES.get(objective, objective))
    _write(figure, path)


def _draw_means(panel, study, factor, positions):
    found = statistics.level_means(study, factor)
    if any(contrast is None for contrast in found.values()):
        return
    x = [positions[level] for level in found]
    y = np.array([contrast.estimate for contrast in found.values()])
    ends = np.array([(c.estimate - c.low, c.high - c.estimate) for c in found.values()]).T
    panel.errorbar(x, y, ends, fmt="o-", color=_COLOURS[0], capsize=4, linewidth=1.5, zorder=2)


def interactions(study: statistics.Study, objective: str, path) -> None:
    """Writes one panel for each two factors: the mean at each level of one, a line for each level of the other.

    The means have 95 % intervals where all of their settings were repeated.
    """
    pairs = list(itertools.combinations(study.factors, 2))
    figure, panels = _figure(len(pairs), 4.0)
    for panel, (first, second) in zip(panels, pairs, strict=True):
        levels = study.factors[second]
        for i, level in enumerate(levels):
            style = {"color": _COLOURS[i % len(_COLOURS)], "marker": _MARKERS[i % len(_MARKERS)], "label": _text(level)}
            _draw_line(panel, study, (first, second), level, style, i - (len(levels) - 1) / 2)
        _name(panel, first, study.factors[first], _positions(study.factors[first]))
        panel.legend(title=second, fontsize=8, title_fontsize=8)
    panels[0].set_ylabel(f"mean {_NAMES.get(objective, objective)}")
    _write(figure, path)


def _draw_line(panel, study, pair, level, style, place):
    first, second = (list(study.factors).index(name) for name in pair)
    x, y, ends = [], [], []
    # Lines stand a little apart, so that no interval hides another.
    for value, position in _aside(study.factors[pair[0]], _APART * place).items():
        own = [s for s in study.settings if s[first] == value and s[second] == level]
        if not own:
            continue
        x.append(position)
        y.append(np.mean([study.settings[s].mean() for s in own]))
        if all(len(study.settings[s]) > 1 for s in own):
            found = statistics.contrast(study.settings, {s: 1 / len(own) for s in own})
            ends.append((found.estimate - found.low, found.high - found.estimate))
        else:
            ends.append((np.nan, np.nan))
    panel.errorbar(x, y, np.transpose(ends), capsize=3, linewidth=1.5, elinewidth=1, **style)


def pareto(study: statistics.Study, objective: str, path) -> None:
    """Writes the score of each setting against parameters and multiply-adds, with the front of the best at any cost."""
    figure, panels = _figure(2, 6.0, 4.8)
    means = study.means()
    long = max(map(len, _settings(study.settings))) > _LONGEST
    for panel, cost in zip(panels, ("parameters", "multiply_adds"), strict=True):
        for setting, scores in study.settings.items():
            x = study.costs[setting][cost]
            panel.plot([x, x], [scores.min(), scores.max()], color="#bbbbbb", linewidth=1, zorder=1)
            panel.plot(x, means[setting], "o", color="#777777", markersize=4, zorder=2)
        found = statistics.front(study, cost)
        x, y = [study.costs[s][cost] for s in found], [means[s] for s in found]
        panel.step(x, y, where="post", color=_COLOURS[1], zorder=3)
        panel.plot(x, y, "o", color=_COLOURS[1], zorder=4)
        for i, (text, a, b) in enumerate(zip(_settings(found), x, y, strict=True), 1):
            panel.annotate(
                str(i) if long else text, (a, b), (4, -11), textcoords="offset points", fontsize=8, color=_COLOURS[1]
            )
        if study.bicubic is not None:
            panel.axhline(study.bicubic, color="#777777", linestyle="--", linewidth=1, zorder=1)
            at = {"xycoords": panel.get_yaxis_transform(), "textcoords": "offset points", "ha": "right"}
            panel.annotate("bicubic", (1, study.bicubic), (-4, 3), **at, fontsize=8, color="#777777")
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.margins(x=0.2)
        panel.set_xlabel(_NAMES[cost])
    panels[0].set_ylabel(_NAMES.get(objective, objective))
    told = "rows of the tables in report.md" if long else ", ".join(study.factors)
    panels[0].set_title(f"labels: {told}", fontsize=9, loc="left")
    panels[1].set_title("grey lines: from the worst to the best seed", fontsize=9, loc="left")
    _write(figure, path)


def _settings(settings) -> list[str]:
    return [", ".join(map(_text, setting)) for setting in settings]


def _positions(levels) -> dict:
    """Returns where each level stands: words at their number in the row."""
    if any(isinstance(level, str) for level in levels):
        return {level: i for i, level in enumerate(levels)}
    return {level: float(level) for level in levels}


def _aside(levels, share: float) -> dict:
    """Returns where each level stands, moved by a share of the axis."""
    positions = _positions(levels)
    low, high = min(positions.values()), max(positions.values())
    if _is_wide(levels):
        return {level: place * (high / low) ** share for level, place in positions.items()}
    return {level: place + (high - low) * share for level, place in positions.items()}


def _is_wide(levels) -> bool:
    """Tells whether levels stand at their logarithm: numbers that spread over more than a factor of four."""
    return not any(isinstance(v, str) for v in levels) and min(levels) > 0 and max(levels) / min(levels) > 4


def _text(level) -> str:
    return level if isinstance(level, str) else f"{level:g}"


def _name(panel, factor, levels, positions):
    """Names the axis and its values."""
    panel.set_xlabel(factor)
    places, texts = [positions[level] for level in levels], [_text(level) for level in levels]
    words = any(isinstance(level, str) for level in levels)
    wide = _is_wide(levels)
    if wide:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(levels) / min(levels) < 30 else (1,)))
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
    if words and sum(map(len, texts)) > _LONGEST:
        texts = [textwrap.fill(text, _LONGEST, break_long_words=False) for text in texts]
        panel.set_xticks(places, texts, rotation=30, ha="right", fontsize=8)
    elif words or _are_apart(np.log(places) if wide else np.array(places), texts):
        panel.set_xticks(places, texts)
        panel.minorticks_off()
    panel.margins(x=0.15)


def _are_apart(places, texts) -> bool:
    gaps = np.diff(np.sort(places))
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
