"""Finds the volumes of a folder: NIfTI files, and DICOM files by series."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator

import pydicom

from tfmisr.edge import images
from tfmisr.edge.errors import InputError
from tfmisr.edge.folders import image_files

NIFTI = (".nii", ".nii.gz")
_TAGS = ["SOPClassUID", "SeriesInstanceUID", "PatientID", "Modality", "NumberOfFrames", "ImageType"]


@dataclasses.dataclass(frozen=True)
class Found:
    """A volume of a folder that was not read yet.

    Attributes:
        name: Path relative to the folder of its file, or of its first file.
        paths: The NIfTI file, or the DICOM files of the series.
        patient: Patient ID (0010,0020); `None` for NIfTI.
    """

    name: str
    paths: tuple[pathlib.Path, ...]
    patient: str | None = dataclasses.field(default=None, repr=False)

    @property
    def path(self) -> pathlib.Path:
        """The first file."""
        return self.paths[0]

    @property
    def header(self) -> "Found":
        """The volume itself, which has `patient`: what `image_folder.patients` looks for."""
        return self


def is_nifti(path: str | os.PathLike) -> bool:
    """Returns whether a file name ends as NIfTI files do."""
    return str(path).lower().endswith(NIFTI)


def has_nifti(folder: pathlib.Path) -> bool:
    """Returns whether a NIfTI file lies in a folder or below; the search ends at the first."""
    return next(_nifti_files(folder), None) is not None


def volumes(inputs: Iterable[str | os.PathLike]) -> list[Found]:
    """Returns the volumes of folders and files, sorted by name; DICOM localizers are left out.

    Args:
        inputs: Folders, NIfTI files or DICOM files; DICOM files of one series are one volume.

    Raises:
        InputError: There is no such file, no volume, or a DICOM file cannot be read.
    """
    found, series = [], {}
    for path in map(pathlib.Path, inputs):
        if not path.exists():
            raise InputError(f"expected a folder of volumes or a volume, found none at {path}")
        for file, name in _files(path):
            if is_nifti(file):
                found.append(Found(name, (file,)))
            else:
                _add(series, file, name)
    found += [Found(of[0][1], tuple(file for file, _ in of), patient) for (patient, _), of in series.items()]
    if not found:
        raise InputError(f"expected NIfTI files or DICOM series, found none in {', '.join(map(str, inputs))}")
    return sorted(found, key=lambda volume: (volume.name, str(volume.path)))


def _files(path) -> Iterator[tuple[pathlib.Path, str]]:
    if not path.is_dir():
        yield path, path.name
        return
    yield from ((file, file.relative_to(path).as_posix()) for file in _nifti_files(path))
    yield from ((file, name) for file, name in image_files(path) if not is_nifti(file))


def _nifti_files(folder) -> Iterator[pathlib.Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (pathlib.Path(root, name) for name in sorted(files) if is_nifti(name) and not name.startswith("."))


def _add(series, file, name):
    """Adds a DICOM file to its series; other images (PNG previews and the like) are not volumes."""
    if images.detect_format(file) != "DICOM":
        return
    try:
        ds = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
    except (OSError, pydicom.errors.InvalidDicomError) as error:
        raise InputError(f"{file}: cannot be read as DICOM; repair or remove it") from error
    frames = int(ds.get("NumberOfFrames") or 1)
    if "LOCALIZER" in ds.get("ImageType", ()) or ds.get("Modality") not in ("CT", "MR", "PT"):
        return
    # An Enhanced file is a volume by itself.
    key = str(ds.get("PatientID") or "") or None, str(ds.get("SeriesInstanceUID")) + (name if frames > 1 else "")
    series.setdefault(key, []).append((file, name))
