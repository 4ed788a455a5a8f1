"""The table of an evaluation, for a report (Markdown) and for the terminal."""

import dataclasses
import math
from collections.abc import Callable

from tfmisr.edge.text import counted

CONSOLE_WIDTH = 100
_MISSING = "-"


@dataclasses.dataclass(frozen=True)
class _Column:
    """One measure: where it stands in `metrics.json`, how it is written, and whether more of it is better.

    `best` is `max`, `min`, or `None` for a measure of which neither more nor less is better; `truth` is the key of
    the same measure of the true images, which goes into the title. A measure that no model was asked for has no column.
    """

    title: str
    key: str
    style: str
    interval: bool = False
    best: Callable | None = max
    truth: str | None = None


_COLUMNS = (
    _Column("PSNR [dB] (95 % interval)", "psnr", ".2f", interval=True),
    _Column("gain over bicubic [dB] (95 % interval)", "psnr_gain", "+.2f", interval=True),
    _Column("SSIM", "ssim", ".4f"),
    _Column("PSNR centre [dB]", "psnr_centre", ".2f"),
    _Column("SSIM centre", "ssim_centre", ".4f"),
    _Column("MS-SSIM", "ms_ssim", ".4f"),
    _Column("HaarPSI", "haarpsi", ".4f"),
    _Column("HaarPSI_MED", "haarpsi_med", ".4f"),
    _Column("VIFp", "vif", ".4f"),
    _Column("GMSD (less is better)", "gmsd", ".4f", best=min),
    *(
        _Column(f"{measure.upper()} {window.replace('_', ' ')} window", f"{measure}_{window}", style)
        for window in ("lung", "soft_tissue", "bone", "brain")
        for measure, style in (("psnr", ".2f"), ("ssim", ".4f"))
    ),
    _Column("LPIPS AlexNet (less is better)", "lpips_alex", ".4f", best=min),
    _Column("LPIPS VGG (less is better)", "lpips_vgg", ".4f", best=min),
    _Column("FID (less is better)", "fid", ".3f", best=min),
    _Column("KID (less is better)", "kid", ".6f", best=min),
    _Column("sharpness (HR 1)", "sharpness", ".3f", best=None),
    _Column("Laplacian", "laplacian", ".1f", best=None, truth="laplacian_hr"),
    _Column("noise", "noise", ".2f", best=None, truth="noise_hr"),
)
_CONSOLE = (
    _Column("PSNR [dB]", "psnr", ".2f", interval=True),
    _Column("gain [dB]", "psnr_gain", "+.2f", interval=True),
    _Column("SSIM", "ssim", ".4f"),
    _Column("centre [dB]", "psnr_centre", ".2f"),
)


def markdown_table(metrics: dict) -> str:
    """Returns a Markdown table of all models with the protocol beneath.

    The best value of a column is bold, and so is every other that reads the same; with a single model there
    is no best one. What is missing or not a number is "-".

    Args:
        metrics: Content of `metrics.json`: `{"protocol": {...}, "notes": [...], "models": {name: {"psnr": dB, ...}}}`.
    """
    titles, *lines = cells(metrics)
    lines = [(_name(name), *rest) for name, *rest in lines]
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *lines]
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    notes = "".join(f"\nNote: {note}.\n" for note in metrics.get("notes", ()))
    return f"{rows}\n{caption(metrics['protocol'], metrics['models'])}\n{notes}"


def cells(metrics: dict) -> list[list[str]]:
    """Returns the titles of the whole table, then a row for each model; the best of a column is within `**`.

    Args:
        metrics: Content of `metrics.json`.
    """
    models = metrics["models"]
    columns = _asked_for(_COLUMNS, models)
    found = [list(models), [_parameters(m) for m in models.values()]]
    found += [_bold_best(_shown(models, column), column.best) for column in columns]
    titles = ["model", "parameters", *(_title(column, models) + _counted(column, models) for column in columns)]
    return [titles, *map(list, zip(*found, strict=True))]


def console_table(metrics: dict) -> str:
    """Returns an aligned table of the main measures, at most 100 columns wide, without the last line's end.

    Args:
        metrics: Content of `metrics.json`.
    """
    models = metrics["models"]
    values = []
    for column in _asked_for(_CONSOLE, models):
        shown = (text + interval for text, interval, _ in _shown(models, column))
        texts = [column.title + _counted(column, models), *shown]
        values.append([text.rjust(max(map(len, texts))) for text in texts])
    rest = ["  ".join(line) for line in zip(*values, strict=True)]
    names = [shortened(name, CONSOLE_WIDTH - 2 - len(rest[0])) for name in ("model", *models)]
    width = max(map(len, names))
    return "\n".join(f"{name.ljust(width)}  {line}" for name, line in zip(names, rest, strict=True))


def caption(protocol: dict, models: dict) -> str:
    """Returns the protocol in words, with its hash: what has to be equal before numbers are compared."""
    known = {
        "dataset": "{dataset}, split {split}, {images} (hash {images_sha256})",
        "scale": "x{scale}",
        "degradation": "LR by {degradation}",
        "crop_border": "{crop_border} pixels cut off at each edge",
        "centre_fraction": "centre: the middle {centre_fraction:.1%} of each side",
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
    """Returns the name, or its beginning and end with dots between where it has more than `width` letters."""
    half = (width - 3) // 2
    return name if len(name) <= width else f"{name[:half]}...{name[-half:]}"


class _Known(dict):
    def __missing__(self, key):
        return "unknown"


def _number(model, key):
    value = model.get(key)
    return None if value is None or math.isnan(value) else float(value)


def _asked_for(columns, models):
    return [column for column in columns if any(column.key in model for model in models.values())]


def _shown(models, column):
    """Returns, for each model, the text, the interval's text and the value."""
    return [_cell(model, column) for model in models.values()]


def _cell(model, column):
    value, low, high = (_number(model, column.key + end) for end in ("", "_low", "_high"))
    if value is None:
        return _MISSING, "", None
    interval = ""
    # The reference's own gain is 0 with an interval of no width.
    if column.interval and None not in (low, high) and low < high:
        interval = f" ({_written(low, column)} to {_written(high, column)})"
    return _written(value, column), interval, value


def _written(value, column):
    text = f"{value:{column.style}}"
    return text if float(text) else f"{0:{column.style}}"  # no "-0.00"


def _title(column, models):
    """The true images are the same for all models, so what they have stands in the title."""
    values = [_number(model, column.truth) for model in models.values()] if column.truth else []
    known = next((value for value in values if value is not None), None)
    return column.title if known is None else f"{column.title} (HR {_written(known, column)})"


def _counted(column, models) -> str:
    """Returns how many images a measure is the mean of, where that is not all of them."""
    counts = next(((m[f"{column.key}_n"], m["n"]) for m in models.values() if f"{column.key}_n" in m), None)
    return f", {counts[0]} of {counts[1]}" if counts else ""


def _bold_best(cells, choose=max):
    numbers = [(value, text) for text, _, value in cells if value is not None]
    best = choose(numbers)[1] if choose and len(cells) > 1 and numbers else None
    return [f"**{text}**{interval}" if text == best else text + interval for text, interval, _ in cells]


def _parameters(model):
    count = model.get("parameters")
    return f"{count:,}" if count else _MISSING


def _name(name):
    return name.replace("|", "\\|")
