"""The report of a task-based assessment: `observe.json`, `report.md`, `report.html` and its pictures."""

import base64
import dataclasses
import html
import io
import json
import pathlib

from tfmisr.edge.files import atomic_write, write_text
from tfmisr.observers import classifier_tables, plots
from tfmisr.observers.results import REFERENCE

_COLUMNS = (
    "arm",
    "AUC (95 %)",
    "d'",
    "against bicubic (95 %)",
    "p (Holm)",
    "lost",
    "hallucinated",
    "amplitude",
    "verdict",
)
_STYLE = """
:root { color-scheme: light dark; }
body { max-width: 76rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, "Liberation Sans", sans-serif; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.6rem; border-bottom: 1px solid #8885; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .verdict th:last-child, .verdict td:last-child { text-align: left; }
.verdict td:last-child { white-space: normal; min-width: 6rem; }
div { overflow-x: auto; margin: 0.75rem 0; }
img { max-width: 100%; background: #fff; }
.dim { opacity: 0.75; font-size: 0.9rem; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report: heading, sentence, tables of texts with their titles, and pictures (file to caption)."""

    name: str
    text: str
    tables: list[tuple[tuple[str, ...], list[list[str]]]]
    pictures: dict[str, str] = dataclasses.field(default_factory=dict)


def sections(content: dict) -> list[Section]:
    """Returns the parts of the report: the tasks, then the labels of a classifier."""
    return [_task(result) for result in content["tasks"]] + classifier_tables.sections(content, Section)


def _task(result):
    name, tables = result["task"]["name"], [(_COLUMNS, rows(result))]
    pictures = {f"{name}.png": f"ROC curves and windows of {name}"}
    if points := result.get("contrasts"):
        heads = (f"AUC (95 %) at {point['contrast']:g} {unit(result['task'])}" for point in points)
        body = [[arm, *(_area(point["arms"][arm]) for point in points)] for arm in points[0]["arms"]]
        tables.append((("arm", *heads), body))
        pictures[f"{name}_contrasts.png"] = f"AUC against contrast of {name}"
    if "localized" in result["arms"][REFERENCE]:
        tables.append((("arm", "marked rightly"), [[a, f"{v['localized']:.1%}"] for a, v in result["arms"].items()]))
    return Section(name, _title(result), tables, pictures)


def write(content: dict, pictures: list[dict], folder: pathlib.Path) -> None:
    """Writes the report's files, each of them atomically.

    Args:
        content: What `observe.json` holds: `protocol`, and `tasks` as `tfmisr.observers.results.measure` returns them,
            without their pictures.
        pictures: The pictures of the tasks.
        folder: Output folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "observe.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    images = {}
    for result, parts in zip(content["tasks"], pictures, strict=True):
        name, title = result["task"]["name"], f"{result['task']['name']}: {_title(result)}"
        images[f"{name}.png"] = _png(plots.page(parts["curves"], parts["case"], title))
        if "contrasts" in result:
            images[f"{name}_contrasts.png"] = _png(plots.contrasts(result["contrasts"], name, unit(result["task"])))
    for name, data in images.items():
        with atomic_write(folder / name) as temporary:
            pathlib.Path(temporary).write_bytes(data)
    write_text(folder / "report.md", markdown(content))
    write_text(folder / "report.html", page(content, images))


def _png(figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()


def markdown(content: dict) -> str:
    """Returns the report as Markdown, with a table for each task and label."""
    parts = ["# Task-based assessment\n", summary(content) + "\n"]
    for section in sections(content):
        parts += [f"## {section.name}\n", section.text + "\n"]
        for heads, lines in section.tables:
            rules = f"| --- |{' ---: |' * (len(heads) - 2)} {'---' if heads[-1] == 'verdict' else '---:'} |"
            parts += [f"| {' | '.join(heads)} |", rules, *(f"| {' | '.join(row)} |" for row in lines), ""]
        parts += [f"![{text}]({name})\n" for name, text in section.pictures.items()]
    return "\n".join([*parts, caption(content)]) + "\n"


def page(content: dict, images: dict[str, bytes]) -> str:
    """Returns the report as one HTML file without scripts, its pictures (PNG by file name) included."""
    escape = html.escape
    parts = ["<h1>Task-based assessment</h1>", f"<p>{escape(summary(content))}</p>"]
    for section in sections(content):
        parts.append(f"<h2>{escape(section.name)}</h2><p>{escape(section.text)}</p>")
        parts += [_table(heads, lines) for heads, lines in section.tables]
        for name, text in section.pictures.items():
            data = base64.b64encode(images[name]).decode()
            parts.append(f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">')
    parts.append(f'<p class="dim">{escape(caption(content))}</p>')
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Task-based assessment</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{_STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _table(heads, lines):
    head = _cells("th", heads)
    body = "".join(f"<tr>{_cells('td', line)}</tr>" for line in lines)
    kind = ' class="verdict"' if heads[-1] == "verdict" else ""
    return f"<div><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cells(tag, texts):
    return "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts)


def summary(content: dict) -> str:
    """Returns one sentence for each model: in how many tasks it is better, worse, equivalent or undecided."""
    margin = content["protocol"]["margin"]
    found = {r["task"]["name"]: r["arms"] for r in content["tasks"]}
    found |= {f"label {name}": r["arms"] for name, r in content.get("classifier", {"labels": {}})["labels"].items()}
    sentences = []
    for model in content["protocol"]["models"]:
        verdicts = {name: arms[model]["verdict"] for name, arms in found.items()}
        kinds = {kind: [n for n, other in verdicts.items() if other == kind] for kind in verdicts.values()}
        text = "; ".join(f"{kind} for {', '.join(names)}" for kind, names in kinds.items())
        sentences.append(f"{model} against {REFERENCE} interpolation: {text}.")
    return " ".join([*sentences, f"Margin of equivalence: {margin:g} in AUC."])


def rows(result: dict) -> list[list[str]]:
    """Returns the rows of a task's table."""
    return [_row(arm, values) for arm, values in result["arms"].items()]


