"""The report's sentences: what was found, and how it was found."""

from tfmisr.reader_study.report.formats import NONE, interval, number, p_text, percent
from tfmisr.reader_study.statistics.noninferiority import VERDICTS
from tfmisr.reader_study.statistics.primary import LINEAR, ORDINAL

_LEVEL = 0.05


def findings(results: dict) -> dict[str, list[str]]:
    """Returns what a reader in a hurry must know: title of a question to sentences, the planned question first."""
    planned = results["study"]["primary"]
    return {
        f"{name} (the primary question)" if name == planned else name: list(_of_question(question, tested(results)))
        for name, question in ordered(results).items()
    }


def ordered(results: dict) -> dict[str, dict]:
    """Returns the questions, the planned one first."""
    planned = results["study"]["primary"]
    return dict(sorted(results["questions"].items(), key=lambda item: item[0] != planned))


def tested(results: dict) -> int:
    """Returns the number of tests that p values are adjusted for."""
    return sum(pair["p_value"] is not None for q in results["questions"].values() for pair in q["pairs"])


def _of_question(question, tests):
    yield f"Mean scores: {'; '.join(f'{arm} {interval(found)}' for arm, found in question['arms'].items())}."
    higher, open_, untested = _split(question)
    if higher:
        yield f"Scored higher, after Holm's adjustment: {', '.join(higher)}."
    if open_:
        yield f"No difference was shown, which does not show that there is none: {', '.join(open_)}."
    if untested:
        yield f"Not tested: {', '.join(untested)}."
    for verdict in VERDICTS[::-1]:
        rows = [row for row in question["noninferiority"] if row["verdict"] == verdict]
        if rows:
            arms = "; ".join(f"{row['arm']} ({because(row, question, tests)})" for row in rows)
            to = "against" if verdict == "inconclusive" else "to"
            yield f"{verdict.capitalize()} {to} {rows[0]['reference']}: {arms}."
    found = question["agreement"]["all images"]
    single, near = found["ICC(2,1)"], found["within 1"]
    if single["value"] is not None:
        ends = f"{number(single['value'])} ({number(single['low'])} to {number(single['high'])})"
        yield f"Agreement: ICC(2,1) {ends}; two readers differ by no more than one point in {percent(near['value'])}."
    else:
        yield f"Agreement between readers is not defined: {single['note']}."
    yield from (f"{warning}." for warning in question["warnings"])


def because(row: dict, question: dict, tests: int) -> str:
    """Returns the reason of a non-inferiority verdict; where the pair's adjusted test says otherwise, that beside it.

    The verdict rests on one interval of the mean difference that was planned for this arm; the test is one of many,
    adjusted for their number, and of odds. Either can find what the other does not.

    Args:
        row: One of the question's non-inferiority verdicts.
        question: One of the results' questions.
        tests: Number of tests that p values are adjusted for.
    """
    pair = _pair_of(row, question)
    if pair is None or pair["p_holm"] is None or _differs(row) == (pair["p_holm"] < _LEVEL):
        return row["reason"]
    found = "no difference" if _differs(row) else _order(pair)
    test = f"the test of this pair, adjusted for {tests} tests as the interval is not, shows {found}"
    return f"{row['reason']}; {test}, p {p_text(pair['p_holm'])}"


def _pair_of(row, question):
    arms = {row["arm"], row["reference"]}
    return next((pair for pair in question["pairs"] if {pair["first"], pair["second"]} == arms), None)


def _differs(row) -> bool:
    """Returns whether the verdict's interval leaves 0 out."""
    low, high = row["difference"]["low"], row["difference"]["high"]
    return low is not None and (low > 0 or high < 0)


def _order(pair) -> str:
    first, second = pair["first"], pair["second"]
    up = pair["odds_ratio"] > 1 if pair["odds_ratio"] is not None else (pair["difference"]["mean"] or 0) > 0
    return f"{first} over {second}" if up else f"{second} over {first}"


