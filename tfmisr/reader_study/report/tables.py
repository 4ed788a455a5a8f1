"""The report's tables, from results.json: words for the page, plain numbers for the CSV files."""

from tfmisr.reader_study.report.agreement import agreement, reader_pairs, within_reader
from tfmisr.reader_study.report.formats import NONE, bootstrap, interval, number, p_text, percent, ratio_text
from tfmisr.reader_study.report.table import Table, notes
from tfmisr.reader_study.report.words import because, tested

# Columns of words, which stand at the left of their column and may wrap.
TEXTS = ("verdict", "because", "arms", "standard deviations", "thresholds")


def every(results: dict) -> dict[str, Table]:
    """Returns all tables that the study has something for, by name."""
    makers = (means, counts, pairs, noninferiority, model, agreement, reader_pairs, within_reader)
    found = [make(results) for make in (*makers, by_reader, preferences, strengths, times, flow)]
    return {table.name: table for table in found if table.records}


def means(results: dict) -> Table:
    """The paper's Table 3, with what it rests on."""
    questions = results["questions"]
    header = ["arm", *(part for name in questions for part in (f"{name}: mean (95 %)", "N"))]
    rows = []
    for arm in results["study"]["arms"]:
        found = [q["arms"][arm] for q in questions.values()]
        rows.append([arm, *(part for f in found for part in (interval(f), str(f["answers"])))])
    keys = ("answers", "readers", "cases", "mean", "low", "high", "error", "freedom", "sd", "median")
    records = [
        {"question": name, "arm": arm, **{k: f[k] for k in (*keys, "bootstrap_low", "bootstrap_high", "note")}}
        for name, q in questions.items()
        for arm, f in q["arms"].items()
    ]
    caption = (
        "Mean score of each arm, 1 to the top of the scale, with its 95 % interval over readers and cases; N answers."
    )
    return Table("means", caption, header, rows, records, notes(f["note"] for f in records))


def counts(results: dict) -> Table:
    """How often each score was given."""
    top = max(q["scale"] for q in results["questions"].values())
    rows, records = [], []
    for name, question in results["questions"].items():
        for arm, found in question["arms"].items():
            total = sum(found["counts"])
            shares = [f"{c} ({c / total:.0%})" if total else NONE for c in found["counts"]]
            shares += [""] * (top - len(shares))
            rows.append(
                [
                    f"{name}: {arm}",
                    *(*shares, str(total), _median(found), number(found["mean"]), number(found["sd"])),
                    bootstrap(found),
                ]
            )
            scores = {f"score_{i}": c for i, c in enumerate(found["counts"], 1)}
            records.append({"question": name, "arm": arm, **scores, "answers": total})
    header = ["question and arm", *map(str, range(1, top + 1)), "N", "median", "mean", "SD", "bootstrap"]
    caption = "How often each score was given. Bootstrap: 95 % interval of the mean, readers and cases redrawn."
    return Table("counts", caption, header, rows, records)


def pairs(results: dict) -> Table:
    """Every pair of arms: difference, primary test, effect sizes."""
    header = ["pair", "difference (95 %)", "bootstrap", "odds ratio (95 %)", "p", "p, Holm"]
    header += ["higher score", "rank-biserial", "Wilcoxon: p, Holm"]
    rows, records = [], []
    for name, question in results["questions"].items():
        for pair in question["pairs"]:
            ratio = {"mean": pair["odds_ratio"], "low": pair["low"], "high": pair["high"]}
            rows.append(
                [
                    f"{name}: {pair['first']} – {pair['second']}",
                    interval(pair["difference"], sign=True),
                    bootstrap(pair["difference"], sign=True),
                    ratio_text(ratio) + ("" if pair["odds_ratio"] is not None else "*"),
                    p_text(pair["p_value"]),
                    p_text(pair["p_holm"]),
                    percent(pair["common_language"]["mean"]),
                    number(pair["wilcoxon"]["rank_biserial"], sign=True),
                    p_text(pair["wilcoxon"]["p_holm"]),
                ]
            )
            records.append(_pair_record(name, pair))
    note = "* " + notes(p["note"] for p in records) if any(r["odds_ratio"] is None for r in records) else ""
    caption = (
        "All pairs of arms. Bootstrap: 95 % interval of the difference, readers and cases redrawn. Odds ratio, p and "
        "its Holm adjustment over all pairs and questions are those of the primary test; higher score: how probable it "
        "is that a reader scores the first arm's image of a case higher, a draw counting half. Wilcoxon: over cases."
    )
    return Table("pairs", caption, header, rows, records, note)


def _pair_record(name, pair):
    difference, wilcoxon, common = pair["difference"], pair["wilcoxon"], pair["common_language"]
    record = {"question": name, **{k: pair[k] for k in ("first", "second", "test", "p_value", "p_holm")}}
    record |= {"odds_ratio": pair["odds_ratio"], "odds_ratio_low": pair["low"], "odds_ratio_high": pair["high"]}
    keys = ("mean", "low", "high", "error", "freedom", "answers", "bootstrap_low", "bootstrap_high")
    record |= {f"difference_{key}": difference[key] for key in keys}
    record |= {f"higher_{key}": common[key] for key in ("mean", "low", "high")}
    record |= {f"wilcoxon_{key}": wilcoxon[key] for key in ("p_value", "p_holm", "rank_biserial", "cases", "zeros")}
    return {**record, "note": "; ".join(dict.fromkeys(filter(None, (pair["note"], difference["note"]))))}


