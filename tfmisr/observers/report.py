"""The report of a task-based assessment: `observe.json`, `report.md`, `report.html` and its pictures."""

import base64
import html
import io
import json
import pathlib

from tfmisr.edge.files import atomic_write, write_text
from tfmisr.observers import plots
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
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
td:last-child { white-space: normal; min-width: 6rem; }
div { overflow-x: auto; margin: 0.75rem 0; }
img { max-width: 100%; background: #fff; }
.dim { opacity: 0.75; font-size: 0.9rem; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


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
        name = result["task"]["name"]
        figure = plots.page(parts["curves"], parts["case"], f"{name}: {_title(result)}")
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=110)
        images[name] = stream.getvalue()
        with atomic_write(folder / f"{name}.png") as temporary:
            pathlib.Path(temporary).write_bytes(images[name])
    write_text(folder / "report.md", markdown(content))
    write_text(folder / "report.html", page(content, images))


def markdown(content: dict) -> str:
    """Returns the report as Markdown, with a table for each task."""
    parts = ["# Task-based assessment\n", summary(content) + "\n"]
    for result in content["tasks"]:
        name = result["task"]["name"]
        parts += [f"## {name}\n", _title(result) + "\n"]
        parts += [f"| {' | '.join(_COLUMNS)} |", f"| --- |{' ---: |' * (len(_COLUMNS) - 2)} --- |"]
        parts += [f"| {' | '.join(row)} |" for row in rows(result)]
        parts += [f"\n![ROC curves and windows of {name}]({name}.png)\n"]
    return "\n".join([*parts, caption(content)]) + "\n"


def page(content: dict, images: dict[str, bytes]) -> str:
    """Returns the report as one HTML file without scripts, its pictures (PNG by task) included."""
    escape = html.escape
    parts = ["<h1>Task-based assessment</h1>", f"<p>{escape(summary(content))}</p>"]
    for result in content["tasks"]:
        name = result["task"]["name"]
        head = "".join(f"<th>{escape(column)}</th>" for column in _COLUMNS)
        lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows(result)]
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        data = base64.b64encode(images[name]).decode()
        parts += [
            f"<h2>{escape(name)}</h2><p>{escape(_title(result))}</p>",
            f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>",
            f'<img alt="ROC curves and windows of {escape(name)}" src="data:image/png;base64,{data}">',
        ]
    parts.append(f'<p class="dim">{escape(caption(content))}</p>')
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Task-based assessment</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{_STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def summary(content: dict) -> str:
    """Returns one sentence for each model: in how many tasks it is better, worse, equivalent or undecided."""
    margin = content["protocol"]["margin"]
    sentences = []
    for model in content["protocol"]["models"]:
        verdicts = {r["task"]["name"]: r["arms"][model]["verdict"] for r in content["tasks"]}
        kinds = {
            kind: [task for task, found in verdicts.items() if found == kind]
            for kind in dict.fromkeys(verdicts.values())
        }
        found = "; ".join(f"{kind} for {', '.join(tasks)}" for kind, tasks in kinds.items())
        sentences.append(f"{model} against {REFERENCE} interpolation: {found}.")
    return " ".join([*sentences, f"Margin of equivalence: {margin:g} in AUC."])


def rows(result: dict) -> list[list[str]]:
    """Returns the rows of a task's table."""
    return [_row(arm, values) for arm, values in result["arms"].items()]


def _row(arm, values):
    difference = f"{values['difference']:+.3f} ({values['difference_low']:+.3f} to {values['difference_high']:+.3f})"
    return [
        arm,
        f"{values['auc']:.3f} ({values['auc_low']:.3f} to {values['auc_high']:.3f})",
        "-" if values["d_prime"] is None else f"{values['d_prime']:.2f}",
        "-" if arm == REFERENCE else difference,
        f"{values['p_holm']:.3f}" if "p_holm" in values else "-",
        f"{values['lost']:.1%}",
        f"{values['hallucinated']:.1%}",
        "-" if values["transfer"] is None else f"{values['transfer']:.2f} ± {values['transfer_deviation']:.2f}",
        values["verdict"] or "-",
    ]


def _title(result):
    task = result["task"]
    unit = {"levels": "levels of 8 bits", "HU": "HU", "percent": "percent"}[task["contrast_unit"]]
    against = f" against {task['against']}" if task["against"] else ""
    size = f"{task['size']:g} {task['size_unit']}"
    counts = f"{result['windows']:,} windows of {result['patients']} patients"
    return f"{task['signal']}{against}, {size}, contrast {task['contrast']:g} {unit}; {counts}"


def caption(content: dict) -> str:
    """Returns how the numbers were measured."""
    p = content["protocol"]
    noise = f", internal noise {p['internal_noise']:g} levels" if p["internal_noise"] else ""
    splits = " and ".join(p["splits"])
    return (
        f"Protocol {p['hash']}: {p['dataset']}, {splits}; x{p['scale']}, LR by {p['degradation']}; signals "
        f"are inserted into the high-resolution image before it is reduced; observer {p['observer']}{noise}, trained "
        "on other patients than those it rates (10-fold); intervals: 95 % bootstrap over patients; p adjusted (Holm) "
        "over the arms of a task. Lost: of the signals found in HR at 5 % false positives, the share not found in the "
        "arm. Hallucinated: of the windows without a signal that are negative in HR, the share positive in the arm. "
        "Amplitude: share of the signal's contrast that is left. unsharp_mask and back_projection are controls without "
        "a network."
    )
