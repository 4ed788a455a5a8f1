"""The report as one self-contained HTML file: no script, no external font, no external image."""

import html
import re
from collections.abc import Iterator

from tfmisr.reader_study.report import plots, sentences, tables
from tfmisr.reader_study.report.table import Table

_WIDE = 7  # columns; wider tables put intervals on a second line
_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2024; --dim: #5b636d; --line: #9aa1a9; --rule: #d9dde1;
  --soft: #f4f6f8; --accent: #2c6ca3; --warn: #8a4b00; --warn-paper: #fff1db; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e6e8ea; --dim: #a0a8b1; --line: #767e87;
  --rule: #333941; --soft: #1d2126; --accent: #7fb6e6; --warn: #ffc57a; --warn-paper: #3a2a12; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0.75rem 0 0.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 0.75rem; padding-top: 0.6rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.25rem 0 0.25rem; }
p, li, dd { max-width: 46rem; }
a { color: var(--accent); }
.dim, figcaption, caption, .note { color: var(--dim); font-size: 0.875rem; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 0.85em; overflow-wrap: anywhere; }
.stamp { position: sticky; top: 0; z-index: 1; background: var(--warn-paper); color: var(--warn); text-align: center;
  font-weight: 700; letter-spacing: 0.06em; padding: 0.35rem; border-bottom: 1px solid var(--warn); }
.facts { display: flex; flex-wrap: wrap; gap: 0.25rem 2.25rem; margin: 1.25rem 0 0; padding: 0; }
.facts div { display: flex; flex-direction: column-reverse; }
.facts dt { color: var(--dim); font-size: 0.8rem; }
.facts dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
nav { margin-top: 1.25rem; font-size: 0.9rem; }
nav a { margin-right: 0.9rem; white-space: nowrap; }
ul.findings { padding-left: 1.1rem; }
ul.cautions { list-style: none; margin: 1.25rem 0 0; padding: 0.6rem 0.9rem; border-left: 3px solid var(--warn);
  background: var(--warn-paper); color: var(--warn); }
ul.findings li { margin: 0.3rem 0; }
section { scroll-margin-top: 2.75rem; } /* below the stamp */
.scroll { overflow-x: auto; margin: 0.75rem 0 0.25rem; }
.scroll + .scroll, .note + .scroll { margin-top: 2rem; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; min-width: 100%; }
caption { text-align: left; padding-bottom: 0.5rem; max-width: 46rem; }
th, td { text-align: right; padding: 0.32rem 0.6rem; border-bottom: 1px solid var(--rule); vertical-align: top; }
th:first-child, .text { text-align: left; }
td { white-space: nowrap; }
td.text { white-space: normal; }
td .ends { color: var(--dim); }
table.wide .ends { display: block; font-size: 0.8rem; }
thead th { color: var(--dim); font-weight: 600; border-bottom: 1.5px solid var(--line); vertical-align: bottom; }
tbody th { font-weight: 500; }
tbody tr:hover { background: var(--soft); }
figure { margin: 0.75rem 0 1.25rem; overflow-x: auto; }
figure svg { width: 100%; min-width: 38rem; height: auto; display: block; }
svg text { font-family: inherit !important; }
dl.methods dt { font-weight: 600; margin-top: 0.8rem; }
dl.methods dd { margin: 0.1rem 0 0; }
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #000; --dim: #444; --line: #777; --rule: #ccc; --soft: #fff;
    --accent: #000; --warn: #8a4b00; --warn-paper: #fff; }
  body { font-size: 10pt; } main { max-width: none; padding: 0.6cm 0 0; } nav { display: none; }
  .stamp { position: static; } .scroll, figure { overflow: visible; } figure svg { min-width: 0; }
  .dim, figcaption, caption, .note { font-size: 8pt; }
  table { font-size: 7.5pt; } table.wide .ends { font-size: 6.5pt; } th, td { padding: 0.15rem 0.3rem; }
  caption, thead { break-after: avoid; }
  h2 { break-after: avoid; margin-top: 1.2rem; } figure, tr { break-inside: avoid; }
  thead { display: table-header-group; }
  @page { margin: 1.4cm; } }
