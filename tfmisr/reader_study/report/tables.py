"""The report's tables, from results.json: formatted text for the page, unrounded numbers for the CSV files."""

from collections.abc import Iterator

from tfmisr.edge.deprecation import renamed
from tfmisr.reader_study.report.agreement import agreement, reader_pairs, within_reader
from tfmisr.reader_study.report.formats import NONE, bootstrap, interval, number, p_text, percent, ratio_text
from tfmisr.reader_study.report.sentences import because, number_of_tests
from tfmisr.reader_study.report.table import Table, notes

# Columns of prose, which are left-aligned and may wrap.
TEXTS = ("verdict", "because", "arms", "standard deviations", "thresholds")


def all_tables(results: dict) -> dict[str, Table]:
    """Returns all tables with content by name.

    Args:
        results: Content of results.json.
    """
    makers = (means, counts, pairs, noninferiority, model, agreement, reader_pairs, within_reader)
    tables = (make(results) for make in (*makers, by_reader, preferences, strengths, times, flow))
    return {table.name: table for table in tables if table.records}


def means(results: dict) -> Table:
    """Mean score of each arm with N and 95 % interval."""
    questions = results["questions"]
    header = ["arm", *(part for name in questions for part in (f"{name}: mean (95 %)", "N"))]
    rows = []
    for arm in results["study"]["arms"]:
        by_question = [q["arms"][arm] for q in questions.values()]
        rows.append([arm, *(part for mean in by_question for part in (interval(mean), str(mean["answers"])))])
    keys = ("answers", "readers", "cases", "mean", "low", "high", "error", "freedom", "sd", "median")
    records = [
        {"question": name, "arm": arm, **{k: mean[k] for k in (*keys, "bootstrap_low", "bootstrap_high", "note")}}
        for name, q in questions.items()
        for arm, mean in q["arms"].items()
    ]
    caption = "Mean score of each arm with its 95 % interval over readers and cases; N: number of answers."
    return Table("means", caption, header, rows, records, notes(record["note"] for record in records))


def counts(results: dict) -> Table:
    """Number of answers by score and arm."""
    top = max(q["scale"] for q in results["questions"].values())
    rows, records = [], []
    for name, question in results["questions"].items():
        for arm, scores_of_arm in question["arms"].items():
            counts_of_arm = scores_of_arm["counts"]
            total = sum(counts_of_arm)
            shares = [f"{c} ({c / total:.0%})" if total else NONE for c in counts_of_arm]
            shares += [""] * (top - len(shares))
            moments = _median(scores_of_arm), number(scores_of_arm["mean"]), number(scores_of_arm["sd"])
            rows.append([f"{name}: {arm}", *shares, str(total), *moments, bootstrap(scores_of_arm)])
            scores = {f"score_{i}": c for i, c in enumerate(counts_of_arm, 1)}
            records.append({"question": name, "arm": arm, **scores, "answers": total})
    header = ["question and arm", *map(str, range(1, top + 1)), "N", "median", "mean", "SD", "bootstrap"]
    caption = "Number of answers by score. Bootstrap: 95 % interval of the mean, over readers and cases."
    return Table("counts", caption, header, rows, records)


def pairs(results: dict) -> Table:
    """Every pair of arms: difference, primary test and effect sizes."""
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
        "All pairs of arms. Bootstrap: 95 % interval of the difference, over readers and cases. Odds ratio, p and its "
        "Holm adjustment over all pairs and questions: primary test. Higher score: probability that a reader scores "
        "the first arm's image of a case higher, ties counting half. Wilcoxon: over cases."
    )
    return Table("pairs", caption, header, rows, records, note)


def _pair_record(name: str, pair: dict) -> dict:
    difference, wilcoxon, common = pair["difference"], pair["wilcoxon"], pair["common_language"]
    record = {"question": name, **{k: pair[k] for k in ("first", "second", "test", "p_value", "p_holm")}}
    record |= {"odds_ratio": pair["odds_ratio"], "odds_ratio_low": pair["low"], "odds_ratio_high": pair["high"]}
    keys = ("mean", "low", "high", "error", "freedom", "answers", "bootstrap_low", "bootstrap_high")
    record |= {f"difference_{key}": difference[key] for key in keys}
    record |= {f"higher_{key}": common[key] for key in ("mean", "low", "high")}
    record |= {f"wilcoxon_{key}": wilcoxon[key] for key in ("p_value", "p_holm", "rank_biserial", "cases", "zeros")}
    return {**record, "note": "; ".join(dict.fromkeys(filter(None, (pair["note"], difference["note"]))))}


def noninferiority(results: dict) -> Table:
    """The non-inferiority verdict on every arm against the reference."""
    rows, records = [], []
    for name, question in results["questions"].items():
        for row in question["noninferiority"]:
            difference, reason = row["difference"], because(row, question, number_of_tests(results))
            cells = interval(difference, sign=True), f"{row['margin']:g}", row["verdict"], reason
            rows.append([f"{name}: {row['arm']}", *cells])
            values = {key: difference[key] for key in ("mean", "low", "high")}
            values |= {key: row[key] for key in ("reference", "margin", "verdict")}
            records.append({"question": name, "arm": row["arm"], **values, "reason": reason})
    reference = results["study"]["reference"]
    caption = f"Non-inferiority to {reference}: the lower end of the 95 % interval is a one-sided 97.5 % bound."
    header = ["question and arm", f"difference to {reference} (95 %)", "margin", "verdict", "because"]
    return Table("noninferiority", caption, header, rows, records)


