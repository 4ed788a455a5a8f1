"""The intensity scales of an archive's series: what `tfmisr.inference.series_scales` does, on the workers.

Headers are read in parts, each series is surveyed by one job, and the scales are kept in `upscale.json`.
"""

import dataclasses
import pathlib
import posixpath
import typing

from tfmisr import cluster
from tfmisr.cluster import stores
from tfmisr.cluster.ledger import Ledger, pages
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import IntensityScale
from tfmisr.edge.series import Group
from tfmisr.inference import series_scales

_JOBS = "tfmisr.inference.cluster_jobs"
_HEADERS = 32  # a job


def scales(
    ledger: Ledger,
    output: str,
    record: pathlib.Path,
    client: "cluster.connection.Connection",
    like: str | None,
    retries: int,
    timeout: float | None,
) -> dict[str, dict | None]:
    """Finds the series of all pending images, writes them to the ledger and returns the fields of their scales.

    Args:
        ledger: Lists the images.
        output: Folder or URL of the results.
        record: `upscale.json`, as a local file; it receives the scales of new series.
        client: From `tfmisr.cluster.connect`.
        like: Folder or file whose scales are used instead of those of the images.
        retries: See `tfmisr.cluster.run`.
        timeout: See `tfmisr.cluster.run`; for headers, not for the survey of a series.

    Raises:
        InputError: The record, or `like`, does not match the images.
    """
    groups = _find_groups(ledger, client, retries, timeout)
    known = series_scales.read_scales(record, needed=bool(groups))
    if like:
        reference = series_scales.ReferenceSeries(like)
        found = {key: reference.scale(group) for key, group in groups.items()}
        series_scales.require_same(known, found, pathlib.Path(output))
    else:
        found = _survey(ledger, client, groups.keys() - known.keys(), retries)
    if found.keys() - known.keys():
        known |= found
        series_scales.write_scales(record, known)
    return {key: scale and dataclasses.asdict(scale) for key, scale in known.items()}


def _find_groups(ledger, client, retries, timeout) -> dict[str, Group]:
    """Sets the series of all pending images in the ledger, and returns the groups by series.

    A part whose process ends is read again image by image: the image that ends it is quarantined.
    """
    groups: dict[str, Group] = {}
    again = _read_groups(ledger, client, groups, pages(ledger.entries("pending"), _HEADERS), 0, timeout)
    if again:
        _read_groups(ledger, client, groups, ([entry] for entry in again), retries, timeout)
    ledger.commit()
    return groups


def _read_groups(ledger, client, groups, parts, retries, timeout) -> list:
    """Reads the headers of parts of images, and returns the images of those parts that failed."""
    under_way, failed = {}, []

    def jobs():
        for part in parts:
            under_way[part[0].target] = part
            yield part[0].target, [entry.source for entry in part]

    for outcome in cluster.run(client, f"{_JOBS}:groups", jobs(), retries=retries, timeout=timeout):
        part = under_way.pop(outcome.key)
        if outcome.error:
            failed += part
            if len(part) == 1:
                ledger.record(part[0].target, "quarantined", error=outcome.error, tries=outcome.tries)
            continue
        ledger.set_series(list(_series_of(part, outcome.value, groups)))
    return failed


def _series_of(part, found, groups):
    """Yields (series or `None`, target) of images, and adds their groups."""
    for entry, group in zip(part, found, strict=True):
        key = None
        if group:
            group = typing.cast(Group, tuple(group))
            key = series_scales.series_key(group, _folders(entry))
            groups[key] = group
        yield key, entry.target


def _folders(entry) -> tuple[str, ...]:
    """Returns as many names of the source's folders as its result has, and one; see `series_scales.series_key`."""
    folder = entry.source.rpartition("/")[0] if stores.is_url(entry.source) else pathlib.Path(entry.source).resolve()
    parts = tuple(folder.split("/")) if isinstance(folder, str) else folder.parent.parts
    return parts[-(len(pathlib.PurePosixPath(posixpath.dirname(entry.target)).parts) + 1) :]


def _survey(ledger, client, missing, retries) -> dict[str, IntensityScale | None]:
    jobs = ((key, list(ledger.sources_of(key))) for key in sorted(missing))
    found = {}
    for outcome in cluster.run(client, f"{_JOBS}:series_scale", jobs, retries=retries):
        if outcome.error:
            raise InputError(
                f"the intensity scale of a series cannot be found ({outcome.error}); raise --memory_limit, or leave "
                "the image out that causes it"
            )
        found[outcome.key] = IntensityScale(**outcome.value) if outcome.value else None
    return found
