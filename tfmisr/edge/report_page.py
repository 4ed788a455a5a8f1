"""The report on one upscaled file as an HTML page that needs no other file: style and pictures are part of it."""

import base64
import html as markup
import io
import typing
from collections.abc import Iterable

import numpy as np
import PIL.Image
import PIL.ImageDraw

from tfmisr.edge.text import three_digits

if typing.TYPE_CHECKING:
    from tfmisr.edge.report import Report

_STYLE = """
:root { color-scheme: light; --line: #d8dee4; --muted: #57606a; --ink: #1f2328; }
* { box-sizing: border-box; }
body { margin: 0; background: #f6f8fa; color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 900px; margin: 0 auto; padding: 32px 24px 48px; }
h1 { font-size: 24px; margin: 0 0 4px; }
h2 { font-size: 17px; margin: 0 0 8px; }
h3 { font-size: 15px; margin: 18px 0 6px; }
p { margin: 0 0 10px; }
.muted { color: var(--muted); }
.verdict { border-left: 6px solid; padding: 14px 18px; margin: 20px 0; background: #fff; border-radius: 4px; }
.verdict strong { font-size: 18px; }
.good { border-color: #1a7f37; } .careful { border-color: #bf8700; } .bad { border-color: #cf222e; }
.open { border-color: #6e7781; }
section { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: 16px 18px; margin: 0 0 16px; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: 5px 12px 5px 0; border-top: 1px solid var(--line); vertical-align: top; }
.bars td { vertical-align: middle; }
tr:first-child td, tr:first-child th { border-top: 0; }
th { font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; padding-right: 0; }
td.name { color: var(--muted); width: 38%; }
code { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: 16px; }
figure { margin: 0; flex: 1 1 300px; } figure img { width: 100%; display: block; background: #000; border-radius: 4px; }
figcaption { color: var(--muted); font-size: 13px; margin-top: 6px; }
.bar { background: #eaeef2; height: 10px; border-radius: 5px; width: 100%; min-width: 120px; }
.bar i { display: block; height: 10px; border-radius: 5px; background: #0969da; }
@media print { body { background: #fff; } main { max-width: none; padding: 0; } section { break-inside: avoid; } }
"""
_KIND = {"in scope": "good", "unusual": "careful", "out of scope": "bad", "not tested": "open"}
_VERDICT = {
    "in scope": "In scope: the image is like those the model was calibrated on.",
    "unusual": "Unusual: the image differs from those the model was calibrated on.",
    "out of scope": "Out of scope: the model is not made for this image, which was upscaled at the user's request.",
    "not tested": "Not tested: whether the model is made for this image was not checked.",
}
GUARANTEE = {
    "applies": "The statement applies to this image.",
    "not applicable": "The statement is not applicable to this image.",
    "not verified": "Whether the statement applies to this image was not verified.",
    "none": "This result has no calibrated half-widths.",
}
_BOX = (255, 196, 0)


def html(report: "Report") -> str:
    """Returns the page."""
    content = report.content
    model = content["model"]
    title = f"Upscaled x{model['scale']} by {model['name']}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        f"<p class=muted>What was checked of one image. {_text(content['created'])}</p>",
        _verdict(content),
        _pictures(report),
        _half_width(content),
        _consistency(content),
        _files(content),
        _model(content),
    ]
    return (
        f"<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content='width=device-width'>\n"
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n<main>\n"
        + "\n".join(filter(None, parts))
        + "\n</main>\n"
    )


def _text(value: object) -> str:
    return markup.escape(str(value))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_text(title)}</h2>{body}</section>"


def _rows(pairs: Iterable[tuple[str, str]]) -> str:
    rows = (f"<tr><td class=name>{_text(name)}</td><td>{value}</td></tr>" for name, value in pairs if value != "")
    return f"<table>{''.join(rows)}</table>"


def _percent(share: float | None) -> str:
    """Returns a share rounded down, so that 100 % is all."""
    return "not defined" if share is None else f"{np.floor(1000 * share) / 10:.1f} %"


def _energy(share: float | None) -> str:
    return "not defined" if share is None else f"{100 * share:.2f} %"


def _verdict(content: dict) -> str:
    checks = content["applicability"]
    outcome = checks["outcome"]
    lines = [f"<strong>{_text(_VERDICT[outcome])}</strong>"]
    if (p := checks["p_value"]) is not None:
        lines.append(f"p = {p:.2g}: of images like those of the calibration, {100 * p:.2g} % are as different.")
    for title, key in (("The header", "header_mismatches"), ("The pixels", "deviations")):
        if checks[key]:
            lines.append(f"{title}: {_text('; '.join(checks[key]))}.")
    if checks["not_stated"]:
        lines.append(f"The header does not state {_text(', '.join(checks['not_stated']))}.")
    if checks["untested"]:
        lines.append(f"Reason: {_text(checks['untested'])}.")
    guarantee = content["guarantee"]
    if guarantee["statement"]:
        lines.append(f"Half-width: {_text(guarantee['statement'])} <b>{_text(GUARANTEE[guarantee['state']])}</b>")
    else:
        lines.append(_text(GUARANTEE[guarantee["state"]]))
    return f"<div class='verdict {_KIND[outcome]}'>" + "".join(f"<p>{line}</p>" for line in lines) + "</div>"


