"""The report's sentences: results and methods."""

from collections.abc import Iterator

from tfmisr.edge.deprecation import renamed
from tfmisr.reader_study.report.formats import NONE, coefficient, interval, number, p_text, percent
from tfmisr.reader_study.report.pair_sentences import LEVEL, described, equal_differences, order
from tfmisr.reader_study.statistics.noninferiority import VERDICTS
from tfmisr.reader_study.statistics.primary import LINEAR, ORDINAL


def findings(results: dict) -> dict[str, list[str]]:
    """Returns a summary of the results: title of a question to sentences, the primary question first.

    The lines after the first one of a sentence are the items of a list.

    Args:
        results: Content of results.json.
    """
    primary = results["study"]["primary"]
    tests = number_of_tests(results)
    return {
        f"{name} (primary question)" if name == primary else name: list(_of_question(question, tests))
        for name, question in ordered(results).items()
    }


def ordered(results: dict) -> dict[str, dict]:
    """Returns the questions of results.json, the primary one first."""
    primary = results["study"]["primary"]
    return dict(sorted(results["questions"].items(), key=lambda item: item[0] != primary))


def number_of_tests(results: dict) -> int:
    """Returns the number of tests for which p values are adjusted."""
    return sum(pair["p_value"] is not None for q in results["questions"].values() for pair in q["pairs"])


def _of_question(question: dict, tests: int) -> Iterator[str]:
    yield f"Mean scores: {'; '.join(f'{arm} {interval(mean)}' for arm, mean in question['arms'].items())}."
    higher, not_significant, untested = _split(question)
    adjusted = f"adjusted by Holm's method for {tests} tests" if tests > 1 else "of the only test"
    if higher:
        yield "\n".join([f"Scored higher (p {adjusted}):", *higher])
    if not_significant:
        heading = f"No significant difference, which does not show equivalence (p {adjusted}):"
        yield "\n".join([heading, *not_significant])
    yield from equal_differences(question, tests)
    if untested:
        yield f"Not tested: {', '.join(untested)}."
    for verdict in VERDICTS[::-1]:
        rows = [row for row in question["noninferiority"] if row["verdict"] == verdict]
        if rows:
            arms = "; ".join(f"{row['arm']} ({because(row, question, tests)})" for row in rows)
            to = "against" if verdict == "inconclusive" else "to"
            yield f"{verdict.capitalize()} {to} {rows[0]['reference']}: {arms}."
    agreement = question["agreement"]["all images"]
    icc, within_1 = agreement["ICC(2,1)"], agreement["within 1"]
    if icc["value"] is not None:
        share = percent(within_1["value"])
        yield f"Agreement: ICC(2,1) {coefficient(icc)}; two readers differ by at most one point in {share}."
    else:
        yield f"Inter-reader agreement is not defined: {icc['note']}."
    yield from (f"{warning}." for warning in question["warnings"])


def because(row: dict, question: dict, tests: int) -> str:
    """Returns the reason of a non-inferiority verdict, with the adjusted test of the pair if the two disagree.

    The verdict uses one planned interval of the mean difference; the test is one of many, adjusted for multiplicity,
    and about odds. Either can be significant without the other.

    Args:
        row: A non-inferiority verdict of the question.
        question: A question of results.json.
        tests: Number of tests for which p values are adjusted.
    """
    pair = _pair_of(row, question)
    if pair is None or pair["p_holm"] is None or _differs(row) == (pair["p_holm"] < LEVEL):
        return row["reason"]
    outcome = "no difference" if _differs(row) else order(pair)
    test = f"the test of this pair, which unlike the interval is adjusted for {tests} tests, shows {outcome}"
    return f"{row['reason']}; {test}, p {p_text(pair['p_holm'])}"


def _pair_of(row: dict, question: dict) -> dict | None:
    arms = {row["arm"], row["reference"]}
    return next((pair for pair in question["pairs"] if {pair["first"], pair["second"]} == arms), None)


def _differs(row: dict) -> bool:
    """Returns whether the verdict's interval excludes 0."""
    low, high = row["difference"]["low"], row["difference"]["high"]
    return low is not None and (low > 0 or high < 0)


def _split(question: dict) -> tuple[list[str], list[str], list[str]]:
    """Returns the pairs with a significant difference, without one, and without a test."""
    higher, not_significant, untested = [], [], []
    # The sentence about the verdict mentions the adjusted test of these pairs.
    covered = [_pair_of(row, question) for row in question["noninferiority"] if _differs(row)]
    for pair in question["pairs"]:
        first, second = pair["first"], pair["second"]
        if pair["p_holm"] is None:
            untested.append(f"{first} and {second}" + (f" ({pair['note']})" if pair["note"] else ""))
        elif pair["p_holm"] < LEVEL:
            higher.append(f"{order(pair)}: {described(pair)}")
        elif pair not in covered:
            not_significant.append(f"{first} and {second}: {described(pair, higher_first=False)}")
    return higher, not_significant, untested


