"""Upscales an archive on a cluster: lists its images, skips those that are done, hands out the others, keeps a ledger.

An image is done when its row says that its result, of the recorded size, was made by the same model and options from
the same source. A source is the same while its size and time are, as for make and rsync; where they differ, its SHA-256
decides.
"""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator

from tfmisr import cluster
from tfmisr.cluster import stores
from tfmisr.cluster.ledger import Entry, Ledger, pages
from tfmisr.cluster.manifest import Row
from tfmisr.cluster.parts import Parts
from tfmisr.edge import report
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import remove_orphaned_temporaries
from tfmisr.edge.text import counted
from tfmisr.inference import output_folder, series_on_cluster, trust_flags
from tfmisr.inference.batch import BatchUpscaler
from tfmisr.inference.examination import OUT_OF_SCOPE
from tfmisr.progress import bar

_JOBS = "tfmisr.inference.cluster_jobs"


@dataclasses.dataclass(frozen=True)
class Archive:
    """An output folder and what fills it.

    Attributes:
        output: Absolute path or URL of the output folder.
        upscaler: Model, scale and options, bound to the folder.
        memory_limit: As of `tfmisr.cluster.Options`.
        half_widths: Absolute path or URL of the folder for half-width maps, if any.
    """

    output: str
    upscaler: BatchUpscaler
    memory_limit: int | None = None
    half_widths: str | None = None

    def identity(self, options: str) -> str:
        """Returns a digest of model and options: what results depend on beside their source and intensity scale."""
        return _identity(self.upscaler, options)

    def is_done(self, entry: Entry) -> str | bool:
        """Returns whether the result of a row is there and up to date; as the new stamp where only that differs."""
        if entry.status != "done" or entry.identity != self.identity(entry.options):
            return False
        result = stores.size_and_stamp(stores.join(self.output, entry.target), listed=True)
        source = stores.size_and_stamp(entry.source, listed=True)
        if result is None or source is None or result[0] != entry.size:
            return False
        if self.half_widths and stores.size_and_stamp(stores.join(self.half_widths, entry.target), listed=True) is None:
            return False
        if source[1] == entry.stamp:
            return True
        if stores.is_url(entry.source) or stores.sha256(entry.source) != entry.sha256:
            return False
        return source[1]

    def job(self, entry: Entry, scale: dict | None) -> dict:
        """Returns the payload of `tfmisr.inference.cluster_jobs.upscale`."""
        return {
            "upscaler": dataclasses.asdict(self.upscaler) | json.loads(entry.options),
            "weights_sha256": self.upscaler.upscaler.weights_sha256,
            "source": entry.source,
            "target": stores.join(self.output, entry.target),
            "half_width": self.half_widths and stores.join(self.half_widths, entry.target),
            "scale": scale,
            "memory_limit": self.memory_limit,
        }


@functools.lru_cache(maxsize=1024)
def _identity(upscaler, options) -> str:
    network = upscaler.upscaler
    fields = {**dataclasses.asdict(upscaler), **json.loads(options), "model": network.name}
    fields |= {"weights_sha256": network.weights_sha256, "consistency": network.consistency}
    fields["uncertainty"] = upscaler.statement
    if not fields["uncertainty"]:  # as before there was any
        del fields["uncertainty"]
    # The folder's own, no matter, and what an archive has no flag for.
    for name in ("when", "threads", "level", "report", "force", "record_times", "suggest"):
        del fields[name]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]


@contextlib.contextmanager
def bound(output: str, upscaler: BatchUpscaler) -> Iterator[tuple[BatchUpscaler, pathlib.Path]]:
    """Yields the upscaler bound to an output folder (see `output_folder.bind`), and its record as a local file.

    The record of a URL is copied, and written back where it has changed, before the block and after each change.

    Raises:
        InputError: The folder holds results of another model or scale.
    """
    if not stores.is_url(output):
        yield output_folder.bind(pathlib.Path(output), upscaler), pathlib.Path(output) / output_folder.RECORD
        return
    with tempfile.TemporaryDirectory(prefix="tfmisr-") as name:
        folder, url = pathlib.Path(name), stores.join(output, output_folder.RECORD)
        record = folder / output_folder.RECORD
        if content := stores.read_bytes(url):
            record.write_bytes(content)
        try:
            yield output_folder.bind(folder, upscaler), record
        except InputError as error:
            raise InputError(str(error).replace(name, output)) from error


def publish_record(output: str, record: pathlib.Path) -> None:
    """Writes the record of a URL back, where it has changed."""
    url = stores.join(output, output_folder.RECORD)
    if stores.is_url(output) and stores.read_bytes(url) != record.read_bytes():
        stores.write_bytes(url, record.read_bytes())


def compare(ledger: Ledger, archive: Archive, overwrite: bool) -> int:
    """Marks what is to be done as pending, and returns how many images are done already."""
    done = 0
    for page in pages(ledger.entries()):
        states = [(entry, not overwrite and archive.is_done(entry)) for entry in page]
        ledger.set_pending(entry.target for entry, state in states if not state)
        ledger.set_stamps([(state, entry.target) for entry, state in states if isinstance(state, str)])
        done += sum(bool(state) for _, state in states)
    ledger.commit()
    stores.forget_listings()
    return done


