"""python -m tfmisr.tuning.parameter_study_report: report and plots of a study from its study.csv alone."""

import math
import pathlib

from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.tuning.sweep import SCORES

_LEVEL = 0.05
_MOST_FACTORS = 6
_MOST_LEVELS = 12

_METHOD = """\
Means stand with 95 % intervals. A difference is that of the means over all settings that both levels have; its
variance is built from the variance between the seeds within each setting, settings apart (Welch; degrees of freedom by
Satterthwaite). p-values are two-sided and adjusted for the number of rows of their table (Holm). Yes: below 0.05, so
that in each table the chance of any false yes is at most 5 %. Settings with the same seed see the same batches; where
that makes them rise and fall together, intervals of differences are too wide, not too narrow, but those of means over
several settings too narrow. All scores are of central crops of the validation images and of this length of training:
longer runs, other images or other parameters may rank otherwise.
"""


def main(argv=None) -> int:
    """Runs the command; see `--help`."""
    parser = cli.Parser(
        prog="python -m tfmisr.tuning.parameter_study_report",
        description="Writes report.md and its plots beside a study.csv that python -m tfmisr.tune has written.",
    )
    parser.add_argument("table", metavar="STUDY.CSV", help="table of the trials")
    parser.add_argument("--objective", default="val_psnr", choices=list(SCORES), help="default: val_psnr")
    arguments = parser.parse_args(argv)
    for path in write(arguments.table, arguments.objective, SCORES[arguments.objective]):
        print(path)
    return 0


def write(table, objective: str, direction: str) -> list[pathlib.Path]:
    """Writes `report.md`, `effects.png`, `interactions.png` and `pareto.png` beside a `study.csv`.

    Returns:
        What was written; interactions take a grid of two factors or more, of few levels.

    Raises:
        InputError: It is no such table, or no trial in it was completed.
    """
    from tfmisr.edge.files import write_text
    from tfmisr.tuning import parameter_study_plots
    from tfmisr.tuning import parameter_study_statistics as statistics

    table = pathlib.Path(table)
    study = statistics.read(table, objective, direction)
    pictures = {"pareto": parameter_study_plots.pareto}
    sizes = [len(levels) for levels in study.factors.values()]
    if study.factors:
        pictures["effects"] = parameter_study_plots.effects
    gaps_are_few = 2 * len(study.settings) > math.prod(sizes)
    if 1 < len(sizes) <= _MOST_FACTORS and max(sizes) <= _MOST_LEVELS and gaps_are_few:
        pictures["interactions"] = parameter_study_plots.interactions
    written = [table.with_name("report.md")]
    for name, draw in pictures.items():
        draw(study, objective, table.with_name(f"{name}.png"))
        written.append(table.with_name(f"{name}.png"))
    similarity = _similarity(table) if objective == "val_psnr" else None
    write_text(written[0], text(study, objective, list(pictures), similarity))
    return written


def _similarity(table):
    """Returns the study of the same trials' SSIM, `None` where they have none or nothing was repeated."""
    from tfmisr.tuning import parameter_study_statistics as statistics

    try:
        study = statistics.read(table, "val_ssim", SCORES["val_ssim"])
    except InputError:
        return None
    return study if statistics.comparisons(study) else None


def told(table, objective: str, direction: str) -> str:
    """Returns for the terminal what each parameter of a `study.csv` does; empty where nothing was repeated."""
    from tfmisr.tuning import parameter_study_statistics as statistics

    study = statistics.read(table, objective, direction)
    means, differences = _effect_rows(study)
    if not differences:
        return ""
    sources, _ = _source_rows(study)
    lines = [f"{objective}, mean (95 %):", *_aligned([(f"{factor} = {value}", mean) for factor, value, mean in means])]
    lines += ["differences (95 %), and whether they are larger than the noise of seeds:"]
    lines += _aligned([(f"{factor} {pair}", change, answer) for factor, pair, change, *_, answer in differences])
    if sources:
        lines += ["shares of the variance, and the same:", *_aligned([(row[0], row[1], row[-1]) for row in sources])]
    return "\n".join(lines)