def methods(results: dict) -> list[tuple[str, str]]:
    """Returns the statistical methods: title and text.

    Args:
        results: Content of results.json.
    """
    tests = [pair for q in results["questions"].values() for pair in q["pairs"]]
    linear = sum(pair["test"] == LINEAR for pair in tests)
    fallback = f"{linear} of {len(tests)} pairs here" if linear else "no pair here"
    plan = results["study"]["plan"]
    methods = [
        *([("Analysis plan, as fixed in the study file", plan)] if plan else []),
        (
            "Analyzed answers",
            "The first reading of each image. The training block is excluded; repeated readings of an image are used "
            "for intra-reader agreement only; answers below the minimum time are included and counted.",
        ),
        (
            "Intervals of means and differences",
            "95 %, with readers and cases as random samples (multi-reader multi-case). The variance is estimated from "
            "the mean squares of readers, cases and the residual (Obuchowski and Rockette; Hillis' degrees of "
            "freedom), with the t distribution. A bootstrap over readers and cases is reported for comparison; with "
            "three to five readers it can be far too narrow, and no verdict is based on it. Intervals of means are "
            "clipped to the scale.",
        ),
        (
            "Primary test",
            f"{ORDINAL.capitalize()}: cumulative logit (proportional odds), arms as fixed, readers and cases as "
            "crossed random effects, fitted by Laplace's approximation. Odds ratio: odds of a higher score, first arm "
            "over second. Its standard error is computed from pseudo-values of readers and cases (Dorfman, Berbaum and "
            "Metz), like that of a mean difference, and so allows for reader-by-arm and case-by-arm interactions. "
            f"If the model has no estimate, the {LINEAR} is used: {fallback}.",
        ),
        (
            "Multiple tests",
            f"p values are adjusted by Holm's method over all {len(tests)} pairs and questions. Non-inferiority is "
            "evaluated for each arm without adjustment, from the interval of the mean difference. The verdict mentions "
            "if the adjusted test of the same pair disagrees: a difference in one planned comparison need not be "
            "significant among many, and a test of odds is not a test of means.",
        ),
        (
            "Wilcoxon's test",
            "Over cases, with differences averaged over readers; Pratt's method for zeros, normal approximation. It "
            "generalizes to other cases, not to other readers. Answers of several readers to one case are not "
            "independent: a test on single answers would count each case several times, and is not offered.",
        ),
        ("Agreement", _AGREEMENT),
    ]
    if any(q["noninferiority"] for q in results["questions"].values()):
        methods.append(("Non-inferiority", _NONINFERIORITY))
    if results["preferences"]:
        methods.append(("Preferences", _PREFERENCES))
    return methods


_AGREEMENT = (
    "Intraclass correlation coefficients (Shrout and Fleiss) from images that all readers rated; Krippendorff's "
    "ordinal alpha and Gwet's AC2 (quadratic weights) from all answers. The intervals of ICC and alpha are over "
    "readers and cases: McGraw and Wong's F intervals. The images of one case, and one reader's answers to one arm, "
    "are not independent, so over all images the degrees of freedom are effective ones (Satterthwaite), divided by "
    "the design effect of the cases; alpha's interval is that of the correlation of mean ranks, which it estimates. "
    "The intervals of AC2, of equal answers, of those within 1 and of kappa are bootstrap intervals over cases (2000 "
    "resamples, expanded percentiles) and hold for these readers. Over all images, differences between arms make "
    "agreement higher than within an arm."
)
_NONINFERIORITY = (
    "Non-inferior: the whole 95 % interval of the difference lies above minus the margin; inferior: the whole interval "
    "lies below it; otherwise inconclusive. The margin was fixed in the study file before the first answer."
)
_PREFERENCES = (
    "Bradley-Terry model with Davidson's extension for ties; the intervals are robust to correlated answers of one "
    "reader and to one case (two-way clustering)."
)


def facts(results: dict) -> list[tuple[str, str]]:
    """Returns the figures at the head of the page: title and value.

    Args:
        results: Content of results.json.
    """
    study = results["study"]
    answers = sum(part["analysed"] for part in results["flow"])
    return [
        ("readers", str(len(study["readers"]))),
        ("cases", str(study["cases"])),
        ("arms", str(len(study["arms"]))),
        ("questions", str(len(results["questions"]))),
        ("answers analyzed", f"{answers:,}".replace(",", "\u202f")),
        ("hours of reading", number(results["times"]["all"]["total"] / 3600, 1) if answers else NONE),
    ]


__getattr__ = renamed(__name__, tested="number_of_tests")
