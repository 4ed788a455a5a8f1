"""What the service offers and answers, as the conformance statement shows it (PS3.18 10.4 to 10.6 and Annex I)."""

from tfmisr.gateway import services
from tfmisr.gateway.services import Status

# Failure Reasons beside those of C-STORE (PS3.18 Table I.2-2).
OTHER_STUDY = Status(0xA901, "", "its Study Instance UID is not that of the request")
NO_SYNTAX = Status(0xC122, "", "its Transfer Syntax is not accepted")
FAILURES = (*services.STATUSES[1:], OTHER_STUDY, NO_SYNTAX)

STORE_STATUSES = (
    ("200 OK", "all instances are stored, or were already: the same bytes came before"),
    ("202 Accepted", "some are stored; the response names the others and why"),
    ("400 Bad Request", "no multipart message, or one that ends too early: what had come in full may be stored"),
    ("403 Forbidden", "address or certificate is not that of a source with `dicomweb = true`"),
    ("409 Conflict", "none is stored; the response says why"),
    ("413 Content Too Large", "more instances than one request may have; those before it may be stored"),
    ("415 Unsupported Media Type", "not multipart/related of application/dicom"),
    ("503 Service Unavailable", "none is stored: the disk is full or below its reserve, or the node is stopping"),
)
READ_STATUSES = (
    ("200 OK", "found; with a Warning header where something is left out"),
    ("206 Partial Content", "retrieve: some files are missing in the spool; a Warning header has their number"),
    ("204 No Content", "search: nothing matches"),
    ("400 Bad Request", "a key or a value that is not offered, by name"),
    ("403 Forbidden", "as above, or the source has no `retrieve = true`"),
    ("404 Not Found", "retrieve: the spool does not, or no longer, hold it"),
    ("406 Not Acceptable", "a media type, Transfer Syntax or resource that is not offered, by name"),
)
# Resources of PS3.18 10.4.1 that are refused by name.
REFUSED_RESOURCES = ("frames", "rendered", "thumbnail", "bulkdata", "pixeldata")

# Attributes by level of the information model: first those that a search matches (PS3.18 Table 10.6.1-5), then those
# that it returns only (Tables 10.6.3-3 to -5), then those that `includefield` adds.
MATCHED = {
    "study": (
        *("StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName", "PatientName"),
        *("PatientID", "StudyInstanceUID", "StudyID"),
    ),
    "series": (
        *("Modality", "SeriesInstanceUID", "SeriesNumber", "PerformedProcedureStepStartDate"),
        *("PerformedProcedureStepStartTime",),
    ),
    "instance": ("SOPClassUID", "SOPInstanceUID", "InstanceNumber"),
}
RETURNED = {
    "study": ("TimezoneOffsetFromUTC", "PatientBirthDate", "PatientSex"),
    "series": ("SeriesDescription", "RequestAttributesSequence"),
    "instance": ("Rows", "Columns", "BitsAllocated", "NumberOfFrames"),
}
INCLUDED = {
    "study": ("StudyDescription", "PatientAge", "PatientSize", "PatientWeight", "InstitutionName"),
    "series": (
        *("SeriesDate", "SeriesTime", "BodyPartExamined", "Laterality", "ProtocolName", "Manufacturer"),
        *("ManufacturerModelName", "FrameOfReferenceUID"),
    ),
    "instance": ("ImageType", "ContentDate", "ContentTime", "AcquisitionDate", "AcquisitionTime", "PixelSpacing"),
}
LEVELS = tuple(MATCHED)
# Computed for each result.
COUNTED = {
    "study": ("ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    "series": ("NumberOfSeriesRelatedInstances",),
    "instance": (),
}


def keywords(level: str) -> tuple[str, ...]:
    """Returns the Attributes of a level that are read from files."""
    every = dict.fromkeys((*MATCHED[level], *RETURNED[level], *INCLUDED[level]))
    return tuple(name for name in every if name not in COUNTED[level])
