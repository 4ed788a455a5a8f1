"""Search transaction (QIDO-RS, PS3.18 10.6): studies, series and instances that the spool still holds."""

import json
from collections.abc import Iterable

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
        groups = _groups(self._catalog.entries(study, series), level)
        found = [each for each in groups if each.select(query)]
        shown = found[query.offset : query.offset + query.limit]
        levels = _levels(level, study, series)
        results = [_result(each, levels, query, studies_url) for each in shown]
        headers = _warnings(len(found) - query.offset - len(shown), query.not_kept, unreadable)
        if not results:
            return Response(204, headers=headers), 0
        return Response(200, kind, json.dumps(results).encode(), headers=headers), len(results)


class _Group:
    """The files of one result: all of a study or series, or one instance."""

    def __init__(self, level: str, entries: list[Entry], study: list[Entry], series: list[Entry]) -> None:
        self.level, self.first = level, entries[0].attributes  # of the file that stands for the result
        self._entries, self._study, self._series = entries, study, series

    def select(self, query: Query) -> bool:
        """Takes the first file that matches; false if none does."""
        computed = {name: value for name, value in query.keys.items() if name in tables.COUNTED["study"]}
        if not all(matching.matches(_attribute(name, self.computed(name)), name, computed[name]) for name in computed):
            return False
        keys = [(name, value) for name, value in query.keys.items() if name not in computed]
        fitting = (e.attributes for e in self._entries if all(matching.matches(e.attributes, *key) for key in keys))
        self.first = next(fitting, None)
        return self.first is not None

    def computed(self, keyword: str) -> list:
        """Values of an Attribute that describes study or series as a whole."""
        if keyword == "ModalitiesInStudy":
            return sorted({value for each in self._study for value in matching.values(each.attributes, "Modality")})
        if keyword == "NumberOfStudyRelatedSeries":
            return [len({_uid(each, "series") for each in self._study})]
        return [len(self._series if keyword == "NumberOfSeriesRelatedInstances" else self._study)]


def _uid(entry: Entry, level: str) -> str:
    return matching.values(entry.attributes, _UIDS[level])[0]


def _by(entries: Iterable[Entry], *levels: str) -> dict[tuple, list[Entry]]:
    found: dict[tuple, list[Entry]] = {}
    for each in entries:
        found.setdefault(tuple(_uid(each, level) for level in levels), []).append(each)
    return found


def _groups(entries: list[Entry], level: str) -> list[_Group]:
    studies, series = _by(entries, "study"), _by(entries, "study", "series")
    groups = {"study": studies.values(), "series": series.values()}.get(level, [[each] for each in entries])
    return [
        _Group(
            *(level, group, studies[(_uid(group[0], "study"),)]),
            series[_uid(group[0], "study"), _uid(group[0], "series")],
        )
        for group in groups
    ]


def _attribute(keyword: str, values: list) -> dict:
    vr = matching.vr_of(keyword)
    return {matching.tag_of(keyword): {"vr": vr, "Value": values} if values else {"vr": vr}}


def _levels(level: str, study: str, series: str) -> tuple[str, ...]:
    """Returns the levels whose Attributes a result has: its own, and those above that the path does not name."""
    last = tables.LEVELS.index(level) + 1
    return tables.LEVELS[min(bool(study) + bool(series), last - 1) : last]


def _result(group: _Group, levels: tuple[str, ...], query: Query, studies_url: str) -> dict:
    found = _attribute("SpecificCharacterSet", ["ISO_IR 192"]) | _attribute("InstanceAvailability", ["ONLINE"])
    found |= _attribute("RetrieveURL", [_url(group, studies_url)])
    for level in tables.LEVELS[: tables.LEVELS.index(group.level) + 1]:
        names = [_UIDS[level], *query.keys, *query.included]
        if level in levels:
            names += [*tables.MATCHED[level], *tables.RETURNED[level]]
        names += tables.INCLUDED[level] if query.all_fields else ()
        offered = {*tables.keywords(level), *tables.COUNTED[level]}
        names += tables.COUNTED[level] if level in levels else ()
        for name in dict.fromkeys(names):
            if name in tables.COUNTED[level]:
                found |= _attribute(name, group.computed(name))
            elif name in offered:
                tag = matching.tag_of(name)
                found[tag] = group.first.get(tag, {"vr": matching.vr_of(name)})
    return dict(sorted(found.items()))


def _url(group: _Group, studies_url: str) -> str:
    uids = [matching.values(group.first, _UIDS[level])[0] for level in tables.LEVELS]
    parts = [uids[0], f"series/{uids[1]}", f"instances/{uids[2]}"]
    return "/".join((studies_url, *parts[: tables.LEVELS.index(group.level) + 1]))


def _warnings(more: int, not_kept: tuple[str, ...], unreadable: int) -> tuple[tuple[str, str], ...]:
    texts = [f"There are {more} additional results that can be requested"] if more > 0 else []
    texts += [f"not in the index and not returned: {', '.join(not_kept)}"] if not_kept else []
    texts += [f"{unreadable} files of the spool have no readable header and are left out"] if unreadable else []
    return tuple(("Warning", f'299 {_AGENT} "{text}"') for text in texts)
