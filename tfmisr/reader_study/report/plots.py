"""The report's pictures as SVG texts whose ink takes the page's colours, light, dark or printed."""

import io
import re
import warnings

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tfmisr.evaluation.table import shortened

# Written by matplotlib and then replaced, so that any other colour stays what it is.
_INK, _DIM = "#010203", "#040506"
_ACCENT, _WARM, _GREY = "#3b82c4", "#d9822b", "#8a8f98"
# From bad to good, told apart without colour vision by lightness: dark, light, grey, light, dark.
_SCALE = ("#a8442a", "#e0a183", "#b9b9b4", "#86b6dc", "#2c6ca3")
_WIDTH = 10.4  # inches: at the page's full column its 10-point letters are as large as the text
_PANELS = 3  # side by side at most
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
    """Mean score of each arm with its interval, and each reader's own mean as a dot: one panel a question."""
    questions = results["questions"]
    with _drawing():
        figure, panels = _panels(len(questions), len(results["study"]["arms"]), results)
        for axes, (name, question) in zip(panels, questions.items(), strict=True):
            for place, (arm, found) in enumerate(question["arms"].items()):
                own = [r[arm] for r in question["readers"].values() if r[arm] is not None]
                axes.plot(own, _spread(place, len(own)), "o", color=_GREY, markersize=3.5, alpha=0.75)
                _interval(axes, place, found["mean"], found["low"], found["high"], _ACCENT)
            _arms(axes, question["arms"])
            axes.set_xlim(0.9, question["scale"] + 0.1)
            axes.set_xticks(range(1, question["scale"] + 1))
            axes.set_title(shortened(name, 40), fontsize=11, loc="left")
            axes.set_xlabel("mean score")
        return _svg(figure, "means", "Mean scores by arm and question, with 95 % intervals and the readers' own means")


def distributions(results: dict) -> str:
    """How often each score was given: one bar an arm, one panel a question."""
    questions = results["questions"]
    with _drawing():
        figure, panels = _panels(len(questions), len(results["study"]["arms"]), results)
        for axes, (name, question) in zip(panels, questions.items(), strict=True):
            colors = _colors(question["scale"])
            for place, found in enumerate(question["arms"].values()):
                _bar(axes, place, found["counts"], colors)
            _arms(axes, question["arms"])
            axes.set_xlim(0, 100)
            axes.set_title(shortened(name, 40), fontsize=11, loc="left")
            axes.set_xlabel("answers in %; left 1, right " + str(question["scale"]))
        return _svg(figure, "scores", "Share of each score by arm and question")


def noninferiority(results: dict) -> str:
    """Differences to the reference with their intervals and the margin; empty where the study has none."""
    questions = {name: q for name, q in results["questions"].items() if q["noninferiority"]}
    if not questions:
        return ""
    with _drawing():
        most = max(len(q["noninferiority"]) for q in questions.values())
        figure, panels = _panels(len(questions), most, results)
        for axes, (name, question) in zip(panels, questions.items(), strict=True):
            rows = question["noninferiority"]
            for place, row in enumerate(rows):
                found = row["difference"]
                color = {"non-inferior": _ACCENT, "inferior": _WARM}.get(row["verdict"], _GREY)
                _interval(axes, place, found["mean"], found["low"], found["high"], color)
            _arms(axes, [row["arm"] for row in rows])
            axes.axvline(0, color=_DIM, linewidth=1)
            axes.axvline(-rows[0]["margin"], color=_WARM, linewidth=1.4, linestyle=(0, (4, 3)))
            axes.set_title(shortened(name, 40), fontsize=11, loc="left")
            axes.set_xlabel(f"difference to {shortened(rows[0]['reference'], 30)}, points; dashed: margin")
        return _svg(figure, "margin", "Differences to the reference with 95 % intervals and the non-inferiority margin")


def strengths(results: dict) -> str:
    """Bradley-Terry strengths with their intervals; empty where there are none."""
    found = results["preferences"]
    if not found or all(arm["log_strength"] is None for arm in found["arms"].values()):
        return ""
    with _drawing():
        figure, (axes,) = _panels(1, len(found["arms"]), results)
        for place, arm in enumerate(found["arms"].values()):
            _interval(axes, place, arm["log_strength"], arm["low"], arm["high"], _ACCENT)
        _arms(axes, found["arms"])
        axes.axvline(0, color=_DIM, linewidth=1)
        axes.set_xlabel("log strength: the difference of two arms is the log odds of being preferred")
        return _svg(figure, "strengths", "Strengths of preference with 95 % intervals")


