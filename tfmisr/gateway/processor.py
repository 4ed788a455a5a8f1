"""Threads that hand objects to worker processes, and record results and failures (G-11).

Upscaling runs in processes of its own: it would hold Python's lock while objects arrive, and a crash of a network must
not take the node with it.
"""

import logging
import sqlite3
import threading
import time

from tfmisr.cluster.isolation import Child, Limits
from tfmisr.gateway import backoff, work
from tfmisr.gateway.config import Config
from tfmisr.gateway.metrics import Metrics
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import FAILED, PASSED, RECEIVED, Task
from tfmisr.gateway.spool import Spool

_LOG = logging.getLogger("tfmisr.gateway")
_IDLE_SECONDS = 0.5
PROCESSING_CAP = 3600.0  # seconds between attempts


class Processor(threading.Thread):
    """Processes objects, one after the other, in a process of its own.

    Args:
        settings: The configuration.
        spool: The spool.
        queue: The queue.
        metrics: Counters.
    """

    def __init__(self, settings: Config, spool: Spool, queue: Queue, metrics: Metrics) -> None:
        super().__init__(name="processor", daemon=True)
        self._settings, self._spool, self._queue, self._metrics = settings, spool, queue, metrics
        self._stopping = threading.Event()
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._loaded = False
        self._unfinished: Task | None = None

    @property
    def ready(self) -> bool:
        """Whether the models are loaded and the thread is alive."""
        return self._loaded and self.is_alive()

    def stop(self) -> None:
        """Ends the process, whatever it does; its object is tried again after the next start."""
        self._stopping.set()
        with self._lock:
            if self._child:
                self._child.close()
        self._queue.notify()

    def run(self) -> None:
        """Loads the models, then processes until it is stopped."""
        while not self._stopping.is_set():
            version = self._queue.version
            try:
                if not self._loaded:
                    self._loaded = self._load()
                busy = self._loaded and self._next()
            except Exception as error:  # noqa: BLE001
                fault = "the queue reports" if isinstance(error, OSError | sqlite3.Error) else "failed with"
                _LOG.error("processing: %s %s", fault, type(error).__name__)
                busy = False
                self._stopping.wait(_IDLE_SECONDS)
            if not busy and not self._stopping.is_set():
                self._queue.wait(version, _IDLE_SECONDS)

    def _call(self, function: str, payload: str, limits: Limits | None = None) -> dict:
        with self._lock:
            if self._stopping.is_set():
                return {"error": "interrupted"}
            if self._child and not self._child.alive:
                self._child.close()
                self._child = None
            self._child = self._child or Child()
        return self._child.call(function, payload, limits or Limits())

    def _load(self) -> bool:
        """Loads each model once, so that a wrong one is reported before the first image; false to try again."""
        threads = self._settings.processing.threads
        models = dict.fromkeys((rule.model, rule.scale) for rule in self._settings.rules if rule.model)
        for model, scale in models:
            reply = self._call(work.LOAD, work.request(model, scale, threads, key=self._settings.signed_by))
            if "error" in reply:
                self._report_not_loaded(model, reply["error"])
                return False
            self._metrics.models.labels(model).info({"sha256": reply["value"]["sha256"]})
        return True

    def _report_not_loaded(self, model: str, reason: str) -> None:
        if not self._stopping.is_set():
            _LOG.error("model %s not loaded: %s; trying again", model, reason)
            self._stopping.wait(self._settings.processing.retry_seconds)

    def _end_process(self) -> None:
        """Ends the process, which gives its memory back; the next call starts another one."""
        with self._lock:
            if self._child:
                self._child.close()
            self._child = None

    def _next(self) -> bool:
        """Processes one object; false if there is none."""
        if self._unfinished:  # its end could not be recorded; a result that is complete is used
            self._failed(self._unfinished, "its end could not be recorded")
        self._unfinished = task = self._queue.claim()
        if task is None:
            return False
        start = time.monotonic()
        target = self._spool.results / f"{task.id}.dcm"
        paths = {"source": self._spool.folder / task.file, "target": target, "key": self._settings.signed_by}
        settings = self._settings.processing
        paths |= {"record_times": "yes"} if settings.record_times else {}
        payload = work.request(task.model, task.scale, settings.threads, **paths)
        reply = self._call(work.UPSCALE, payload, Limits(settings.timeout))
        self._conclude(task, reply)
        self._unfinished = None
        self._metrics.process_seconds.observe(time.monotonic() - start)
        return True

    def _conclude(self, task: Task, reply: dict) -> None:
        value = reply.get("value", {})
        if "refused" in value:
            # Out of scope, or not to be upscaled: the original passes alone, and the reason is recorded.
            self._queue.finish(task, PASSED, value["refused"])
            self._count("refused", f"object {task.id} is not upscaled: {value['refused']}")
        elif value:
            file = self._spool.relative(self._spool.results / f"{task.id}.dcm")
            self._queue.processed(task, file, value["uid"], value["syntax"], value["digest"])
            self._count("processed", f"object {task.id} upscaled")
        elif self._stopping.is_set():
            self._queue.finish(task, RECEIVED, "interrupted by the end of the node", uncount=True)
        else:
            self._failed(task, reply["error"])

    def _failed(self, task: Task, reason: str) -> None:
        settings = self._settings.processing
        if task.attempts >= settings.attempts:
            self._queue.finish(task, FAILED, reason)
            self._count("quarantined", f"object {task.id} quarantined after {task.attempts} attempts: {reason}")
            return
        seconds = backoff.delay(task.attempts, settings.retry_seconds, PROCESSING_CAP)
        self._queue.finish(task, RECEIVED, reason, seconds)
        self._count("failed", f"object {task.id}: {reason}; next attempt in {seconds:.0f} s")

    def _count(self, outcome: str, text: str) -> None:
        self._metrics.processed.labels(outcome).inc()
        _LOG.log(logging.INFO if outcome.endswith("processed") else logging.WARNING, "%s", text)