"""
# At the head of every printed page.
_STAMPED = '@page { @top-center { content: "%s"; font: bold 9pt sans-serif; color: #8a4b00; } }'
# Only inline styles are allowed: a text from a study file is harmless even if it were interpreted as markup.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(results: dict) -> str:
    """Returns the report as HTML.

    Args:
        results: Content of results.json.
    """
    study, warning = results["study"], results.get("warning")
    stamp = f'<div class="stamp" role="note">{warning}: no person gave these answers</div>' if warning else ""
    style = _STYLE + (_STAMPED % warning if warning else "")
    sections = [(title, body) for title, body in _sections(results, tables.all_tables(results)) if body]
    links = " ".join(f'<a href="#s{i}">{title}</a>' for i, (title, _) in enumerate(sections))
    bodies = "".join(f'<section id="s{i}"><h2>{title}</h2>{body}</section>' for i, (title, body) in enumerate(sections))
    title = html.escape(study["title"])
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}{' - ' + warning if warning else ''}</title><style>{style}</style></head>\n"
        f"<body>{stamp}<main><header><h1>{title}</h1>"
        f'<p class="dim">Reader study <code>{html.escape(study["hash"])}</code></p>{_facts(results)}{_cautions(study)}'
        f'<nav aria-label="Sections">{links}</nav></header>\n{bodies}</main></body></html>\n'
    )


def _sections(results: dict, tables_by_name: dict[str, Table]) -> Iterator[tuple[str, str]]:
    """Yields title and HTML of each section; the HTML is empty if there is no content."""
    markup = {name: _table(table, results.get("warning")) for name, table in tables_by_name.items()}
    several = len(results["study"]["readers"]) > 1
    yield "Summary", _findings(results)
    yield (
        "Mean scores",
        markup["means"] + _figure(plots.means(results), "Bars: 95 % over readers and cases. Dots: readers."),
    )
    distributions = _figure(plots.distributions(results), "Numbers in the bars: answers.")
    yield "Score distributions", distributions + markup["counts"]
    yield "Pairwise comparisons of arms", markup["pairs"] + markup["model"]
    yield "Non-inferiority", _noninferiority(results, markup)
    yield "Inter-reader agreement", markup["agreement"] + markup.get("reader_pairs", "") if several else ""
    yield "Intra-reader agreement", markup.get("within_reader", "<p>No image was rated twice.</p>")
    preferences = markup.get("preferences", "") + markup.get("strengths", "")
    yield "Preferences", _figure(plots.strengths(results), "Bars: 95 %.") + preferences
    yield "Readers", markup["by_reader"]
    yield "Reading times", _figure(plots.times(results), "") + markup["times"]
    yield "Flow of answers", markup["flow"]
    yield "Questions", _questions(results)
    yield "Methods", _methods(results)
    yield "Versions", _versions(results)


def _findings(results: dict) -> str:
    parts = []
    for title, texts in sentences.findings(results).items():
        points = "".join(map(_finding, texts))
        parts.append(f'<h3>{html.escape(title)}</h3><ul class="findings">{points}</ul>')
    return "".join(parts)


def _finding(text: str) -> str:
    sentence, *items = text.split("\n")
    points = "".join(f"<li>{_escaped(item)}</li>" for item in items)
    return f"<li>{_escaped(sentence)}{f'<ul>{points}</ul>' if points else ''}</li>"


def _facts(results: dict) -> str:
    parts = "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in sentences.facts(results))
    return f'<dl class="facts">{parts}</dl>'


def _cautions(study: dict) -> str:
    points = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in study["cautions"])
    return f'<ul class="cautions">{points}</ul>' if points else ""


def _noninferiority(results: dict, markup: dict[str, str]) -> str:
    if "noninferiority" in markup:
        return (
            _figure(plots.noninferiority(results), "Blue: non-inferior, orange: inferior, gray: inconclusive.")
            + markup["noninferiority"]
        )
    if results["study"]["reference"] is None:
        return "<p>The study has no reference arm.</p>"
    return "<p>The study file has no non-inferiority margin; without one there is no verdict.</p>"


def _questions(results: dict) -> str:
    parts = []
    for name, question in results["questions"].items():
        anchors = ", ".join(f"{i} {html.escape(text)}" for i, text in enumerate(question["anchors"], 1))
        parts.append(
            f"<h3>{html.escape(name)}</h3><p>{html.escape(question['text'])} <span class=dim>{anchors}</span></p>"
        )
    return "".join(parts)


def _methods(results: dict) -> str:
    parts = "".join(f"<dt>{title}</dt><dd>{_escaped(text)}</dd>" for title, text in sentences.methods(results))
    return f'<dl class="methods">{parts}</dl>'


def _versions(results: dict) -> str:
    parts = [
        f"{html.escape(name)} {html.escape(', '.join(value) if isinstance(value, list) else value)}"
        for name, value in results["versions"].items()
    ]
    seed = results["study"]["seed"]
    return f'<p class="dim">{"; ".join(parts)}; seed {seed}. The same numbers: results.json and the CSV files.</p>'


def _escaped(text: str) -> str:
    """Escapes HTML; a hyphen before a number becomes a minus sign, the space before a percent sign non-breaking."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", html.escape(text)).replace(" %", " %")


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>" if svg else ""


def _table(table: Table, warning: str | None) -> str:
    classes = [" class=text" if title in tables.TEXTS else "" for title in table.header]
    titles = zip(classes, table.header, strict=True)
    head = "".join(f'<th scope="col"{css}>{_escaped(title)}</th>' for css, title in titles)
    rows = "".join(f"<tr>{''.join(map(_cell, classes, row, range(len(row))))}</tr>" for row in table.rows)
    wide = " class=wide" if len(table.header) > _WIDE else ""
    stamp = f"<strong>{warning}.</strong> " if warning else ""
    note = f'<p class="note">{_escaped(table.note)}</p>' if table.note else ""
    caption = f"<caption>{stamp}{_escaped(table.caption)} <code>{table.name}.csv</code></caption>"
    return (
        f'<div class="scroll"><table{wide}>{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}"
    )


def _cell(css_class: str, text: str, column: int) -> str:
    """Returns a cell; the style sheet dims intervals, and puts them on a second line in wide tables."""
    text = re.sub(r" (\([^()]* to [^()]*\))$", r" <span class=ends>\1</span>", _escaped(text))
    return f"<td{css_class}>{text}</td>" if column else f'<th scope="row">{text}</th>'