def times(results: dict) -> str:
    """Median and middle half of the reading times by reader; empty where there are none."""
    readers = {name: r for name, r in results["times"]["by reader"].items() if r["images"]}
    if not readers:
        return ""
    with _drawing():
        figure, (axes,) = _panels(1, len(readers), results)
        for place, found in enumerate(readers.values()):
            _interval(axes, place, found["median"], found["quarter"], found["three_quarters"], _ACCENT)
        _arms(axes, readers)
        axes.set_xlim(left=0)
        axes.set_xlabel("seconds an image: median and middle half")
        return _svg(figure, "times", "Reading time by reader")


def sizes(rows: list[dict], wanted: str, target: float, title: str) -> Figure:
    """Returns the picture of a sample size table: one line a number of readers, cases to the right.

    Args:
        rows: The table's rows.
        wanted: Column to draw.
        target: What it should reach.
        title: First line.
    """
    with _drawing({"text.color": "black", "axes.labelcolor": "black", "xtick.color": "black", "ytick.color": "black"}):
        figure = Figure((7.4, 4.6), dpi=130, layout="constrained")
        axes = figure.add_subplot()
        readers = sorted({row["readers"] for row in rows})
        for i, count in enumerate(readers):
            line = [(row["cases"], row[wanted]) for row in rows if row["readers"] == count]
            color = matplotlib.colormaps["viridis"](0.05 + 0.8 * i / max(len(readers) - 1, 1))
            axes.plot(*zip(*line, strict=True), "o-", color=color, label=f"{count} readers", markersize=4)
        axes.axhline(target, color=_WARM, linestyle=(0, (4, 3)), label=f"wanted: {target:g}")
        axes.set(xlabel="cases", ylabel=_SIZE_LABELS[wanted], ylim=(0, None))
        axes.set_title(title, fontsize=11, loc="left")
        axes.legend(frameon=False, fontsize=9)
        return figure


class _drawing:
    """Matplotlib's settings, and silence about letters that its own font lacks: the browser's has them."""

    def __init__(self, more=None):
        self.settings = matplotlib.rc_context({**_SETTINGS, **(more or {})})
        self.warnings = warnings.catch_warnings()

    def __enter__(self):
        self.settings.__enter__()
        self.warnings.__enter__()
        warnings.filterwarnings("ignore", message="Glyph .* missing")

    def __exit__(self, *error):
        self.warnings.__exit__(*error)
        self.settings.__exit__(*error)


def _panels(count, rows, results):
    """Returns a figure with the panels side by side in rows as equal as can be, the first arm on top."""
    lines = -(-count // _PANELS)
    columns = -(-count // lines)
    figure = Figure((_WIDTH, lines * (1.15 + 0.34 * rows)), layout="constrained")
    FigureCanvasSVG(figure)
    panels = [figure.add_subplot(lines, columns, i + 1) for i in range(count)]
    if "warning" in results:
        figure.suptitle(results["warning"], fontsize=9, color=_WARM, fontweight="bold")
    return figure, panels


def _arms(axes, names):
    names = list(names)
    axes.set_yticks(range(len(names)), [shortened(name, 18) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=_DIM, linewidth=0.5, alpha=0.35)
    axes.set_axisbelow(True)


def _interval(axes, place, middle, low, high, color):
    if middle is None:
        return
    if low is not None:
        axes.plot([low, high], [place, place], color=color, linewidth=2.4, solid_capstyle="butt")
    axes.plot([middle], [place], "o", color=color, markersize=6.5)


def _spread(place, count):
    return place + (np.linspace(-0.22, 0.22, count) if count > 1 else np.zeros(count))


def _bar(axes, place, counts, colors):
    left, total = 0.0, sum(counts)
    for count, (fill, ink) in zip(counts, colors, strict=True):
        width = 100 * count / total if total else 0
        axes.barh(place, width, left=left, color=fill, height=0.72)
        if width >= 7:
            axes.text(left + width / 2, place, f"{count}", color=ink, ha="center", va="center", fontsize=8.5)
        left += width


def _colors(scale):
    """Returns fill and ink for each score."""
    given = matplotlib.colors.LinearSegmentedColormap.from_list("scores", _SCALE)
    fills = [matplotlib.colors.to_hex(given(i / (scale - 1))) for i in range(scale)]
    return [(fill, "#ffffff" if _luminance(fill) < 0.4 else "#111111") for fill in fills]


def _luminance(color):
    red, green, blue = matplotlib.colors.to_rgb(color)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _svg(figure, name, label):
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    found = text.getvalue()
    found = found[found.index("<svg") :]
    # Several pictures stand in one page: an id must not mean two things.
    found = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', found)
    found = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", found)
    found = re.sub(
        r'<svg ([^>]*?)width="[^"]*"',
        r"<svg \1",
        re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", found, count=1),
        count=1,
    )
    found = found.replace(_INK, "currentColor").replace(_DIM, "var(--line)")
    return found.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
