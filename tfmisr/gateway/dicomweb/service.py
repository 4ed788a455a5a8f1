"""The DICOMweb service of the node: who may do what, and which transaction a request is (PS3.18 8.1 and 10.1)."""

import logging
import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable

from h11 import RemoteProtocolError

from tfmisr.gateway import peers, schema, services, spool, tls
from tfmisr.gateway.config import Config, Source
from tfmisr.gateway.dicomweb import tables
from tfmisr.gateway.dicomweb.catalog import Catalog, Held
from tfmisr.gateway.dicomweb.connection import Limits
from tfmisr.gateway.dicomweb.listener import Listener
from tfmisr.gateway.dicomweb.messages import Refused, Request, Response
from tfmisr.gateway.dicomweb.retrieve import Retrieve
from tfmisr.gateway.dicomweb.search import Search
from tfmisr.gateway.dicomweb.store import Store
from tfmisr.gateway.metrics import Metrics
from tfmisr.gateway.offers import Offer
from tfmisr.gateway.queue import Queue

_LOG = logging.getLogger("tfmisr.gateway")
_UID = r"[0-9.]{1,64}"
_STUDIES = re.compile(rf"/studies(?:/(?P<study>{_UID}))?")
_RESOURCE = re.compile(
    rf"/studies/(?P<study>{_UID})(?:/series/(?P<series>{_UID})(?:/instances/(?P<uid>{_UID}))?)?(?P<metadata>/metadata)?"
)
_SEARCHES = (
    (re.compile(r"/studies"), "study"),
    (re.compile(rf"(?:/studies/(?P<study>{_UID}))?/series"), "series"),
    (re.compile(rf"(?:/studies/(?P<study>{_UID})(?:/series/(?P<series>{_UID}))?)?/instances"), "instance"),
)
_REFUSED = re.compile(rf"/studies/{_UID}/.*\b({'|'.join(tables.REFUSED_RESOURCES)})\b.*")