def model(results: dict) -> Table:
    """Estimates of the ordinal mixed model, without and with random effects within arms."""
    rows, records = [], []
    for name, question in results["questions"].items():
        primary = question["model"]
        models = {"": primary, ", with effects within arms": primary.get("within_arms")}
        for suffix, fit in models.items():
            if fit and "log_odds" in fit:
                rows.append([name + suffix, *_parameters(fit)])
                records += [{"question": name, "model": f"primary{suffix}", **r} for r in _terms(fit)]
        if not primary["fitted"]:
            rows.append([name, NONE, NONE, NONE])
            records.append({"question": name, "model": "none", "term": primary["note"], "value": None})
    caption = (
        "The ordinal mixed model on the logit scale: log odds ratios of the arms to the first, standard deviations of "
        "the random effects, thresholds. The model with effects within arms estimates the reader-by-arm and "
        "case-by-arm interactions, for the sample size of a next study."
    )
    note = notes(q["model"]["note"] for q in results["questions"].values())
    return Table("model", caption, ["question", "arms", "standard deviations", "thresholds"], rows, records, note)


def _parameters(fit: dict) -> Iterator[str]:
    yield ", ".join(f"{arm} {number(value, sign=True)}" for arm, value in fit["log_odds"].items())
    yield ", ".join(f"{term} {number(value)}" for term, value in fit["deviations"].items())
    yield ", ".join(map(number, fit["thresholds"]))


def _terms(fit: dict) -> list[dict]:
    terms = {f"log odds of {arm}": value for arm, value in fit["log_odds"].items()}
    terms |= {f"standard deviation of {term}": value for term, value in fit["deviations"].items()}
    terms |= {f"threshold {i}": value for i, value in enumerate(fit["thresholds"], 1)}
    return [{"term": term, "value": value} for term, value in terms.items()]


def by_reader(results: dict) -> Table:
    """Mean score by reader and arm."""
    arms = results["study"]["arms"]
    rows, records = [], []
    for name, question in results["questions"].items():
        for reader, mean_of in question["readers"].items():
            rows.append([f"{name}: {reader}", *(number(mean_of[arm]) for arm in arms)])
            records += [{"question": name, "reader": reader, "arm": arm, "mean": mean_of[arm]} for arm in arms]
    return Table("by_reader", "Mean score by reader and arm.", ["question and reader", *arms], rows, records)


def preferences(results: dict) -> Table:
    """Paired comparisons: how often each arm was preferred over another."""
    comparisons = results["preferences"]
    if not comparisons:
        return Table("preferences", "", [], [], [])
    rows = []
    for pair in comparisons["pairs"]:
        cells = [str(pair[key]) for key in ("first_preferred", "second_preferred", "none")]
        rows.append([f"{pair['first']} – {pair['second']}", *cells])
    header = ["pair", "first preferred", "second preferred", "neither"]
    note = f"The left image was preferred {comparisons['left']} times, the right one {comparisons['right']} times."
    if ties := comparisons["ties"]:
        note += f" Between equal arms {ties / (2 + ties):.0%} of the answers would be neither."
    if comparisons["note"]:
        note += f" {comparisons['note'].capitalize()}."
    caption = "How often one arm was preferred over another."
    return Table("preferences", caption, header, rows, comparisons["pairs"], note)


def strengths(results: dict) -> Table:
    """Strengths of the Bradley-Terry model."""
    comparisons = results["preferences"]
    arms = comparisons["arms"] if comparisons else {}
    rows = [[arm, interval({**parts, "mean": parts["log_strength"]}, sign=True)] for arm, parts in arms.items()]
    records = [{"arm": arm, **parts} for arm, parts in arms.items()]
    caption = "Bradley-Terry strengths with mean 0: the difference of two is the log odds of being preferred."
    return Table("strengths", caption, ["arm", "log strength (95 %)"], rows, records)


def times(results: dict) -> Table:
    """Reading times, over all and by arm and reader."""
    groups = {"all": {"all images": results["times"]["all"]}}
    groups |= {key: results["times"][key] for key in ("by arm", "by reader")}
    rows, records = [], []
    for parts in groups.values():
        for name, seconds in parts.items():
            quartiles = f"{number(seconds['quarter'], 1)} to {number(seconds['three_quarters'], 1)}"
            cells = number(seconds["median"], 1), quartiles, number(seconds["total"] / 60, 1)
            rows.append([name, str(seconds["images"]), *cells])
            records.append({"group": name, **seconds})
    caption = "Reading time per image in seconds, without idle time; repeats included, training excluded."
    return Table("times", caption, ["images of", "N", "median", "quartiles", "total, minutes"], rows, records)


def flow(results: dict) -> Table:
    """Flow of answers, by use."""
    titles = {
        "answers": "answers",
        "training": "training, excluded",
        "repeats": "repeats, for intra-reader agreement only",
        "analysed": "analyzed",
        "missing": "missing",
        "too_fast": "too fast, included",
    }
    rows = [[part["question"], *(str(part[key]) for key in titles)] for part in results["flow"]]
    caption = "Flow of answers. Missing: images of the study that a reader has not rated."
    return Table("flow", caption, ["question", *titles.values()], rows, results["flow"])


def _median(scores: dict) -> str:
    return NONE if scores["median"] is None else f"{scores['median']:g}"


__getattr__ = renamed(__name__, every="all_tables")