def against_bicubic(table, objective: str, direction: str) -> str:
    """Returns for the terminal how the settings of a `study.csv` compare with bicubic interpolation, "" if unknown."""
    from tfmisr.tuning import parameter_study_statistics as statistics

    return _against_bicubic(statistics.read(table, objective, direction))


def _against_bicubic(study) -> str:
    if study.bicubic is None:
        return ""
    gains = [mean - study.bicubic for mean in study.means().values()]
    above, settings = sum(gain > 0 for gain in gains), counted(len(gains), "setting")
    spread = f"differences from {min(gains):+.4f} to {max(gains):+.4f}" if len(gains) > 1 else f"{gains[0]:+.4f}"
    if above:
        said = f"{above} of {settings} {'is' if above == 1 else 'are'} above it ({spread})."
    else:
        said = f"none of {settings} is above it ({spread}): none is of use as trained here; try more --steps."
    return f"Bicubic interpolation of the same crops: {study.bicubic:.4f}; {said}"


def _aligned(rows) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def text(study, objective: str, pictures: list[str], similarity=None) -> str:
    """Returns the report as Markdown, with the same parameters' effect on SSIM where that is given."""
    completed = sum(map(len, study.settings.values())) + study.shorter
    parts = [f"# {objective}: {counted(completed, 'trial')}\n", _summary(study, objective)]
    parts += _effects(study, objective, pictures)
    if similarity:
        parts += ["## What each does to structural similarity\n", *_effect_tables(similarity, "val_ssim")]
    parts += _interactions(study, pictures)
    parts += [_fronts(study, objective)]
    if study.seeds > 1:
        parts += [_near_best(study), "## How\n", _METHOD]
    if study.left_out:
        parts += [_left_out(study.left_out)]
    return "\n".join(parts)


def _summary(study, objective) -> str:
    best = study.best()
    scores = study.settings[best]
    counts = (
        counted(len(study.settings), "setting"),
        counted(study.seeds, "seed"),
        counted(len(study.left_out), "trial"),
    )
    lines = [f"{', '.join(counts)} not completed."]
    if study.steps and study.steps[0] < study.steps[1]:
        short = f"; {study.shorter} shorter, which went on as longer ones, left out" if study.shorter else ""
        lines.append(f"Runs of {study.steps[0]} to {study.steps[1]} steps{short}.")
    spread = f", mean of {len(scores)} seeds, {scores.min():.4f} to {scores.max():.4f}" if len(scores) > 1 else ""
    if len(scores) < study.seeds:
        missing = study.seeds - len(scores)
        spread += f"; {missing} of the {study.seeds} seeds {'was' if missing == 1 else 'were'} not completed with it"
    lines.append(f"Best setting: {_setting(study, best)} with {objective} {scores.mean():.4f}{spread}.")
    if said := _against_bicubic(study):
        lines.append(said)
    return "\n".join(lines) + "\n"


def _effects(study, objective, pictures) -> list[str]:
    if "effects" not in pictures:
        return []
    parts = ["## What each parameter does\n", "![Effect of each parameter](effects.png)\n"]
    tables = _effect_tables(study, objective)
    return parts + (tables or ["No setting was repeated with another seed, so the noise of seeds is not known.\n"])


def _effect_tables(study, objective) -> list[str]:
    means, differences = _effect_rows(study)
    if not differences:
        return []
    head = ("parameter", "from, to", "difference (95 %)", "df", "p (Holm)", "larger than the noise of seeds")
    levels = _table(("parameter", "value", f"mean {objective} (95 %)"), means)
    return [levels, "### Differences\n", _table(head, differences)]


def _effect_rows(study) -> tuple[list, list]:
    from tfmisr.tuning import parameter_study_statistics as statistics

    means = []
    for factor in study.factors:
        for level, mean in statistics.level_means(study, factor).items():
            if mean:
                means.append((factor, _number(level), f"{mean.estimate:.4f} ({mean.low:.4f} to {mean.high:.4f})"))
    found = statistics.comparisons(study)
    adjusted = statistics.holm([contrast.p for *_, contrast in found])
    differences = [
        (factor, f"{_number(a)} to {_number(b)}", _difference(c), f"{c.df:.1f}", _p(p), "yes" if p < _LEVEL else "no")
        for (factor, a, b, c), p in zip(found, adjusted, strict=True)
    ]
    return means, differences