def _split(question):
    """Returns the pairs with a difference, without one, and without a test, each told in one sentence only."""
    higher, open_, untested = [], [], []
    # What a verdict says of these pairs, its sentence says, with the adjusted test beside it.
    told = [_pair_of(row, question) for row in question["noninferiority"] if _differs(row)]
    for pair in question["pairs"]:
        first, second = pair["first"], pair["second"]
        if pair["p_holm"] is None:
            untested.append(f"{first} and {second}" + (f" ({pair['note']})" if pair["note"] else ""))
        elif pair["p_holm"] < _LEVEL:
            higher.append(_order(pair))
        elif pair not in told:
            open_.append(f"{first} and {second}")
    return higher, open_, untested


def methods(results: dict) -> list[tuple[str, str]]:
    """Returns how everything was computed: title and text."""
    tests = [pair for q in results["questions"].values() for pair in q["pairs"]]
    linear = sum(pair["test"] == LINEAR for pair in tests)
    fallback = f"{linear} of {len(tests)} pairs here" if linear else "no pair here"
    plan = results["study"]["plan"]
    found = [
        *([("The plan, as fixed in the study file", plan)] if plan else []),
        (
            "What counts",
            "The first reading of an image. Answers of the training block are left out of everything; a second reading "
            "of the same image serves for agreement within a reader only; answers that came too fast are kept and "
            "counted.",
        ),
        (
            "Intervals of means and differences",
            "95 %, over readers and cases together: both are samples. The variance comes from the mean squares of "
            "readers, cases and the rest (Obuchowski and Rockette; Hillis' degrees of freedom), Student's t. A "
            "bootstrap over readers and cases stands beside it; with three to five readers it can be far too narrow, "
            "and no verdict rests on it. Intervals of means end where the scale does.",
        ),
        (
            "Primary test",
            f"{ORDINAL.capitalize()}: cumulative logits (proportional odds), arms fixed, readers and cases crossed and "
            "random, fitted by Laplace's approximation. Odds ratio: odds of a score above any given one, first arm "
            "over second. Its standard error allows readers and cases to take differently to an arm: it comes from "
            "what each reader and case contributes to the estimate, in the same way as that of a mean difference. "
            f"Where the model has no estimate, the {LINEAR} stands in: {fallback}.",
        ),
        (
            "Many tests",
            f"p values are adjusted by Holm's method over all {len(tests)} pairs and questions. Non-inferiority is "
            "judged arm by arm without adjustment, from the interval of the mean difference. Where the adjusted test "
            "of the same pair does not agree, the verdict says so: a difference that one planned comparison shows need "
            "not stand among many, and a test of odds is not one of means.",
        ),
        (
            "Wilcoxon's test",
            "Over cases, the differences averaged over readers; zeros by Pratt's method, normal approximation. It "
            "speaks for these readers only. Answers of several readers to one case are not independent: a test that "
            "takes them one by one counts each case several times, and is not offered.",
        ),
        ("Agreement", _AGREEMENT),
    ]
    if any(q["noninferiority"] for q in results["questions"].values()):
        found.append(("Non-inferiority", _NONINFERIORITY))
    if results["preferences"]:
        found.append(("Preferences", _PREFERENCES))
    return found


_AGREEMENT = (
    "Intraclass correlations after Shrout and Fleiss with McGraw and Wong's intervals, from images that all readers "
    "judged; Krippendorff's ordinal alpha and Gwet's AC2 (quadratic weights) from all answers; intervals of these and "
    "of kappa redraw cases 2000 times. Over all images, arms that differ make agreement higher than it is within an "
    "arm."
)
_NONINFERIORITY = (
    "Non-inferior: the whole 95 % interval of the difference lies above minus the margin; inferior: the whole interval "
    "lies below it; otherwise inconclusive. The margin was fixed in the study file before the first answer."
)
_PREFERENCES = (
    "Bradley and Terry's model with Davidson's ties; the intervals allow for answers of one reader, and to one case, "
    "that go together."
)


def facts(results: dict) -> list[tuple[str, str]]:
    """Returns the figures at the head of the page: title and value."""
    study = results["study"]
    answers = sum(part["analysed"] for part in results["flow"])
    return [
        ("readers", str(len(study["readers"]))),
        ("cases", str(study["cases"])),
        ("arms", str(len(study["arms"]))),
        ("questions", str(len(results["questions"]))),
        ("answers analysed", f"{answers:,}".replace(",", "\u202f")),
        ("hours of reading", number(results["times"]["all"]["total"] / 3600, 1) if answers else NONE),
    ]