def noninferiority(results: dict) -> Table:
    """The verdict on every arm against the reference."""
    rows, records = [], []
    for name, question in results["questions"].items():
        for row in question["noninferiority"]:
            found, reason = row["difference"], because(row, question, tested(results))
            cells = interval(found, sign=True), f"{row['margin']:g}", row["verdict"], reason
            rows.append([f"{name}: {row['arm']}", *cells])
            ends = {key: found[key] for key in ("mean", "low", "high")}
            ends |= {key: row[key] for key in ("reference", "margin", "verdict")}
            records.append({"question": name, "arm": row["arm"], **ends, "reason": reason})
    reference = results["study"]["reference"]
    caption = f"Non-inferiority to {reference}: the lower end of the 95 % interval is a one-sided 97.5 % bound."
    header = ["question and arm", f"difference to {reference} (95 %)", "margin", "verdict", "because"]
    return Table("noninferiority", caption, header, rows, records)


def model(results: dict) -> Table:
    """What the ordinal mixed model estimates, without and with effects within arms."""
    rows, records = [], []
    for name, question in results["questions"].items():
        found = question["model"]
        models = {"": found, ", with effects within arms": found.get("within_arms")}
        for kind, fit in models.items():
            if fit and "log_odds" in fit:
                rows.append([name + kind, *_parameters(fit)])
                records += [{"question": name, "model": f"primary{kind}", **r} for r in _terms(fit)]
        if not found["fitted"]:
            rows.append([name, NONE, NONE, NONE])
            records.append({"question": name, "model": "none", "term": found["note"], "value": None})
    caption = (
        "The ordinal mixed model on the logit scale: arms as log odds ratios to the first, standard deviations of what "
        "varies at random, thresholds. With effects within arms it says how differently readers and cases take to an "
        "arm; a next study is planned from that."
    )
    note = notes(q["model"]["note"] for q in results["questions"].values())
    return Table("model", caption, ["question", "arms", "standard deviations", "thresholds"], rows, records, note)


def _parameters(fit):
    yield ", ".join(f"{arm} {number(value, sign=True)}" for arm, value in fit["log_odds"].items())
    yield ", ".join(f"{term} {number(value)}" for term, value in fit["deviations"].items())
    yield ", ".join(map(number, fit["thresholds"]))


def _terms(fit):
    terms = {f"log odds of {arm}": value for arm, value in fit["log_odds"].items()}
    terms |= {f"standard deviation of {term}": value for term, value in fit["deviations"].items()}
    terms |= {f"threshold {i}": value for i, value in enumerate(fit["thresholds"], 1)}
    return [{"term": term, "value": value} for term, value in terms.items()]


def by_reader(results: dict) -> Table:
    """Each reader's own means."""
    arms = results["study"]["arms"]
    rows, records = [], []
    for name, question in results["questions"].items():
        for reader, found in question["readers"].items():
            rows.append([f"{name}: {reader}", *(number(found[arm]) for arm in arms)])
            records += [{"question": name, "reader": reader, "arm": arm, "mean": found[arm]} for arm in arms]
    return Table(
        "by_reader", "Mean score that each reader gave each arm.", ["question and reader", *arms], rows, records
    )


def preferences(results: dict) -> Table:
    """Who was preferred over whom."""
    found = results["preferences"]
    if not found:
        return Table("preferences", "", [], [], [])
    rows = []
    for pair in found["pairs"]:
        cells = [str(pair[key]) for key in ("first_preferred", "second_preferred", "none")]
        rows.append([f"{pair['first']} – {pair['second']}", *cells])
    header = ["pair", "first preferred", "second preferred", "neither"]
    placed = f"The left image was preferred {found['left']} times, the right one {found['right']} times."
    ties = f" Between equals {found['ties'] / (2 + found['ties']):.0%} would be neither." if found["ties"] else ""
    note = placed + ties + (f" {found['note'].capitalize()}." if found["note"] else "")
    return Table("preferences", "How often one arm was preferred over another.", header, rows, found["pairs"], note)


def strengths(results: dict) -> Table:
    """Bradley and Terry's strengths."""
    found = results["preferences"]
    arms = found["arms"] if found else {}
    rows = [[arm, interval({**parts, "mean": parts["log_strength"]}, sign=True)] for arm, parts in arms.items()]
    records = [{"arm": arm, **parts} for arm, parts in arms.items()]
    caption = (
        "Strengths after Bradley and Terry, their mean 0: the difference of two is the log odds of being preferred."
    )
    return Table("strengths", caption, ["arm", "log strength (95 %)"], rows, records)


def times(results: dict) -> Table:
    """Reading times."""
    groups = {"all": {"all images": results["times"]["all"]}}
    groups |= {key: results["times"][key] for key in ("by arm", "by reader")}
    rows, records = [], []
    for parts in groups.values():
        for name, found in parts.items():
            middle = f"{number(found['quarter'], 1)} to {number(found['three_quarters'], 1)}"
            rows.append(
                [name, str(found["images"]), number(found["median"], 1), middle, number(found["total"] / 60, 1)]
            )
            records.append({"group": name, **found})
    caption = "Reading time an image in seconds, breaks and other windows left out; repeats included, training not."
    return Table("times", caption, ["images of", "N", "median", "middle half", "total, minutes"], rows, records)


def flow(results: dict) -> Table:
    """What became of the answers."""
    titles = {
        "answers": "answers",
        "training": "training, not used",
        "repeats": "repeats, for agreement within readers only",
        "analysed": "analysed",
        "missing": "missing",
        "too_fast": "too fast, kept",
    }
    rows = [[part["question"], *(str(part[key]) for key in titles)] for part in results["flow"]]
    caption = "What became of the answers. Missing: images of the study that a reader has not judged."
    return Table("flow", caption, ["question", *titles.values()], rows, results["flow"])


def _median(found):
    return NONE if found["median"] is None else f"{found['median']:g}"
