"""Pictures of a task: ROC curves of all arms, and the median case with and without its signal."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_COLUMNS = 4


def page(curves: dict[str, tuple], case: dict[str, tuple], title: str) -> Figure:
    """Returns a figure: the ROC curves at the left, the windows of the case at the right.

    Args:
        curves: Arm to false- and true-positive rates.
        case: Arm to its windows without and with the signal, levels `(64, 64)`.
        title: Title of the figure.
    """
    rows = -(-len(case) // _COLUMNS)
    figure = Figure((13, max(3.6, 2.9 * rows + 0.7)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 2.4])
    _curves(left.subplots(), curves)
    low, high = np.quantile(np.stack([window for pair in case.values() for window in pair[:1]]), (0.002, 0.998))
    # The reference has the whole contrast and saturates, so that what is left in the others can be seen.
    changes = [np.abs(present.astype(float) - absent).max() for arm, (absent, present) in case.items() if arm != "HR"]
    top = max(*changes, 1.0)
    grid = right.subplots(rows * 2, min(_COLUMNS, len(case)), squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for i, (arm, (absent, present)) in enumerate(case.items()):
        row, column = divmod(i, _COLUMNS)
        image, difference = grid[2 * row, column], grid[2 * row + 1, column]
        image.imshow(present, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        image.set_title(arm, fontsize=9)
        difference.imshow(present.astype(float) - absent, cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest")
    right.supxlabel("the median case with its signal; below: the difference that the signal makes", fontsize=9)
    return figure


def contrasts(points: list[dict], title: str, unit: str) -> Figure:
    """Returns a figure of AUC against contrast, with 95 % intervals.

    Args:
        points: What `tfmisr.observers.results.against_contrast` returns.
        title: Title of the figure.
        unit: Unit of the contrast.
    """
    figure = Figure((8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes, arms = figure.subplots(), list(points[0]["arms"])
    x = np.array([point["contrast"] for point in points], float)
    for i, arm in enumerate(arms):
        values = [point["arms"][arm] for point in points]
        area, low, high = (np.array([v[key] for v in values]) for key in ("auc", "auc_low", "auc_high"))
        # Set apart, so that intervals can be told from each other.
        shift = (i - (len(arms) - 1) / 2) * 0.006 * np.ptp(x)
        errors, line = np.maximum([area - low, high - area], 0), {"linewidth": 1.2, "elinewidth": 0.8}
        axes.errorbar(x + shift, area, errors, label=arm, marker="o", ms=3, **line, **_style(arm))
    axes.axhline(0.5, color="0.8", linewidth=1, zorder=0)
    axes.set(xlabel=f"contrast [{unit}]", ylabel="AUC", ylim=(0.45, 1.005), title=title)
    axes.legend(fontsize=8, loc="lower right")
    return figure


def _style(arm):
    return {"HR": {"color": "black"}, "bicubic": {"color": "tab:red"}, "LR": {"color": "tab:gray"}}.get(arm, {})


def _curves(axes, curves):
    for arm, (false, true) in curves.items():
        axes.plot(false, true, label=arm, linewidth=1.4, **_style(arm))
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1, zorder=0)
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", xlim=(0, 1), ylim=(0, 1.005), aspect="equal")
    axes.legend(fontsize=8, loc="lower right")
