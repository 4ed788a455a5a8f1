"""The report's figures as SVG whose lines and text use the page's colors: light, dark or printed."""

import io
import re
import warnings
from collections.abc import Iterable

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tfmisr.evaluation.table import shortened

# Placeholders that matplotlib writes and `_svg` replaces by colors of the style sheet.
_INK, _DIM = "#010203", "#040506"
_ACCENT, _WARM, _GRAY = "#3b82c4", "#d9822b", "#8a8f98"
# Diverging, from low to high scores; lightness distinguishes them without color vision: dark, light, gray, light, dark.
_SCALE = ("#a8442a", "#e0a183", "#b9b9b4", "#86b6dc", "#2c6ca3")
_WIDTH = 10.4  # inches: at the page's full width the 10-point font matches the text
_PANELS = 3  # maximum side by side
_SIZE_LABELS = {
    "half_width_most": "half width of the 95 % interval, in four of five studies [points]",
    "power": "share of studies that find the difference",
    "below_margin": "share of studies that show non-inferiority",
}
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tfmisr",
    "text.parse_math": False,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _DIM,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def means(results: dict) -> str:
    """Mean score of each arm with its interval, and each reader's mean as a dot; one panel per question."""
    questions = results["questions"]
    with _drawing():
        figure, panels = _panels(len(questions), len(results["study"]["arms"]), results)
        for axes, (name, question) in zip(panels, questions.items(), strict=True):
            for y, (arm, mean) in enumerate(question["arms"].items()):
                by_reader = [r[arm] for r in question["readers"].values() if r[arm] is not None]
                axes.plot(by_reader, _jitter(y, len(by_reader)), "o", color=_GRAY, markersize=3.5, alpha=0.75)
                _interval(axes, y, mean["mean"], mean["low"], mean["high"], _ACCENT)
            _arms(axes, question["arms"])
            axes.set_xlim(0.9, question["scale"] + 0.1)
            axes.set_xticks(range(1, question["scale"] + 1))
            axes.set_title(shortened(name, 40), fontsize=11, loc="left")
            axes.set_xlabel("mean score")
        return _svg(figure, "means", "Mean scores by arm and question, with 95 % intervals and the readers' means")


def distributions(results: dict) -> str:
    """Distribution of the scores: one stacked bar per arm, one panel per question."""
    questions = results["questions"]
    with _drawing():
        figure, panels = _panels(len(questions), len(results["study"]["arms"]), results)
        for axes, (name, question) in zip(panels, questions.items(), strict=True):
            colors = _colors(question["scale"])
            for y, arm in enumerate(question["arms"].values()):
                _bar(axes, y, arm["counts"], colors)
            _arms(axes, question["arms"])
            axes.set_xlim(0, 100)
            axes.set_title(shortened(name, 40), fontsize=11, loc="left")
            axes.set_xlabel("answers in %; from 1 (left) to " + str(question["scale"]) + " (right)")
        return _svg(figure, "scores", "Share of each score by arm and question")


def noninferiority(results: dict) -> str:
    """Differences to the reference with their intervals and the margin; empty without a margin."""
    questions = {name: q for name, q in results["questions"].items() if q["noninferiority"]}
    if not questions:
        return ""
    with _drawing():
        max_rows = max(len(q["noninferiority"]) for q in questions.values())
        figure, panels = _panels(len(questions), max_rows, results)
        for axes, (name, question) in zip(panels, questions.items(), strict=True):
            rows = question["noninferiority"]
            for y, row in enumerate(rows):
                difference = row["difference"]
                color = {"non-inferior": _ACCENT, "inferior": _WARM}.get(row["verdict"], _GRAY)
                _interval(axes, y, difference["mean"], difference["low"], difference["high"], color)
            _arms(axes, [row["arm"] for row in rows])
            axes.axvline(0, color=_DIM, linewidth=1)
            axes.axvline(-rows[0]["margin"], color=_WARM, linewidth=1.4, linestyle=(0, (4, 3)))
            axes.set_title(shortened(name, 40), fontsize=11, loc="left")
            axes.set_xlabel(f"difference to {shortened(rows[0]['reference'], 30)}, points; dashed: margin")
        return _svg(figure, "margin", "Differences to the reference with 95 % intervals and the non-inferiority margin")


def strengths(results: dict) -> str:
    """Bradley-Terry strengths with their intervals; empty without any."""
    comparisons = results["preferences"]
    if not comparisons or all(arm["log_strength"] is None for arm in comparisons["arms"].values()):
        return ""
    with _drawing():
        figure, (axes,) = _panels(1, len(comparisons["arms"]), results)
        for y, arm in enumerate(comparisons["arms"].values()):
            _interval(axes, y, arm["log_strength"], arm["low"], arm["high"], _ACCENT)
        _arms(axes, comparisons["arms"])
        axes.axvline(0, color=_DIM, linewidth=1)
        axes.set_xlabel("log strength: the difference of two arms is the log odds of being preferred")
        return _svg(figure, "strengths", "Strengths of preference with 95 % intervals")


