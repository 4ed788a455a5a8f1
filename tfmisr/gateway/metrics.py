"""Metrics in the format of Prometheus (G-17): counts, sizes and times; no UID, no name, no identifier of a patient."""

import time
from collections.abc import Callable, Iterator

import prometheus_client
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tfmisr.gateway import commitments, series_reports
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import GROUPED, PASSED, PROCESSED, SENT
from tfmisr.gateway.spool import Spool

_PREFIX = "tfmisr_gateway_"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The counters of one node."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.received = self._counter("received", "objects by status, of C-STORE and STOW-RS", ["status"])
        self.dicomweb = self._counter("dicomweb_requests", "by HTTP status", ["transaction", "status"])
        self.dicomweb_instances = self._counter("dicomweb_instances", "instances of STOW-RS by status", ["status"])
        self.received_bytes = self._counter("received_bytes", "bytes of new objects")
        self.rejected = self._counter("rejected_associations", "rejected associations by reason", ["reason"])
        self.sent = self._counter("sent", "objects that a destination has stored", ["destination", "kind"])
        self.sent_bytes = self._counter("sent_bytes", "bytes that a destination has stored", ["destination"])
        self.not_sent = self._counter("send_failures", "attempts that failed", ["destination"])
        self.processed = self._counter("processed", "attempts at upscaling by outcome", ["outcome"])
        self.receive_seconds = self._histogram("receive_seconds", "from a complete data set to its status")
        self.process_seconds = self._histogram("process_seconds", "one attempt at upscaling")
        self.latency = self._histogram("latency_seconds", "from arrival until a destination has it", ["kind"])
        self.models = prometheus_client.Info(_PREFIX + "model", "loaded models", ["model"], registry=self.registry)

    def _counter(self, name, text, labels=()):
        return prometheus_client.Counter(_PREFIX + name, text, labels, registry=self.registry)

    def _histogram(self, name, text, labels=()):
        return prometheus_client.Histogram(_PREFIX + name, text, labels, registry=self.registry, buckets=SECONDS)

    def text(self) -> bytes:
        """Returns all metrics in the text format of Prometheus."""
        return prometheus_client.generate_latest(self.registry)


class QueueMetrics(Collector):
    """What is read from queue, spool and receiver at each request.

    Args:
        queue: The queue.
        spool: The spool.
        associations: Returns the number of open associations.
    """

    def __init__(self, queue: Queue, spool: Spool, associations: Callable[[], int]) -> None:
        self._queue, self._spool, self._associations = queue, spool, associations

    def describe(self) -> list:
        """Returns nothing, so that registration does not read the queue."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yields the gauges."""
        depth = GaugeMetricFamily(_PREFIX + "queue", "deliveries by state", labels=["destination", "kind", "state"])
        for row in self._queue.rows(
            f"SELECT destination, kind, state, COUNT(*) FROM deliveries WHERE state <> '{SENT}' GROUP BY 1, 2, 3"
        ):
            depth.add_metric(list(row)[:3], row[3])
        yield depth
        work = GaugeMetricFamily(_PREFIX + "processing_queue", "objects by state of processing", labels=["state"])
        for row in self._queue.rows(
            "SELECT state, COUNT(*) FROM instances "
            f"WHERE state NOT IN ('{PROCESSED}', '{PASSED}', '{GROUPED}') GROUP BY 1"
        ):
            work.add_metric([row[0]], row[1])
        yield work
        yield from series_reports.gauges(self._queue, _PREFIX)
        yield from self._commitments()
        yield _gauge("oldest_unsent_seconds", "age of the oldest object that a destination lacks", oldest(self._queue))
        yield _gauge("disk_free_bytes", "free bytes of the spool's disk", self._spool.free)
        yield _gauge("quarantine_bytes", "disk space of objects with the UID of another one", self._spool.quarantined)
        yield _gauge("associations", "open associations of the receiver", self._associations())

    def _commitments(self) -> Iterator[GaugeMetricFamily]:
        """Yields what destinations with `storage_commitment` have committed and what not (G-15)."""
        text = "what a destination has stored and the spool still has, by state of storage commitment"
        states = GaugeMetricFamily(_PREFIX + "commitments", text, labels=["destination", "state"])
        text = "time since the oldest object was stored that a destination has not committed"
        oldest_age = GaugeMetricFamily(_PREFIX + "oldest_commitment_seconds", text, labels=["destination"])
        for name, found in commitments.counts(self._queue).items():
            for state in ("requested", "committed", "failed", "waiting"):
                states.add_metric([name, state], getattr(found, state))
            oldest_age.add_metric([name], found.oldest)
        yield states
        yield oldest_age


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, value=value)


def oldest(queue: Queue) -> float:
    """Returns the age in seconds of the oldest object that a destination lacks; 0 if there is none."""
    row = queue.rows(
        f"SELECT MIN(i.received_at) FROM deliveries d JOIN instances i ON i.id = d.instance WHERE d.state <> '{SENT}'"
    )[0]
    return max(time.time() - row[0], 0.0) if row[0] else 0.0
