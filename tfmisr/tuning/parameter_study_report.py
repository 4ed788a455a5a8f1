"""python -m tfmisr.tuning.parameter_study_report: report and figures of a parameter study, from its study.csv."""

import math
import os
import pathlib

from tfmisr import cli
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.tuning.sweep import SCORES

_MOST_FACTORS = 6
_MOST_LEVELS = 12


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    parser = cli.Parser(
        prog="python -m tfmisr.tuning.parameter_study_report",
        description="Writes report.md and its figures beside a study.csv that python -m tfmisr.tune has written.",
    )
    parser.add_argument("table", metavar="STUDY.CSV", help="table of the trials")
    parser.add_argument("--objective", default="val_psnr", choices=list(SCORES), help="default: val_psnr")
    parser.add_argument(
        "--shorter", metavar="STUDY.CSV", help="table of the same grid in shorter runs, to compare with"
    )
    arguments = parser.parse_args(argv)
    for path in write(arguments.table, arguments.objective, SCORES[arguments.objective], arguments.shorter):
        print(path)
    return 0


def write(
    table: str | os.PathLike, objective: str, direction: str, shorter: str | os.PathLike | None = None
) -> list[pathlib.Path]:
    """Writes `report.md`, `effects.png`, `interactions.png` and `pareto.png` beside a `study.csv`.

    Args:
        table: The `study.csv`.
        objective: Column of the scores.
        direction: `max` or `min`: which scores are better.
        shorter: `study.csv` of the same grid in shorter runs: the report compares their conclusions.

    Returns:
        The written files; interactions need a grid of two or more factors with few levels.

    Raises:
        InputError: It is no such table, no trial in it was completed, or `shorter` is no shorter study of its grid.
    """
    from tfmisr.edge.files import write_text
    from tfmisr.tuning import parameter_study_markdown as markdown
    from tfmisr.tuning import parameter_study_plots, parameter_study_stability
    from tfmisr.tuning.parameter_study_table import read

    table = pathlib.Path(table)
    study = read(table, objective, direction)
    stability = parameter_study_stability.compare(read(shorter, objective, direction), study) if shorter else None
    figures = {"pareto": parameter_study_plots.pareto}
    sizes = [len(levels) for levels in study.factors.values()]
    if study.factors:
        figures["effects"] = parameter_study_plots.effects
    gaps_are_few = 2 * len(study.settings) > math.prod(sizes)
    if 1 < len(sizes) <= _MOST_FACTORS and max(sizes) <= _MOST_LEVELS and gaps_are_few:
        figures["interactions"] = parameter_study_plots.interactions
    written = [table.with_name("report.md")]
    for name, draw in figures.items():
        draw(study, objective, table.with_name(f"{name}.png"))
        written.append(table.with_name(f"{name}.png"))
    ssim_study = _ssim_study(table) if objective == "val_psnr" else None
    write_text(written[0], markdown.text(study, objective, list(figures), ssim_study, stability))
    return written


def _ssim_study(table):
    """Returns the study of the SSIM of the same trials; `None` if they have no SSIM or no repeats."""
    from tfmisr.tuning import parameter_study_statistics as statistics
    from tfmisr.tuning.parameter_study_table import read

    try:
        study = read(table, "val_ssim", SCORES["val_ssim"])
    except InputError:
        return None
    return study if statistics.comparisons(study) else None


def terminal_summary(table: str | os.PathLike, objective: str, direction: str) -> str:
    """Returns the effects of the parameters of a `study.csv` as text; empty without repeats.

    Arguments as of `write`.
    """
    from tfmisr.tuning import parameter_study_markdown as markdown
    from tfmisr.tuning.parameter_study_table import read

    study = read(table, objective, direction)
    means, differences = markdown.effect_rows(study)
    if not differences:
        return ""
    components, _ = markdown.variance_rows(study)
    lines = [f"{objective}, mean (95 %):", *_aligned([(f"{factor} = {value}", mean) for factor, value, mean in means])]
    lines += ["differences (95 %), and whether they are significant:"]
    lines += _aligned([(f"{factor} {pair}", change, answer) for factor, pair, change, *_, answer in differences])
    if components:
        rows = _aligned([(row[0], row[1], row[-1]) for row in components])
        lines += ["shares of the variance, and whether they are significant:", *rows]
    return "\n".join(lines)


def bicubic_comparison(table: str | os.PathLike, objective: str, direction: str) -> str:
    """Returns how the settings of a `study.csv` compare with bicubic interpolation; empty if its score is unknown.

    Arguments as of `write`.
    """
    from tfmisr.tuning import parameter_study_markdown as markdown
    from tfmisr.tuning.parameter_study_table import read

    return markdown.bicubic_comparison(read(table, objective, direction))


def _aligned(rows) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


__getattr__ = renamed(
    __name__,
    against_bicubic="bicubic_comparison",
    text="tfmisr.tuning.parameter_study_markdown.text",
    told="terminal_summary",
)


if __name__ == "__main__":
    cli.run(main)