def times(results: dict) -> str:
    """Median and quartiles of the reading times by reader; empty without any."""
    readers = {name: r for name, r in results["times"]["by reader"].items() if r["images"]}
    if not readers:
        return ""
    with _drawing():
        figure, (axes,) = _panels(1, len(readers), results)
        for y, seconds in enumerate(readers.values()):
            _interval(axes, y, seconds["median"], seconds["quarter"], seconds["three_quarters"], _ACCENT)
        _arms(axes, readers)
        axes.set_xlim(left=0)
        axes.set_xlabel("seconds per image: median and quartiles")
        return _svg(figure, "times", "Reading time by reader")


def sizes(rows: list[dict], column: str, target: float, title: str) -> Figure:
    """Plots a sample size table: the column by number of cases, one line per number of readers.

    Args:
        rows: Rows of the table.
        column: Column to plot, a key of `_SIZE_LABELS`.
        target: Required value, drawn as a dashed line.
        title: Title of the figure.
    """
    with _drawing({"text.color": "black", "axes.labelcolor": "black", "xtick.color": "black", "ytick.color": "black"}):
        figure = Figure((7.4, 4.6), dpi=130, layout="constrained")
        axes = figure.add_subplot()
        readers = sorted({row["readers"] for row in rows})
        for i, count in enumerate(readers):
            line = [(row["cases"], row[column]) for row in rows if row["readers"] == count]
            color = matplotlib.colormaps["viridis"](0.05 + 0.8 * i / max(len(readers) - 1, 1))
            axes.plot(*zip(*line, strict=True), "o-", color=color, label=f"{count} readers", markersize=4)
        axes.axhline(target, color=_WARM, linestyle=(0, (4, 3)), label=f"required: {target:g}")
        axes.set(xlabel="cases", ylabel=_SIZE_LABELS[column], ylim=(0, None))
        axes.set_title(title, fontsize=11, loc="left")
        axes.legend(frameon=False, fontsize=9)
        return figure


class _drawing:
    """Context with Matplotlib's settings, and without warnings about glyphs that only the browser's font has.

    Args:
        overrides: Further settings.
    """

    def __init__(self, overrides: dict | None = None):
        self.settings = matplotlib.rc_context({**_SETTINGS, **(overrides or {})})
        self.warnings = warnings.catch_warnings()

    def __enter__(self):
        self.settings.__enter__()
        self.warnings.__enter__()
        warnings.filterwarnings("ignore", message="Glyph .* missing")

    def __exit__(self, *error):
        self.warnings.__exit__(*error)
        self.settings.__exit__(*error)


def _panels(count: int, rows: int, results: dict) -> tuple[Figure, list[Axes]]:
    """Returns a figure with `count` panels of `rows` arms each, in lines of nearly equal length."""
    lines = -(-count // _PANELS)
    columns = -(-count // lines)
    figure = Figure((_WIDTH, lines * (1.15 + 0.34 * rows)), layout="constrained")
    FigureCanvasSVG(figure)
    panels = [figure.add_subplot(lines, columns, i + 1) for i in range(count)]
    if "warning" in results:
        figure.suptitle(results["warning"], fontsize=9, color=_WARM, fontweight="bold")
    return figure, panels


def _arms(axes: Axes, names: Iterable[str]) -> None:
    """Labels the y axis with names, the first on top."""
    names = list(names)
    axes.set_yticks(range(len(names)), [shortened(name, 18) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=_DIM, linewidth=0.5, alpha=0.35)
    axes.set_axisbelow(True)


def _interval(axes: Axes, y: float, center: float | None, low: float | None, high: float | None, color: str) -> None:
    if center is None:
        return
    if low is not None:
        axes.plot([low, high], [y, y], color=color, linewidth=2.4, solid_capstyle="butt")
    axes.plot([center], [y], "o", color=color, markersize=6.5)


def _jitter(y: float, count: int) -> np.ndarray:
    return y + (np.linspace(-0.22, 0.22, count) if count > 1 else np.zeros(count))


def _bar(axes: Axes, y: float, counts: list[int], colors: list[tuple[str, str]]) -> None:
    left, total = 0.0, sum(counts)
    for count, (fill, ink) in zip(counts, colors, strict=True):
        width = 100 * count / total if total else 0
        axes.barh(y, width, left=left, color=fill, height=0.72)
        if width >= 7:
            axes.text(left + width / 2, y, f"{count}", color=ink, ha="center", va="center", fontsize=8.5)
        left += width


def _colors(scale: int) -> list[tuple[str, str]]:
    """Returns fill and text color for each score."""
    colormap = matplotlib.colors.LinearSegmentedColormap.from_list("scores", _SCALE)
    fills = [matplotlib.colors.to_hex(colormap(i / (scale - 1))) for i in range(scale)]
    return [(fill, "#ffffff" if _luminance(fill) < 0.4 else "#111111") for fill in fills]


def _luminance(color: str) -> float:
    red, green, blue = matplotlib.colors.to_rgb(color)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _svg(figure: Figure, name: str, label: str) -> str:
    """Returns the figure as inline SVG; `name` makes its ids unique in the page, `label` is for screen readers."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    # The style sheet sets the size.
    text = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = text.replace(_INK, "currentColor").replace(_DIM, "var(--line)")
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
