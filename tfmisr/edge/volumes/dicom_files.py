"""Finds DICOM images in folders and lists, and groups them to series.

DICOMDIR files are skipped like other files without an image: the references in them are not followed, so nothing
outside the given paths is opened. Series Description may contain a name: it appears only in `SeriesEntry.describe`,
which is for the terminal of the user, never in errors, logs or results.
"""

import contextlib
import dataclasses
import glob
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

import pydicom

from tfmisr.edge import dicom, dicom_file, folders, images
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.edge.volumes import dicom_series, enhanced
from tfmisr.edge.volumes.slices import Slice, approximate_spacing, values_of

Paths = str | os.PathLike | Sequence[str | os.PathLike]
_SOMETHING_ELSE = "expected a DICOM image, found something else"
_DIRECTORY = "a DICOMDIR, whose references are not followed: name the folder with its images"
_NO_DICOM, _NO_IMAGE = "of another format", "without an image"
_SCOUTS = ("LOCALIZER", "SCOUT", "TOPOGRAM", "SURVEY")


@dataclasses.dataclass(repr=False)
class SeriesEntry:
    """A series that was found.

    Attributes:
        uid: Series Instance UID (0020,000E).
        slices: Its slices without localizers, in no order.
        localizers: Number of its localizers.
    """

    uid: str
    slices: list[Slice]
    localizers: int = 0

    @property
    def number(self) -> str:
        """Series Number (0020,0011), "" where it is absent."""
        value = self.slices[0].header.get("SeriesNumber") if self.slices else None
        return str(int(value)) if isinstance(value, int | float) else ""

    @property
    def modality(self) -> str:
        """CT, MR or another Modality (0008,0060); "" where it is absent or not a code of two to four letters."""
        value = str(self.slices[0].header.get("Modality") or "") if self.slices else ""
        return value if value.isascii() and value.isalpha() and len(value) <= 4 else ""

    def summary(self) -> str:
        """Returns one line without patient data: number, Modality, slices, size and spacing."""
        rows, columns = (self.slices[0].header.get(keyword) for keyword in ("Rows", "Columns"))
        parts = [self.modality or "no Modality", counted(len(self.slices), "slice"), f"{rows} x {columns}"]
        if spacing := approximate_spacing(self.slices):
            parts.append(f"{spacing:.3g} mm apart")
        return f"series {self.number or '?'} ({', '.join(parts)})"

    def describe(self) -> str:
        """Returns `summary` with UID and Series Description (0008,103E), which may contain a name: for a terminal."""
        text = str(self.slices[0].header.get("SeriesDescription") or "")
        printable = "".join(c for c in text if c.isprintable())[:64]
        return f"{self.summary()} {self.uid} {printable}".rstrip()


class SeveralSeries(InputError):
    """Several series were found and none was chosen.

    Attributes:
        entries: The series, to be listed on the terminal of the user.
    """

    def __init__(self, message: str, entries: list[SeriesEntry]) -> None:
        super().__init__(message)
        self.entries = entries


def expand(paths: Paths) -> list[pathlib.Path]:
    """Returns files and folders from a path, a glob pattern, or a list of these.

    Raises:
        InputError: A path does not exist, or a pattern matches nothing.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: list[pathlib.Path] = []
    for path in map(pathlib.Path, given):
        matches = [path] if _is_usable(path) else filter(_is_usable, map(pathlib.Path, sorted(glob.glob(str(path)))))
        before = len(found)
        found += matches
        if len(found) == before:
            raise InputError(f"{path}: expected a file or folder of a volume, found neither")
    if not found:
        raise InputError("expected files or a folder of a volume. Received: no path")
    return found


def _is_usable(path: pathlib.Path) -> bool:
    return path.is_file() or path.is_dir()  # to open a named pipe would wait for ever


def list_series(paths: Paths, shown: Callable = iter) -> tuple[list[SeriesEntry], list[str]]:
    """Returns the series of images in files and folders, and remarks on what was skipped.

    Args:
        paths: Files, folders, glob patterns. In folders, files that are no DICOM image are skipped and counted.
        shown: Wraps the iteration over the files, such as a progress bar.

    Raises:
        InputError: A file that was named is not a readable DICOM image, or there is none at all.
    """
    remarks: list[str] = []
    slices: list[Slice] = []
    skipped: dict[str, list[str]] = {_NO_DICOM: [], _NO_IMAGE: []}
    for path, named in shown(list(_files(paths, remarks.append))):
        with naming(path):
            reason, found = _slices_of(path)
        if reason and named and reason != _DIRECTORY:
            raise InputError(f"{path}: {reason}")
        if reason:
            skipped[_NO_DICOM if reason == _SOMETHING_ELSE else _NO_IMAGE].append(reason)
        slices += found
    remarks += [f"skipped {counted(len(each), 'file')} {what}" for what, each in skipped.items() if each]
    if not slices:
        reasons = sorted(set(skipped[_NO_IMAGE]))[:3]
        raise InputError(
            f"expected DICOM images of a volume, found none ({'; '.join(remarks + reasons) or 'no files'})"
        )
    return _grouped(slices), remarks


def _slices_of(path: pathlib.Path) -> tuple[str | None, list[Slice]]:
    """Returns why a file has no slices, and its slices."""
    if images.detect_format(path) != "DICOM":
        return _SOMETHING_ELSE, []
    if path.stat().st_size > dicom_file.MAX_BYTES:
        raise InputError(f"the file has more than {dicom_file.MAX_BYTES} bytes; split it")
    header = dicom.read_header(path)
    if "DirectoryRecordSequence" in header:
        return _DIRECTORY, []
    if reason := dicom.rejection_reason(header):
        return reason, []
    found = enhanced.slices_of(path, header)
    for one in found:
        dicom_series.decode_attributes(one)
    return None, found


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Turns what a broken file raises into an `InputError` with its path, and hides pydicom's messages."""
    try:
        with dicom_file.raise_input_errors(str(path)):
            yield
    except InputError as error:
        message = str(error).removeprefix(f"{path}: ")
        raise InputError(f"{path}: {message.removeprefix(f'{path}: ')}") from None