def _pictures(report: "Report") -> str:
    content, frame = report.content, report.frame
    regions = (content["half_width"] or {}).get("regions", [])
    figures = []
    if frame.image is not None:
        caption = "The result, reduced." + (" Boxes: the largest half-widths." if regions else "")
        figures.append(_figure(_boxed(frame.image, regions, content["output"]), caption))
    if frame.half_width_image is not None:
        figures.append(
            _figure(_boxed(frame.half_width_image, regions, content["output"]), "Half-width: bright is wide.")
        )
    frames, number = content["input"]["frames"], content["described_frame"]
    note = f"<p class=muted>Frame {number} of {frames}, the one least like the calibration or its input.</p>"
    hidden = "<p class=muted>No picture: the header says that text is burned into the image.</p>"
    body = (note if frames > 1 else "") + (hidden if frame.image is None else "")
    body += f"<div class=pictures>{''.join(figures)}</div>" if figures else ""
    return _section("Image", body)


def _figure(picture: PIL.Image.Image, caption: str) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return (
        f"<figure><img src='data:image/png;base64,{data}' alt='{_text(caption)}'>"
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )


def _boxed(image: np.ndarray, regions: list[dict], size: dict) -> PIL.Image.Image:
    """Returns a picture in RGB with the numbered regions of an image of `size` drawn in."""
    picture = PIL.Image.fromarray(image).convert("RGB")
    draw = PIL.ImageDraw.Draw(picture)
    across, down = picture.width / size["width"], picture.height / size["height"]
    for number, region in enumerate(regions, start=1):
        left, top = region["column"] * across, region["row"] * down
        right, bottom = left + region["width"] * across, top + region["height"] * down
        draw.rectangle((left, top, right, bottom), outline=_BOX, width=2)
        draw.text((left + 4, top + 1), str(number), fill=_BOX)
    return picture


def _half_width(content: dict) -> str:
    found = content["half_width"]
    if found is None:
        return ""
    unit = found["unit"]
    quantiles = _rows(
        (name, _text(f"{three_digits(found[key])} {unit}"))
        for name, key in (("mean", "mean"), ("median", "median"), ("95 % of pixels below", "p95"), ("99 %", "p99"))
    )
    shares = "".join(
        f"<tr><td>up to {three_digits(each['at_most'])} {_text(unit)}</td>"
        f"<td style='width:50%'><div class=bar><i style='width:{100 * each['share']:.1f}%'></i></div></td>"
        f"<td class=number>{_percent(each['share'])}</td></tr>"
        for each in found["shares"]
    )
    regions = "".join(
        f"<tr><td>{number}</td><td>rows {each['row']} to {each['row'] + each['height'] - 1}, "
        f"columns {each['column']} to {each['column'] + each['width'] - 1}</td>"
        f"<td class=number>{three_digits(each['mean'])}</td>"
        f"<td class=number>{three_digits(each['maximum'])}</td></tr>"
        for number, each in enumerate(found["regions"], start=1)
    )
    head = f"<tr><th>box</th><th>place</th><th class=number>mean</th><th class=number>largest, {_text(unit)}</th></tr>"
    return _section(
        "Half-width",
        f"{quantiles}<h3>Share of pixels</h3><table class=bars>{shares}</table>"
        f"<h3>Where it is widest</h3><table>{head}{regions}</table>",
    )


def _consistency(content: dict) -> str:
    found = content["consistency"]
    beyond = ("contrast (energy) beyond the input's Nyquist frequency", _energy(content["energy_beyond_nyquist"]))
    if found is None:
        needed = "a gray image, and a model whose card says how its training images were reduced"
        pairs = [("agreement", f"not measured: it needs {needed}"), beyond]
        return _section("Agreement with the input", _rows(pairs))
    row, column = found["place"]
    pairs = [
        ("input pixels reproduced to half a level", _percent(found["within_half"])),
        ("to 0.75 levels", _percent(found["within_three_quarters"])),
        ("99.9 % of the input pixels within", f"{found['p999']:.2f} levels"),
        ("largest deviation", f"{found['maximum']:.1f} levels, input row {row}, column {column}"),
        ("contrast (energy) that no input pixel supports: null space", _energy(found["null_space_energy"])),
        beyond,
        ("correction", _text(found["correction"] or "none")),
    ]
    note = (
        "<p class=muted>Agreement excludes a contradiction to the input. It does not show that added detail is real: "
        "that lies in the null space.</p>"
    )
    return _section("Agreement with the input", note + _rows(pairs))


def _files(content: dict) -> str:
    given, made = content["input"], content["output"]
    header = ", ".join(f"{key} {value}" for key, value in given["header"].items())
    frames = f", {given['frames']} frames" if given["frames"] > 1 else ""
    pairs = [
        ("input", f"{_text(given['format'])}, {given['width']} x {given['height']} pixels{frames}"),
        ("header", _text(header)),
        ("input SHA-256", f"<code>{given['sha256']}</code>"),
        ("result", f"{made['width']} x {made['height']} pixels"),
        ("result SHA-256", f"<code>{made['sha256']}</code>"),
        ("half-width map SHA-256", f"<code>{made['half_width_sha256']}</code>" if made["half_width_sha256"] else ""),
    ]
    note = "<p class=muted>Files are identified by their content (sha256sum FILE), as their names may hold names.</p>"
    return _section("Files", note + _rows(pairs))


def _model(content: dict) -> str:
    model = content["model"]
    pairs = [
        ("model", _text(f"{model['name']}, x{model['scale']}")),
        ("weights SHA-256", f"<code>{_text(model['weights_sha256'])}</code>" if model["weights_sha256"] else ""),
        ("made for", _text(model.get("modality", ""))),
        ("trained on", _text(model.get("training_dataset", ""))),
        ("intended use", _text(model.get("intended_use", ""))),
        ("limits", "<br>".join(map(_text, model.get("limits", [])))),
        ("software", _text(", ".join(f"{name} {version}" for name, version in content["versions"].items()))),
    ]
    return _section("Model and software", _rows(pairs))
