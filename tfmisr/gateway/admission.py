"""Who gets an association, and how many at the same time (G-06, G-07)."""

import threading

from pynetdicom import evt
from pynetdicom.association import Association

from tfmisr.gateway import committer, peers, services
from tfmisr.gateway.config import Config
from tfmisr.gateway.spool import Spool


class Admission:
    """Checks requests for associations. Only admitted ones count for `max_associations`: silent callers keep none out.

    Args:
        settings: The configuration.
        spool: The spool, whose free space is checked.
    """

    def __init__(self, settings: Config, spool: Spool) -> None:
        self._settings, self._spool = settings, spool
        self._lock = threading.Lock()
        self._admitted: set[Association] = set()
        self.stopping = threading.Event()

    @property
    def count(self) -> int:
        """Number of associations."""
        with self._lock:
            return len(self._open())

    def rejection(self, event: evt.Event) -> services.Rejection | None:
        """Returns why an association is rejected; a caller that only asks C-ECHO never is for a full disk (G-21)."""
        request = event.assoc.requestor.primitive
        if str(request.called_ae_title).strip() != self._settings.node.ae_title:
            return services.CALLED_AE
        calling = str(request.calling_ae_title).strip()
        reports = _only_reports(request) and committer.destinations_of(self._settings, calling)
        if not reports and not self._is_source(calling, event.assoc.requestor.address_info.address):
            return services.CALLING_AE
        if self.stopping.is_set() or (not reports and _stores(request) and not self._spool.has_space):
            return services.LOCAL_LIMIT
        return None if self._takes_slot(event.assoc) else services.LOCAL_LIMIT

    def _is_source(self, calling: str, address: str) -> bool:
        return any(peers.may_associate(source, calling, address) for source in self._settings.sources)

    def _takes_slot(self, association: Association) -> bool:
        with self._lock:
            self._admitted = self._open()
            if len(self._admitted) >= self._settings.node.max_associations:
                return False
            self._admitted.add(association)
        return True

    def _open(self) -> set[Association]:
        return {each for each in self._admitted if each.is_alive() and not (each.is_released or each.is_aborted)}


def _stores(request) -> bool:
    syntaxes = [context.abstract_syntax for context in request.presentation_context_definition_list]
    return any(syntax != services.VERIFICATION for syntax in syntaxes)


def _only_reports(request) -> bool:
    """Whether a caller offers storage commitment, and beside it at most C-ECHO."""
    syntaxes = {context.abstract_syntax for context in request.presentation_context_definition_list}
    return services.COMMITMENT in syntaxes and syntaxes <= {services.COMMITMENT, services.VERIFICATION}
