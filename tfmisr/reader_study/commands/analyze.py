"""The sub-command `analyze`: from the exported ratings to the statistical report."""

import argparse
import json
import pathlib

from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.edge.text import counted


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the parser of the sub-command and returns it."""
    parser = subparsers.add_parser(
        "analyze",
        help="compute the statistics and write the report",
        description="Writes report.html, results.json and the tables as CSV: mean scores with intervals over readers "
        "and cases, the ordinal mixed model of all pairs of arms, non-inferiority, agreement, reading times.",
    )
    parser.add_argument(
        "folder", metavar="DIR", help="folder of an export, or of a study, which is then exported first"
    )
    parser.add_argument("--output", required=True, metavar="REPORT", help="output folder; existing files are replaced")
    parser.add_argument("--force", action="store_true", help="export although the study is open or was changed")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Runs the sub-command and returns its exit status; see `--help`."""
    from tfmisr.reader_study.report import page, tables
    from tfmisr.reader_study.report.table import as_csv
    from tfmisr.reader_study.statistics import ratings, summary

    output = pathlib.Path(arguments.output)
    cli.check_writable(output)
    folder = _exported(pathlib.Path(arguments.folder), output, arguments.force)
    study = ratings.read_study(folder / "study.json")
    answers = ratings.read_ratings(folder / "ratings.csv", study)
    compared = ratings.read_preferences(folder / "preferences.csv", study, answers.readers)
    results = summary.summarize(study, answers, compared)
    files = {f"{name}.csv": as_csv(table, study.simulated) for name, table in tables.all_tables(results).items()}
    files["results.json"] = json.dumps(results, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    files["report.html"] = page.page(results)
    cli.require_writable(output)
    for name, text in files.items():
        write_text(output / name, text)
    if study.simulated:
        print(ratings.SIMULATED)
    counts = {"reader": len(answers.readers), "case": len(study.cases), "arm": len(study.arms)}
    print(f"study {study.hash[:16]}: {', '.join(counted(count, noun) for noun, count in counts.items())}")
    for caution in study.cautions:
        print(f"note: {caution}")
    print(f"report: {output / 'report.html'}")
    return 0


def _exported(folder: pathlib.Path, output: pathlib.Path, force: bool) -> pathlib.Path:
    """Returns a folder with ratings.csv: the given one, or a new export inside the report's folder."""
    if (folder / "ratings.csv").is_file():
        return folder
    if not folder.is_dir():
        raise InputError(f"expected a folder that export or build wrote. Received: {folder}")
    from tfmisr.reader_study import exporting
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.store import Store

    with Store(Study(folder)) as store:
        exporting.export(store, output / "export", force)
    return output / "export"
