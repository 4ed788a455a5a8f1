"""The report's tables of inter-reader and intra-reader agreement."""

from tfmisr.reader_study.report.formats import coefficient, number, percent
from tfmisr.reader_study.report.table import Table, notes
from tfmisr.reader_study.statistics.icc import FORMS

# On the page; the CSV file also has ICC(3,1).
_SHOWN = ("ICC(2,1)", "ICC(2,k)", "ICC(3,k)", "alpha", "AC2", "exact", "within 1")
_MEASURES = (*FORMS, "alpha", "AC2", "exact", "within 1")


def agreement(results: dict) -> Table:
    """Agreement between readers, over all images and within each arm."""
    rows, records = [], []
    for name, question in results["questions"].items():
        groups = {"all images": question["agreement"]["all images"], **question["agreement"]["by arm"]}
        for group, values in groups.items():
            cells = [coefficient(values[m], percent if m in ("exact", "within 1") else number) for m in _SHOWN]
            rows.append([f"{name}: {group}", *cells])
            records += [{"question": name, "images": group, "measure": m, **_record(values[m])} for m in _MEASURES]
    header = ["question and images", *_SHOWN[:3], "alpha, ordinal", "AC2", "equal", "within 1"]
    caption = (
        "Inter-reader agreement with 95 % intervals. ICC(2, .): readers as a random sample; ICC(3, .): readers as "
        "fixed; (., 1): the score of one reader; (., k): the mean of all readers. Equal and within 1: share of pairs "
        "of answers. Intervals of ICC and alpha: over readers and cases; of AC2, equal and within 1: over cases, for "
        "these readers."
    )
    return Table("agreement", caption, header, rows, records, notes(r["note"] for r in records))


def reader_pairs(results: dict) -> Table:
    """Quadratic weighted kappa of every pair of readers."""
    rows, records = [], []
    for name, question in results["questions"].items():
        for pair in question["agreement"]["reader pairs"]:
            rows.append([f"{name}: {pair['first']}, {pair['second']}", *_pair_cells(pair)])
            records.append({"question": name, "first": pair["first"], "second": pair["second"], **_pair_record(pair)})
    caption = "Quadratic weighted kappa of each pair of readers, with 95 % intervals over cases."
    header = ["question and readers", "weighted kappa", "equal", "within 1", "images"]
    return Table("reader_pairs", caption, header, rows, records, notes(r["note"] for r in records))


def within_reader(results: dict) -> Table:
    """Intra-reader agreement, from the repeats."""
    rows, records = [], []
    for name, question in results["questions"].items():
        for reader in question["agreement"]["within reader"]:
            if reader["images"]:
                rows.append([f"{name}: {reader['reader']}", *_pair_cells(reader)])
                records.append({"question": name, "reader": reader["reader"], **_pair_record(reader)})
    caption = "Intra-reader agreement: first and second answer to repeated images, with 95 % intervals over cases."
    header = ["question and reader", "weighted kappa", "equal", "within 1", "images"]
    return Table("within_reader", caption, header, rows, records, notes(r["note"] for r in records))


def _record(values: dict) -> dict:
    return {**{key: values[key] for key in ("value", "low", "high", "note")}, "n": values["images"]}


def _pair_cells(pair: dict) -> list[str]:
    shares = (coefficient(pair[key], percent) for key in ("exact", "within 1"))
    return [coefficient(pair["kappa"], number), *shares, str(pair["images"])]


def _pair_record(pair: dict) -> dict:
    kappa = {f"kappa{end}": pair["kappa"][key] for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))}
    shares = {"equal": pair["exact"]["value"], "within_1": pair["within 1"]["value"]}
    distinct = dict.fromkeys(pair[key]["note"] for key in ("kappa", "exact", "within 1"))
    return {**kappa, **shares, "images": pair["images"], "note": "; ".join(filter(None, distinct))}
