"""CT series for the tests of the gateway's volume methods."""

import pathlib

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SLICES, ROWS, COLUMNS = 12, 24, 32
SPACING, PIXEL, FIRST = 4.0, 0.8, -20.0  # mm; FIRST is the z of the lowest slice


def ct_series(folder: pathlib.Path, number: int = 1, slices: int = SLICES) -> list[pathlib.Path]:
    """Writes a CT series, a blob of 600 HU in water, and returns its files from the lowest slice to the highest."""
    folder.mkdir(exist_ok=True)
    paths = []
    for index in range(slices):
        ds = header(number, index)
        z = FIRST + SPACING * index
        y, x = np.mgrid[:ROWS, :COLUMNS] * PIXEL
        blob = 600 * np.exp(-((x - 12) ** 2 + (y - 9) ** 2 + (z - 2) ** 2) / (2 * 5**2))
        hu = blob + np.random.default_rng([number, index]).integers(-5, 6, blob.shape)
        ds.PixelData = np.rint(hu + 1024).astype("<u2").tobytes()
        ds.ImagePositionPatient = [-12.4, -9.2, z]
        ds.SliceLocation = z
        path = folder / f"{number}-{index}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def header(number: int, index: int) -> pydicom.Dataset:
    ds = pydicom.Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"1.2.826.0.1.3680043.9.{number}.{index + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.0.1.3680043.9.77", f"1.2.826.0.1.3680043.9.77.{number}"
    ds.FrameOfReferenceUID = "1.2.826.0.1.3680043.9.78"
    ds.ImageType, ds.Modality, ds.Manufacturer = ["ORIGINAL", "PRIMARY", "AXIAL"], "CT", "Phantom"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Phantom^Ball", "BALL", "", "O"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = "20260101"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = "120000"
    ds.AccessionNumber, ds.ReferringPhysicianName, ds.StudyID = "", "", "1"
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = number, index + 1, 1
    ds.PatientPosition, ds.PositionReferenceIndicator, ds.KVP = "HFS", "", "120"
    ds.ImageOrientationPatient, ds.PixelSpacing, ds.SliceThickness = [1, 0, 0, 0, 1, 0], [PIXEL, PIXEL], SPACING
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    ds.WindowCenter, ds.WindowWidth, ds.BurnedInAnnotation = 40, 400, "NO"
    return ds


def rule(**keys) -> str:
    """A rule for CT with a volume method; keys are added as TOML."""
    values = {"volume": '"spline"', "complete_after_seconds": 600, **keys}
    lines = "".join(f"{key} = {value}\n" for key, value in values.items())
    return f'[[rules]]\nmodality = ["CT"]\nsend = "original and result"\ndestinations = ["archive"]\n{lines}'
