"""The report's tables of agreement between and within readers."""

from tfmisr.reader_study.report.formats import coefficient, number, percent
from tfmisr.reader_study.report.table import Table, notes
from tfmisr.reader_study.statistics.icc import FORMS

# On the page; ICC(3,1) stands in the CSV file.
_SHOWN = ("ICC(2,1)", "ICC(2,k)", "ICC(3,k)", "alpha", "AC2", "exact", "within 1")
_MEASURES = (*FORMS, "alpha", "AC2", "exact", "within 1")


def agreement(results: dict) -> Table:
    """Agreement between readers, over all images and within each arm."""
    rows, records = [], []
    for name, question in results["questions"].items():
        groups = {"all images": question["agreement"]["all images"], **question["agreement"]["by arm"]}
        for group, found in groups.items():
            cells = [coefficient(found[m], percent if m in ("exact", "within 1") else number) for m in _SHOWN]
            rows.append([f"{name}: {group}", *cells])
            records += [{"question": name, "images": group, "measure": m, **_renamed(found[m])} for m in _MEASURES]
    header = ["question and images", *_SHOWN[:3], "alpha, ordinal", "AC2", "equal", "within 1"]
    caption = (
        "Agreement between readers with 95 % intervals. ICC(2, .) is for readers as a sample, ICC(3, .) for these "
        "readers; (., 1) for one reader's score, (., k) for the mean of all. Equal and within 1: share of pairs of "
        "answers."
    )
    return Table("agreement", caption, header, rows, records, notes(r["note"] for r in records))


def reader_pairs(results: dict) -> Table:
    """Quadratic weighted kappa of every pair of readers."""
    rows, records = [], []
    for name, question in results["questions"].items():
        for pair in question["agreement"]["reader pairs"]:
            rows.append([f"{name}: {pair['first']}, {pair['second']}", *_two(pair)])
            records.append({"question": name, "first": pair["first"], "second": pair["second"], **_two_record(pair)})
    caption = "Quadratic weighted kappa of each pair of readers, with 95 % intervals over cases."
    header = ["question and readers", "weighted kappa", "equal", "within 1", "images"]
    return Table("reader_pairs", caption, header, rows, records, notes(r["note"] for r in records))


def within_reader(results: dict) -> Table:
    """How readers agree with themselves, from the repeats."""
    rows, records = [], []
    for name, question in results["questions"].items():
        for reader in question["agreement"]["within reader"]:
            if reader["images"]:
                rows.append([f"{name}: {reader['reader']}", *_two(reader)])
                records.append({"question": name, "reader": reader["reader"], **_two_record(reader)})
    caption = (
        "Each reader's second answers against the first, on images that came twice, with 95 % intervals over cases."
    )
    header = ["question and reader", "weighted kappa", "equal", "within 1", "images"]
    return Table("within_reader", caption, header, rows, records, notes(r["note"] for r in records))


def _renamed(found):
    return {**{key: found[key] for key in ("value", "low", "high", "note")}, "n": found["images"]}


def _two(pair):
    shares = (coefficient(pair[key], percent) for key in ("exact", "within 1"))
    return [coefficient(pair["kappa"], number), *shares, str(pair["images"])]


def _two_record(pair):
    kappa = {f"kappa{end}": pair["kappa"][key] for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))}
    shares = {"equal": pair["exact"]["value"], "within_1": pair["within 1"]["value"]}
    said = dict.fromkeys(pair[key]["note"] for key in ("kappa", "exact", "within 1"))
    return {**kappa, **shares, "images": pair["images"], "note": "; ".join(filter(None, said))}
