"""The thread that waits until series are complete and has their derived series made (G-14, G-11).

One series is processed at a time, in a process of its own that ends with it, so that the memory of a large one is given
back and its network cannot hold up the images that are processed one by one.
"""

import dataclasses
import pathlib
import sqlite3
import time
from collections.abc import Callable, Iterable

from tfmisr.cluster.isolation import Limits
from tfmisr.edge.errors import InputError
from tfmisr.gateway import backoff, series, series_work
from tfmisr.gateway.processor import PROCESSING_CAP, Processor
from tfmisr.gateway.schema import FAILED, PASSED, RECEIVED
from tfmisr.gateway.series import DerivedImage, SeriesTask


class Watch:
    """Finds series that are complete.

    The time without a new image is measured by this process's monotonic clock: a wall clock that jumps completes
    nothing, and after a restart the time begins again, as the sender may have waited for the node.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[int, tuple[int, float]] = {}

    def complete(self, rows: Iterable[sqlite3.Row]) -> dict[int, tuple[int, str]]:
        """Returns the number of each complete group to how many images it has, and why it is complete.

        Args:
            rows: As of `series.collecting`: all groups that wait.
        """
        now, seen, found = self._clock(), {}, {}
        for row in rows:
            images = row["images"]
            known = self._seen.get(row["id"])
            seen[row["id"]] = known if known and known[0] == images else (images, now)
            if 0 < row["expected"] <= images and not row["late"]:
                found[row["id"]] = images, f"{row['expected']} were expected"
            elif now - seen[row["id"]][1] >= row["seconds"]:
                found[row["id"]] = images, f"none came for {row['seconds']:g} s"
        self._seen = seen
        return found


class SeriesProcessor(Processor):
    """Processes complete series, one after the other; see `Processor`."""

    def __init__(self, *parts) -> None:
        super().__init__(*parts)
        self.name = "series processor"
        self._watch = Watch()

    def _load(self) -> bool:
        """Opens each network once, so that a wrong file is reported before the first series; false to try again."""
        for method in dict.fromkeys(rule.volume for rule in self._settings.rules if rule.volume):
            reply = self._call(series_work.CHECK, series_work.request(method, self._settings.signed_by))
            if "error" in reply:
                self._report_not_loaded(method, reply["error"])
                return False
            self._metrics.models.labels(method).info({"sha256": reply["value"]["sha256"]})
        self._end_process()
        return True

    def _next(self) -> bool:
        """Processes one series; false if there is none that is complete, or no space for its result."""
        if self._unfinished:  # its end could not be recorded
            self._failed(self._unfinished, "its end could not be recorded")
            self._unfinished = None
        complete = self._watch.complete(series.collecting(self._queue))
        if not self._spool.has_space:
            return False
        self._unfinished = task = series.claim(self._queue, complete)
        if task is None:
            return False
        if len(task.files) < task.expected:  # what is missing at an end of a volume does not show in its geometry
            self._refuse(task, f"{task.expected} images were expected, {len(task.files)} came")
            self._unfinished = None
            return True
        start = time.monotonic()
        settings = self._settings.processing
        limits = Limits(settings.volume_timeout, int(settings.volume_memory_gb * 1e9))
        try:
            reply = self._call(series_work.UPSCALE, self._request(task), limits)
        finally:
            self._end_process()
        self._conclude(task, reply)
        self._unfinished = None
        self._metrics.process_seconds.observe(time.monotonic() - start)
        return True

    def _request(self, task: SeriesTask) -> str:
        settings, spool = self._settings, self._spool
        return series_work.request(
            task.method,
            settings.signed_by,
            sources=[str(spool.folder / name) for name in task.files],
            folder=str(spool.incoming / f"series-{task.id}"),
            results=str(spool.results),
            prefix=f"series-{task.id}",
            spacing=task.spacing if task.spacing == "iso" else float(task.spacing),
            threads=settings.processing.threads,
            memory=settings.processing.volume_memory_gb,
            record_times=settings.processing.record_times,
        )

    def _conclude(self, task: SeriesTask, reply: dict) -> None:
        value = reply.get("value", {})
        if "images" in value:
            self._keep(task, value["images"], value["remarks"])
        elif "refused" in value:
            self._refuse(task, value["refused"])
        elif self._stopping.is_set():
            series.finish(self._queue, task, RECEIVED, "interrupted by the end of the node", uncount=True)
        else:
            self._failed(task, reply["error"].replace("--memory_limit", "volume_memory_gb"))

    def _keep(self, task: SeriesTask, values: list[dict], remarks: str) -> None:
        images = [DerivedImage(**value) for value in values]
        images = [dataclasses.replace(image, file=self._spool.relative(pathlib.Path(image.file))) for image in images]
        try:
            series.processed(self._queue, task, images, remarks)
        except InputError as error:
            for image in images:
                (self._spool.folder / image.file).unlink(missing_ok=True)
            self._refuse(task, str(error))
            return
        self._count("series processed", f"series {task.id}: {len(task.files)} images in, {len(images)} images out")

    def _refuse(self, task: SeriesTask, reason: str) -> None:
        """Records why there is no derived series: the originals pass alone."""
        series.finish(self._queue, task, PASSED, reason)
        self._count("series refused", f"series {task.id} has no derived series: {reason}")

    def _failed(self, task: SeriesTask, reason: str) -> None:
        settings = self._settings.processing
        if task.attempts >= settings.attempts:
            series.finish(self._queue, task, FAILED, reason)
            self._count("series quarantined", f"series {task.id} quarantined, {task.attempts} attempts: {reason}")
            return
        seconds = backoff.delay(task.attempts, settings.retry_seconds, PROCESSING_CAP)
        series.finish(self._queue, task, RECEIVED, reason, seconds)
        self._count("series failed", f"series {task.id}: {reason}; next attempt in {seconds:.0f} s")
