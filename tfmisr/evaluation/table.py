"""Tables of an evaluation: Markdown for a report, plain text for the terminal."""

import dataclasses
import math

from tfmisr import metrics
from tfmisr.edge.text import counted
from tfmisr.evaluation import protocol as protocols

CONSOLE_WIDTH = 100
_MISSING = "-"


@dataclasses.dataclass(frozen=True)
class _Column:
    """One column: its title, the key in `metrics.json`, the format, and whether higher or lower is better.

    `reference` is the key of the same metric of the reference images, whose value is appended to the title.
    """

    title: str
    key: str
    format: str
    interval: bool = False
    better: str | None = "higher"
    reference: str | None = None


_CONSOLE = (
    _Column("PSNR [dB]", "psnr", ".2f", interval=True),
    _Column("gain [dB]", "psnr_gain", "+.2f", interval=True),
    _Column("SSIM", "ssim", ".4f"),
    _Column("center [dB]", "psnr_center", ".2f"),
)
_GAIN = _Column("gain over bicubic [dB] (95 % interval)", "psnr_gain", "+.2f", interval=True)


def _columns() -> list[_Column]:
    """Returns the columns of all metrics: those of the central crop after their metrics, unordered ones at the end."""
    rows = metrics.rows()
    first = [metric for metric in rows if metric.center]
    ordered = [metric for metric in rows if metric.better and not metric.center]
    unordered = [metric for metric in rows if not metric.better and not metric.center]
    columns = [*map(_column, first), *(_column(m, " center", "_center") for m in first)]
    columns += [_column(metric) for metric in (*ordered, *unordered)]
    columns.insert(1, _GAIN)
    return columns


def _column(metric, title="", key="") -> _Column:
    interval = metric.interval and not key
    shown = " (95 % interval)" * interval + " (limits of agreement)" * (metric.agreement and not interval)
    shown = " (95 % interval; limits of agreement)" if interval and metric.agreement else shown
    parts = [metric.column + title, f" [{metric.unit}]" * bool(metric.unit), shown]
    parts += [" (less is better)" * (metric.better == "lower")]
    reference = f"{metric.name}_hr" if metric.no_reference else None
    return _Column("".join(parts), metric.name + key, metric.format, interval, metric.better, reference)


def markdown_table(content: dict) -> str:
    """Returns a Markdown table of all models with the protocol beneath.

    The best value of a column is bold, together with all that read the same; with a single model none is. A missing
    or undefined value is "-".

    Args:
        content: Content of `metrics.json`: `{"protocol": {...}, "notes": [...], "models": {name: {"psnr": dB, ...}}}`.
    """
    titles, *lines = cells(content)
    lines = [(_name(name), *rest) for name, *rest in lines]
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *lines]
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    notes = "".join(f"\nNote: {note}.\n" for note in content.get("notes", ()))
    return f"{rows}\n{caption(content['protocol'], content['models'])}\n{notes}"


def cells(content: dict) -> list[list[str]]:
    """Returns the titles of the full table, then one row per model; the best of a column is within `**`.

    Args:
        content: Content of `metrics.json`.
    """
    models = protocols.current_metrics(content)["models"]
    columns = _measured(_columns(), models)
    shown = [list(models), [_parameters(m) for m in models.values()]]
    shown += [_bold_best(_formatted(models, column), column.better) for column in columns]
    titles = ["model", "parameters", *(_title(column, models) + _count(column, models) for column in columns)]
    return [titles, *map(list, zip(*shown, strict=True))]


def console_table(content: dict) -> str:
    """Returns an aligned table of the main metrics, at most 100 columns wide, without a final line break.

    Args:
        content: Content of `metrics.json`.
    """
    models = protocols.current_metrics(content)["models"]
    values = []
    for column in _measured(_CONSOLE, models):
        formatted = (text + interval for text, interval, _ in _formatted(models, column))
        texts = [column.title + _count(column, models), *formatted]
        values.append([text.rjust(max(map(len, texts))) for text in texts])
    rest = ["  ".join(line) for line in zip(*values, strict=True)]
    names = [shortened(name, CONSOLE_WIDTH - 2 - len(rest[0])) for name in ("model", *models)]
    width = max(map(len, names))
    return "\n".join(f"{name.ljust(width)}  {line}" for name, line in zip(names, rest, strict=True))


