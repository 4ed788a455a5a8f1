"""An object that a peer offers, with what the peer says about it; by C-STORE or by STOW-RS."""

import dataclasses

from pynetdicom import evt

from tfmisr.gateway.incoming import IncomingFile


@dataclasses.dataclass(frozen=True)
class Offer:
    """An object whose data have arrived.

    Attributes:
        sop_class_uid: SOP Class UID that the peer names beside the data set.
        sop_instance_uid: SOP Instance UID that it names.
        abstract_syntax: SOP Class of the presentation context; by STOW-RS the one that the peer names.
        transfer_syntax: Transfer Syntax UID of the data set.
        peer: AE title of the source.
        file: Its file; `None` for a request without a data set.
    """

    sop_class_uid: str
    sop_instance_uid: str
    abstract_syntax: str
    transfer_syntax: str
    peer: str
    file: IncomingFile | None


def of_c_store(event: evt.Event) -> Offer:
    """Returns what a C-STORE request offers (PS3.7 9.3.1)."""
    request, context = event.request, event.context
    return Offer(
        str(request.AffectedSOPClassUID),
        str(request.AffectedSOPInstanceUID),
        str(context.abstract_syntax),
        str(context.transfer_syntax),
        event.assoc.requestor.ae_title.strip(),
        request._dataset_file,
    )