def _interactions(study, pictures) -> list[str]:
    parts = ["## Parameters together\n"] if study.factors else []
    if "interactions" in pictures:
        parts.append("![Two parameters at a time](interactions.png)\n")
    rows, noise = _source_rows(study)
    if not rows:
        return [*parts, "The grid has gaps or no repeats: no analysis of variance.\n"] if parts else []
    head = ("source", "share of the variance", "df", "F", "p (Holm)", "larger than the noise of seeds")
    return [*parts, _table(head, rows), noise]


def _source_rows(study) -> tuple[list, str]:
    """Returns a row for each source of variance, and a sentence on the seeds; nothing of a grid with gaps."""
    from tfmisr.tuning import parameter_study_statistics as statistics

    found = statistics.variance(study)
    if found is None:
        return [], ""
    sources, noise = found
    adjusted = statistics.holm([source.p for source in sources])
    rows = [
        (" x ".join(s.factors), f"{100 * s.share:.1f} %", s.df, f"{s.f:.2f}", _p(p), "yes" if p < _LEVEL else "no")
        for s, p in zip(sources, adjusted, strict=True)
    ]
    left = 1 - sum(source.share for source in sources)
    return rows, (
        f"The seeds account for the other {100 * left:.1f} %; their standard deviation within a setting is "
        f"{noise:.4f} (analysis of variance, which takes it for equal in all settings).\n"
    )


def _fronts(study, objective) -> str:
    from tfmisr.tuning import parameter_study_statistics as statistics

    means = study.means()
    parts = ["## Against the cost\n", "![Score against cost](pareto.png)\n"]
    for cost, name in (("parameters", "parameters"), ("multiply_adds", "multiply-adds of a 512x512 image")):
        rows = [
            (f"{study.costs[s][cost]:,.0f}", f"{means[s]:.4f}", _setting(study, s))
            for s in statistics.front(study, cost)
        ]
        parts.append(_table((name, f"mean {objective}", "setting that nothing cheaper equals"), rows))
    return "\n".join(parts)


def _near_best(study) -> str:
    from tfmisr.tuning import parameter_study_statistics as statistics

    found = statistics.against_best(study)
    adjusted = statistics.holm([contrast.p for _, contrast in found])
    near = [(s, c) for (s, c), p in zip(found, adjusted, strict=True) if p >= _LEVEL]
    near.sort(key=lambda item: study.costs[item[0]]["parameters"])
    rows = [(_setting(study, s), f"{study.costs[s]['parameters']:,.0f}", _difference(c)) for s, c in near]
    apart = len(found) - len(near)
    told = (
        f"{apart} of {counted(len(found), 'other')} {'differs' if apart == 1 else 'differ'} from the best setting by "
    )
    told += "more than its seeds do."
    if not near:
        return f"## The best setting\n\n{told}\n"
    few = " Few seeds tell few settings apart: these may be as good, or not." if study.seeds < 10 else ""
    head = ("not told from the best", "parameters", "difference (95 %, not adjusted)")
    return f"## The best setting\n\n{told}{few}\n\n{_table(head, rows)}"


def _left_out(left_out) -> str:
    rows = [(trial, status, reason.replace("|", "/")) for trial, status, reason in left_out]
    return "## Not completed\n\n" + _table(("trial", "status", "reason"), rows)


def _setting(study, setting) -> str:
    pairs = zip(study.factors, setting, strict=True)
    return ", ".join(f"{name} {_number(value)}" for name, value in pairs) or "the only one"


def _number(value) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _difference(contrast) -> str:
    return f"{contrast.estimate:+.4f} ({contrast.low:+.4f} to {contrast.high:+.4f})"


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _table(head, rows) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    cli.run(main)
