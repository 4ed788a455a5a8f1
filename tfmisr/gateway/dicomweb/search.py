"""Search transaction (QIDO-RS, PS3.18 10.6): studies, series and instances that the spool still holds."""

import dataclasses
import json

from tfmisr.gateway.dicomweb import matching, tables
from tfmisr.gateway.dicomweb.catalog import Catalog, Entry
from tfmisr.gateway.dicomweb.matching import Query
from tfmisr.gateway.dicomweb.messages import JSON, Request, Response, choose

_UIDS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}
_AGENT = "tfmisr"


class Search:
    """The transaction.

    Args:
        catalog: The index of the spool.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __call__(
        self, request: Request, level: str, studies_url: str, study: str = "", series: str = ""
    ) -> tuple[Response, int]:
        """Returns the response and the number of its results.

        Args:
            request: The request.
            level: `study`, `series` or `instance`.
            studies_url: URL of the studies.
            study: Study Instance UID of the path; empty for all.
            series: Series Instance UID of the path; empty for all.

        Raises:
            Refused: A parameter or media type is not offered.
            sqlite3.Error: Queue or index cannot be used.
        """
        kind = choose(request, JSON)
        query = matching.parse(request.query, level)
        unreadable = self._catalog.synchronize()
        found = _Results(self._catalog, query, level, study)
        for entry in self._catalog.entries(study, series):
            found.add(entry)
        levels = _levels(level, study, series)
        results = [_result(each, level, levels, query, studies_url) for each in found.shown]
        headers = _warnings(found.count - query.offset - len(results), query.not_kept, unreadable)
        if not results:
            return Response(204, headers=headers), 0
        return Response(200, kind, json.dumps(results).encode(), headers=headers), len(results)


@dataclasses.dataclass(frozen=True)
class _Result:
    """A result: Attributes of the file that stands for it, and those that describe study and series as a whole."""

    attributes: dict
    computed: dict[str, list]


class _Results:
    """The results of a search, of which those in the window of `offset` and `limit` alone are kept in memory.

    A study or series matches if one of its files does; the first one that does stands for it.
    """

    def __init__(self, catalog: Catalog, query: Query, level: str, study: str) -> None:
        self.shown: list[_Result] = []
        self.count = 0
        self._query, self._level = query, level
        self._studies, self._series = catalog.counts(study), catalog.series(study)
        self._seen: set[tuple[str, ...]] = set()

    def add(self, entry: Entry) -> None:
        """Takes a file into account."""
        keys = {"study": (entry.study,), "series": (entry.study, entry.series)}.get(self._level)
        if keys in self._seen:
            return
        computed = self._computed(entry)
        fields = entry.attributes | _attribute("ModalitiesInStudy", computed["ModalitiesInStudy"])
        if not all(matching.matches(fields, *key) for key in self._query.keys.items()):
            return
        if keys:
            self._seen.add(keys)
        if self._query.offset <= self.count < self._query.offset + self._query.limit:
            self.shown.append(_Result(entry.attributes, computed))
        self.count += 1

    def _computed(self, entry: Entry) -> dict[str, list]:
        # What was indexed meanwhile is not counted yet.
        modalities, series, instances = self._studies.get(entry.study, ([], 1, 1))
        return {
            "ModalitiesInStudy": modalities,
            "NumberOfStudyRelatedSeries": [series],
            "NumberOfStudyRelatedInstances": [instances],
            "NumberOfSeriesRelatedInstances": [self._series.get((entry.study, entry.series), 1)],
        }


def _attribute(keyword: str, values: list) -> dict:
    vr = matching.vr_of(keyword)
    return {matching.tag_of(keyword): {"vr": vr, "Value": values} if values else {"vr": vr}}


def _levels(level: str, study: str, series: str) -> tuple[str, ...]:
    """Returns the levels whose Attributes a result has: its own, and those above that the path does not name."""
    last = tables.LEVELS.index(level) + 1
    return tables.LEVELS[min(bool(study) + bool(series), last - 1) : last]


def _result(result: _Result, of: str, levels: tuple[str, ...], query: Query, studies_url: str) -> dict:
    found = _attribute("SpecificCharacterSet", ["ISO_IR 192"]) | _attribute("InstanceAvailability", ["ONLINE"])
    found |= _attribute("RetrieveURL", [_url(result.attributes, of, studies_url)])
    for level in tables.LEVELS[: tables.LEVELS.index(of) + 1]:
        names = [_UIDS[level], *query.keys, *query.included]
        if level in levels:
            names += [*tables.MATCHED[level], *tables.RETURNED[level]]
        names += tables.INCLUDED[level] if query.all_fields else ()
        offered = {*tables.keywords(level), *tables.COUNTED[level]}
        names += tables.COUNTED[level] if level in levels else ()
        for name in dict.fromkeys(names):
            if name in tables.COUNTED[level]:
                found |= _attribute(name, result.computed[name])
            elif name in offered:
                tag = matching.tag_of(name)
                found[tag] = result.attributes.get(tag, {"vr": matching.vr_of(name)})
    return dict(sorted(found.items()))


def _url(attributes: dict, of: str, studies_url: str) -> str:
    uids = [matching.values(attributes, _UIDS[level])[0] for level in tables.LEVELS]
    parts = [uids[0], f"series/{uids[1]}", f"instances/{uids[2]}"]
    return "/".join((studies_url, *parts[: tables.LEVELS.index(of) + 1]))


def _warnings(more: int, not_kept: tuple[str, ...], unreadable: int) -> tuple[tuple[str, str], ...]:
    texts = [f"There are {more} additional results that can be requested"] if more > 0 else []
    texts += [f"not in the index and not returned: {', '.join(not_kept)}"] if not_kept else []
    texts += [f"{unreadable} files of the spool have no readable header and are left out"] if unreadable else []
    return tuple(("Warning", f'299 {_AGENT} "{text}"') for text in texts)
