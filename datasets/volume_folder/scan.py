"""Finds the volumes of folders and lists of files: NIfTI files, and DICOM images by series."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator

from tfmisr.edge import images
from tfmisr.edge.errors import InputError
from tfmisr.edge.folders import all_files
from tfmisr.edge.volumes import dicom_files
from tfmisr.edge.volumes.nifti import is_nifti


@dataclasses.dataclass(frozen=True)
class Found:
    """A volume that was not read yet.

    Attributes:
        name: Path of its file, or of its first file, relative to the folder.
        paths: The NIfTI file, or the DICOM files of the series.
        series: Series Instance UID; `None` for NIfTI.
        patient: Patient ID (0010,0020); `None` for NIfTI.
    """

    name: str
    paths: tuple[pathlib.Path, ...]
    series: str | None = None
    patient: str | None = dataclasses.field(default=None, repr=False)

    @property
    def path(self) -> pathlib.Path:
        """The first file."""
        return self.paths[0]

    @property
    def header(self) -> "Found":
        """The volume itself: `image_folder.patients` takes the patient from there."""
        return self


def volumes(inputs: Iterable[str | os.PathLike]) -> list[Found]:
    """Returns the volumes of folders and files, sorted by name; series of localizers are left out.

    Args:
        inputs: Folders, NIfTI files and DICOM files; the DICOM files of one series in an input are one volume.

    Raises:
        InputError: There is no such file, no volume, or a DICOM file cannot be read.
    """
    inputs = [pathlib.Path(path) for path in inputs]
    missing = next((path for path in inputs if not path.exists()), None)
    if missing:
        raise InputError(f"expected a folder of volumes or a volume, found none at {missing}")
    files = [path for path in inputs if path.is_file()]
    groups = [([path], list(_files(path))) for path in inputs if path.is_dir()]
    groups.append(([path for path in files if not is_nifti(path)], [(path, path.name) for path in files]))
    found = [volume for group in groups for volume in _volumes(*group)]
    if not found:
        raise InputError(f"expected NIfTI files or DICOM series, found none in {', '.join(map(str, inputs))}")
    return sorted(found, key=lambda volume: (volume.name, str(volume.path)))


def _files(folder) -> Iterator[tuple[pathlib.Path, str]]:
    return ((path, name) for path, name in all_files(folder, lambda message: None) if _is_volume(path))


def _is_volume(path):
    return is_nifti(path) or images.detect_format(path) == "DICOM"


def _volumes(sources, group) -> Iterator[Found]:
    names = dict(group)
    yield from (Found(name, (path,)) for path, name in group if is_nifti(path))
    if all(map(is_nifti, names)):
        return
    for entry in dicom_files.list_series(sources)[0]:
        if entry.slices:
            paths = tuple(dict.fromkeys(sorted(one.path for one in entry.slices)))
            patient = str(entry.slices[0].header.get("PatientID") or "").strip() or None
            yield Found(names[paths[0]], paths, entry.uid, patient)