def caption(protocol: dict, models: dict) -> str:
    """Returns the protocol in words, with its hash: numbers are comparable only where it is equal.

    Args:
        protocol: `protocol` of `metrics.json`.
        models: `models` of `metrics.json`.
    """
    protocol = protocols.current_names(protocol)
    known = {
        "dataset": "{dataset}, split {split}, {images} (hash {images_sha256})",
        "scale": "x{scale}",
        "degradation": "LR by {degradation}",
        "crop_border": "{crop_border} pixels cut off at each edge",
        "center_fraction": "center: the middle {center_fraction:.1%} of each side",
        "full_scale": "one full scale for a {full_scale} (Series Instance UID, else sub-folder)",
        "values": "{values}",
        "measures": "{measures}",
    }
    values = _Known(protocol)
    if "images" in protocol:
        values["images"] = counted(protocol["images"], "image")
    parts = [text.format_map(values) for key, text in known.items() if key in protocol]
    used = {*known, "split", "images", "images_sha256", "hash"}
    parts += [f"{key} {value}" for key, value in protocol.items() if key not in used]
    if any(_number(m, "psnr_low") is not None for m in models.values()):
        parts.append("intervals: 95 % bootstrap over patients")
    return f"Protocol `{protocol.get('hash', 'without hash')}`: {'; '.join(parts)}."


def shortened(name: str, width: int) -> str:
    """Returns the name, or its beginning and end with dots between them if it has more than `width` letters."""
    half = (width - 3) // 2
    return name if len(name) <= width else f"{name[:half]}...{name[-half:]}"


class _Known(dict):
    def __missing__(self, key):
        return "unknown"


def _number(model, key):
    value = model.get(key)
    return None if value is None or math.isnan(value) else float(value)


def _measured(columns, models):
    return [column for column in columns if any(column.key in model for model in models.values())]


def _formatted(models, column):
    """Returns, for each model, the text, the interval's text and the value."""
    return [_cell(model, column) for model in models.values()]


def _cell(model, column):
    value, low, high = (_number(model, column.key + end) for end in ("", "_low", "_high"))
    if value is None:
        return _MISSING, "", None
    ranges = []
    # The reference's own gain is 0 with an interval of zero width.
    if column.interval and None not in (low, high) and low < high:
        ranges.append(f"{_format(low, column)} to {_format(high, column)}")
    limits = [_number(model, f"{column.key}_loa{end}") for end in ("_low", "_high")]
    if None not in limits:
        ranges.append(f"limits {' to '.join(_format(limit, column) for limit in limits)}")
    return _format(value, column), f" ({'; '.join(ranges)})" * bool(ranges), value


def _format(value, column):
    text = f"{value:{column.format}}"
    return text if float(text) else f"{0:{column.format}}"  # no "-0.00"


def _title(column, models):
    """Returns the title with the value of the reference images, which is the same for all models."""
    if column is _GAIN:
        return column.title.replace(protocols.REFERENCE, protocols.reference(models))
    values = [_number(model, column.reference) for model in models.values()] if column.reference else []
    known = next((value for value in values if value is not None), None)
    return column.title if known is None else f"{column.title} (HR {_format(known, column)})"


def _count(column, models) -> str:
    """Returns how many images a metric is the mean of, where some were left out."""
    counts = next(((m[f"{column.key}_n"], m["n"]) for m in models.values() if f"{column.key}_n" in m), None)
    return f", {counts[0]} of {counts[1]}" if counts else ""


def _bold_best(cells, better):
    numbers = [(value, text) for text, _, value in cells if value is not None]
    choose = {"higher": max, "lower": min}.get(better)
    best = choose(numbers)[1] if choose and len(cells) > 1 and numbers else None
    return [f"**{text}**{interval}" if text == best else text + interval for text, interval, _ in cells]


def _parameters(model):
    count = model.get("parameters")
    return f"{count:,}" if count else _MISSING


def _name(name):
    return name.replace("|", "\\|")