def upscale(
    ledger: Ledger,
    parts: Parts | None,
    archive: Archive,
    client: "cluster.connection.Connection",
    scales: dict[str, dict | None],
    pending: int,
    retries: int,
    timeout: float | None,
    table: report.Table | None = None,
) -> collections.Counter:
    """Upscales all pending images, and returns the outcomes of the applicability check.

    Args:
        ledger: Lists the images, and receives the outcomes.
        parts: Of a ledger in a store.
        archive: Output folder and upscaler.
        client: From `tfmisr.cluster.connect`.
        scales: Fields of the intensity scales, by series.
        pending: Number of images, for the progress bar.
        retries: See `tfmisr.cluster.run`.
        timeout: See `tfmisr.cluster.run`.
        table: Of `--report`, if any; receives a row for each image.
    """
    folders, outcomes = set(), collections.Counter()
    sources: dict[str, Entry] = {}  # of those that are under way

    def jobs():
        for entry in ledger.entries("pending"):
            sources[entry.target] = entry
            yield entry.target, archive.job(entry, scales.get(entry.series) if entry.series else None)

    with bar(total=pending, desc="upscaling", unit=" images") as progress:
        log = progress.write if sys.stderr.isatty() else print
        for outcome in cluster.run(client, f"{_JOBS}:upscale", jobs(), retries=retries, timeout=timeout):
            entry = sources.pop(outcome.key)
            if not stores.is_url(archive.output):  # a lost worker's images count no try; its process may leave files
                folders.add(pathlib.Path(archive.output, entry.target).parent)
            log(_record(ledger, archive, entry, outcome))
            outcomes[_outcome(outcome, table)] += 1
            if not outcome.error and outcome.value.get("warning"):
                log(f"warning: {outcome.value['warning']}")
            if parts:
                parts.write_if_due()
            progress.update(1)
    remove_orphaned_temporaries(*folders)
    return outcomes


def _outcome(outcome, table) -> str:
    """Returns the outcome of the applicability check of an image, and adds its row to the table."""
    if outcome.error:
        return ""
    if "refused" in outcome.value:
        return OUT_OF_SCOPE
    if table and outcome.value["row"]:
        table.add(outcome.value["row"])
    return outcome.value["outcome"]


def _record(ledger, archive, entry, outcome) -> str:
    """Records an outcome and returns its line for the log."""
    fields = {"seconds": outcome.seconds, "tries": outcome.tries, "identity": archive.identity(entry.options)}
    refused = outcome.value.get("refused") if not outcome.error else None
    if refused:
        ledger.record(entry.target, "failed", error=refused, **fields)
        return f"failed: {refused}"
    if not outcome.error:
        kept = {name: outcome.value[name] for name in ("size", "stamp", "sha256")}
        ledger.record(entry.target, "done", **fields, **kept)
        return outcome.value["summary"]
    text = outcome.error if entry.source in outcome.error else f"{entry.source}: {outcome.error}"
    ledger.record(entry.target, "quarantined" if outcome.quarantined else "failed", error=outcome.error, **fields)
    return f"failed: {text}" + (f" (tried {counted(outcome.tries, 'time')})" if outcome.quarantined else "")


def main(
    rows: Iterator[Row],
    archive_of: tuple[str, BatchUpscaler],
    address: str,
    options: "cluster.Options",
    *,
    overwrite: bool,
    like: str | None,
    retries: int,
    timeout: float | None,
    half_widths: str | None = None,
    table: pathlib.Path | None = None,
) -> int:
    """Runs the command for an archive.

    Args:
        rows: Of `tfmisr.inference.archive_inputs.rows`.
        archive_of: Output folder and upscaler, not bound yet.
        address: Of `tfmisr.cluster.connect`.
        options: Of `tfmisr.cluster.connect`.
        overwrite: Replace existing results.
        like: See `tfmisr.inference.series_on_cluster.scales`.
        retries: See `tfmisr.cluster.run`.
        timeout: See `tfmisr.cluster.run`.
        half_widths: Folder or URL for half-width maps, if any.
        table: File of `--report`, if any.

    Returns:
        Exit status 0.

    Raises:
        InputError: The inputs are not usable, or images could not be upscaled.
    """
    from tfmisr.cluster import parts as ledger_parts

    output, upscaler = archive_of
    with ledger_parts.opened(output) as (ledger, parts):
        total = ledger.begin(rows)
        with bound(output, upscaler) as (bound_upscaler, record):
            archive = Archive(output, bound_upscaler, options.memory_limit, half_widths)
            _remove_temporaries(ledger, output)
            done = compare(ledger, archive, overwrite)
            if done:
                print(f"done already: {done:,} of {counted(total, 'image')} (--overwrite replaces them)")
            if done == total:
                return 0
            rows_of = report.Table(table) if table else contextlib.nullcontext()
            with cluster.connect(address, options) as client, rows_of as opened:
                scales = series_on_cluster.scales(ledger, output, record, client, like, retries, timeout)
                publish_record(output, record)
                outcomes = upscale(ledger, parts, archive, client, scales, total - done, retries, timeout, opened)
        trust_flags.print_counts(outcomes)
        _require_all(ledger, total)
    return 0


def _remove_temporaries(ledger, output):
    """Removes what processes left that were killed, in the folders of images that are not done."""
    if not stores.is_url(output):
        folders = {os.path.dirname(entry.target) for entry in ledger.entries("pending")}
        remove_orphaned_temporaries(*(pathlib.Path(output, folder) for folder in folders))


def _require_all(ledger, total):
    count, first = ledger.unusable()
    if count:
        names = ", ".join(first) + (f" and {count - len(first):,} more" if count > len(first) else "")
        raise InputError(
            f"{count:,} of {counted(total, 'image')} could not be upscaled: {names}; "
            "the reasons are printed above, and kept in the ledger (--status)"
        )