def _row(arm, values):
    return [
        arm,
        _area(values),
        "-" if values["d_prime"] is None else f"{values['d_prime']:.2f}",
        "-" if arm == REFERENCE else classifier_tables.signed(values, "difference"),
        f"{values['p_holm']:.3f}" if "p_holm" in values else "-",
        f"{values['lost']:.1%}",
        f"{values['hallucinated']:.1%}",
        "-" if values["transfer"] is None else f"{values['transfer']:.2f} ± {values['transfer_deviation']:.2f}",
        values["verdict"] or "-",
    ]


def _area(values):
    return f"{values['auc']:.3f} ({values['auc_low']:.3f} to {values['auc_high']:.3f})"


def unit(task: dict) -> str:
    """Returns the unit of a task's contrast in words."""
    return {"levels": "levels of 8 bits", "HU": "HU", "percent": "percent"}[task["contrast_unit"]]


def _title(result):
    task = result["task"]
    against = f" against {task['against']}" if task["against"] else ""
    size = f"{task['size']:g} {task['size_unit']}"
    counts = f"{result['windows']:,} windows of {result['patients']} patients"
    return f"{task['signal']}{against}, {size}, contrast {task['contrast']:g} {unit(task)}; {counts}"


def caption(content: dict) -> str:
    """Returns how the numbers were measured."""
    p = content["protocol"]
    splits = " and ".join(p["splits"])
    parts = [
        f"Protocol {p['hash']}: {p['dataset']}, {splits}; x{p['scale']}, LR by {p['degradation']}; intervals: 95 % "
        "bootstrap over patients; p adjusted (Holm) over the arms of a task or label."
    ]
    if content["tasks"]:
        noise = f", internal noise {p['internal_noise']:g} levels" if p["internal_noise"] else ""
        parts.append(
            "Signals are inserted into the high-resolution image before it is reduced; observer "
            f"{p['observer']}{noise}, trained on other patients than those it rates (10-fold). Lost: of the signals "
            "found in HR at 5 % false positives, the share not found in the arm. Hallucinated: of the windows without "
            "a signal that are negative in HR, the share positive in the arm. Amplitude: share of the signal's "
            "contrast that is left."
        )
    if p.get("search"):
        parts.append(
            f"Signals lie up to {p['search']} pixels from the middle of their windows and the observer scans them: AUC "
            "is the area under the LROC curve. Marked rightly: share of signals within half of their size, at least "
            "three pixels, of the largest response."
        )
    if "classifier" in content:
        parts.append(classifier_tables.caption(content["classifier"]))
    return " ".join([*parts, "unsharp_mask and back_projection are controls without a network."])