class Service:
    """The service.

    Args:
        settings: The configuration, with a table `dicomweb`.
        store: The spool.
        queue: The queue.
        metrics: Counters.
        keep: Takes an object in, as `Receiver.store`.
    """

    def __init__(
        self,
        settings: Config,
        store: spool.Spool,
        queue: Queue,
        metrics: Metrics,
        keep: Callable[[Offer], services.Status],
    ) -> None:
        self._settings, self._spool, self._queue, self._metrics = settings, store, queue, metrics
        self._catalog = Catalog(store.folder, queue)
        self._store = Store(keep, lambda: self._spool.has_space)
        self._search, self._retrieve = Search(self._catalog), Retrieve(store.folder, self._catalog)
        self._stopping = threading.Event()
        self._busy = 0
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Starts listening and returns the port.

        Raises:
            OSError: The port is in use.
        """
        web, node = self._settings.dicomweb, self._settings.node
        context = tls.server_context(self._settings.tls) if self._settings.tls else None
        limits = Limits(node.acse_timeout, node.network_timeout)
        self._listener = Listener((web.address, web.port), self.answer, limits, web.max_connections, context)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.1,), name="dicomweb", daemon=True)
        self._thread.start()
        return self._listener.server_address[1]

    def is_alive(self) -> bool:
        """Whether it accepts connections."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Stops accepting connections and requests (G-18)."""
        self._stopping.set()
        if self._listener:
            self._listener.shutdown()
            self._listener.server_close()

    def finish(self, seconds: float) -> None:
        """Waits for requests under way, then closes the index."""
        end = time.monotonic() + seconds
        while self._busy and time.monotonic() < end:
            time.sleep(0.02)
        self._catalog.close()

    def forget(self) -> None:
        """Removes from the index what the spool no longer holds.

        Raises:
            sqlite3.Error: Queue or index cannot be used.
        """
        self._catalog.forget()

    def answer(self, request: Request) -> Response:
        """Returns the response to a request; errors of the connection are raised."""
        with self._lock:
            self._busy += 1
        transaction = "store" if request.method == "POST" else "read"
        try:
            response = self._answer(request)
        except Refused as refusal:
            _LOG.warning("DICOMweb request refused with %d: %s", refusal.status, refusal.text)
            response = refusal.response()
        except (ConnectionError, TimeoutError, RemoteProtocolError):
            raise
        except (OSError, sqlite3.Error) as error:
            _LOG.error("DICOMweb request failed: %s of spool or queue", type(error).__name__)
            response = Refused(503, services.NOT_WRITTEN.comment, ("Retry-After", "30")).response()
        except Exception as error:  # noqa: BLE001
            _LOG.error("DICOMweb request failed: %s", type(error).__name__)  # its text may quote a data set
            response = Refused(500, "the request failed").response()
        finally:
            with self._lock:
                self._busy -= 1
        self._metrics.dicomweb.labels(transaction, str(response.status)).inc()
        return response

    def _answer(self, request: Request) -> Response:
        source = peers.of_dicomweb(self._settings.sources, request.peer)
        if source is None:
            raise Refused(403, "address or certificate is not that of a source")
        if self._stopping.is_set():
            raise Refused(503, services.STOPPING.comment, ("Retry-After", "30"))
        prefix = self._settings.dicomweb.path
        path = request.path.removeprefix(prefix).rstrip("/") if request.path.startswith(prefix) else ""
        studies_url = f"{request.base}{prefix}/studies"
        if request.method == "POST":
            return self._store_objects(request, source, path, studies_url)
        if not source.retrieve:
            raise Refused(403, "this source may store, and not search or retrieve")
        return self._read(request, source, path, studies_url)

    def _store_objects(self, request: Request, source: Source, path: str, studies_url: str) -> Response:
        match = _STUDIES.fullmatch(path)
        if not match:
            raise Refused(404, "expected /studies or /studies/UID")
        response, outcomes = self._store(request, source.ae_title, studies_url, match["study"] or "")
        for status, count in Counter(each.status for each in outcomes).items():
            self._metrics.dicomweb_instances.labels(f"{status.code:04X}").inc(count)
            if status in (services.UNPARSABLE, tables.NO_SYNTAX, tables.OTHER_STUDY):
                _LOG.warning("%d objects refused with %04X: %s", count, status.code, status.cause)
        stored = sum(each.status is services.STORED for each in outcomes)
        detail = f"{stored} stored, {len(outcomes) - stored} refused"
        try:
            self._queue.record("STOW-RS request", peer=source.ae_title, detail=detail)
        except sqlite3.Error as error:  # each object has its own event, with its row
            _LOG.error("a summary of a request was not recorded: %s", type(error).__name__)
        return response

    def _read(self, request: Request, source: Source, path: str, studies_url: str) -> Response:
        for pattern, level in _SEARCHES:
            if match := pattern.fullmatch(path):
                response, count = self._search(request, level, studies_url, *_given(match, "study", "series"))
                self._queue.record("search", peer=source.ae_title, detail=f"{count} {level} results")
                return response
        if match := _RESOURCE.fullmatch(path):
            found = self._retrieve.find(*_given(match, "study", "series", "uid"))
            if match["metadata"]:
                response, event = self._retrieve.metadata(request, found), "metadata of"
            else:
                response, event = self._retrieve.files(request, found, bool(match["uid"])), "retrieve"
            self._record(event, found.held, source)
            return response
        if match := _REFUSED.fullmatch(path):
            raise Refused(406, f"{match[1]} is not offered: retrieve the instance")
        raise Refused(404, "no such resource")

    def _record(self, event: str, held: list[Held], source: Source) -> None:
        with self._queue.transaction() as db:
            for each in held:
                schema.insert_event(db, f"{event} {each.kind}", each.instance, each.digest, source.ae_title, "")


def _given(match: re.Match, *names: str) -> list[str]:
    found = match.groupdict()
    return [found.get(name) or "" for name in names]