def choose(entries: list[SeriesEntry], series: str | None) -> tuple[SeriesEntry, list[str]]:
    """Returns the series to read, and remarks.

    Args:
        entries: From `list_series`.
        series: Series Instance UID, or a Series Number that occurs once; `None` where there is only one series besides
            localizers.

    Raises:
        InputError: No series, or none that is a volume.
        SeveralSeries: Several, and none was chosen.
    """
    if series is not None:
        return _named(entries, str(series).strip()), []
    full = [entry for entry in entries if entry.slices]
    if not full:
        raise InputError("expected slices of a volume, found only localizers")
    if len(full) > 1:
        raise SeveralSeries(f"found {_listed(full)}; choose one with --series UID or NUMBER", full)
    count = sum(entry.localizers for entry in entries if entry is not full[0])
    return full[0], [f"skipped {counted(count, 'localizer')} of other series"] if count else []


def _named(entries: list[SeriesEntry], series: str) -> SeriesEntry:
    found = [entry for entry in entries if series and series in (entry.uid, entry.number)]
    if len(found) == 1 and found[0].slices:
        return found[0]
    if len(found) == 1:
        raise InputError(f"the series {series} has only localizers; choose another one")
    if found:
        raise SeveralSeries(f"{len(found)} series have the number {series}; choose one by its UID", found)
    raise InputError(f"expected the UID or number of a series of the input, one of {_listed(entries)}")


def _listed(entries: list[SeriesEntry]) -> str:
    shown = "; ".join(entry.summary() for entry in entries[:8] if entry.slices)
    more = f"; and {len(entries) - 8} more" if len(entries) > 8 else ""
    patients = {value for entry in entries for value in values_of(entry.slices, "PatientID")}
    of = f" of {len(patients)} patients" if len(patients) > 1 else ""
    return f"{len(entries)} series{of}: {shown}{more}"


def _files(paths: Paths, report: Callable[[str], None]) -> Iterator[tuple[pathlib.Path, bool]]:
    """Yields each file once, and whether it was named by the user."""
    seen = set()
    for path in expand(paths):
        inside = ((file, False) for file, _ in folders.all_files(path, report)) if path.is_dir() else [(path, True)]
        for file, named in inside:
            if (real := os.path.realpath(file)) not in seen:
                seen.add(real)
                yield file, named


def _grouped(slices: list[Slice]) -> list[SeriesEntry]:
    entries: dict[str, SeriesEntry] = {}
    for one in slices:
        uid = str(one.header.get("SeriesInstanceUID") or "").strip()
        entry = entries.setdefault(uid, SeriesEntry(uid, []))
        if is_localizer(one.header):
            entry.localizers += 1
        else:
            entry.slices.append(one)
    return list(entries.values())


def is_localizer(header: pydicom.Dataset) -> bool:
    """Returns whether Image Type (0008,0008) or Frame Type (0008,9007) names a localizer."""
    for keyword in ("ImageType", "FrameType"):
        value = header.get(keyword) or ()
        words = [value] if isinstance(value, str) else list(value)
        if any(str(word).strip().upper().startswith(_SCOUTS) for word in words[2:]):
            return True
    return False
