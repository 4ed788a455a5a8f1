"""The built-in chest phantom as DICOM images (CR Image Storage), for the demonstration and for tests."""

import pathlib

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import FileMetaDataset


def write(path: pathlib.Path, pixels: np.ndarray, number: int) -> pydicom.Dataset:
    """Writes a computed radiograph and returns its data set.

    Args:
        path: Output file.
        pixels: uint16 array (rows, columns).
        number: Instance Number (0020,0013); part of the UIDs, so that the same number gives the same instance.
    """
    ds = pydicom.Dataset()
    ds.SOPClassUID = uid.ComputedRadiographyImageStorage
    ds.SOPInstanceUID = uid.generate_uid("2.25.", [f"tfmisr phantom {number} {pixels.shape}"])
    ds.StudyInstanceUID, ds.SeriesInstanceUID = (
        uid.generate_uid("2.25.", [f"tfmisr phantom {level}"]) for level in ("study", "series")
    )
    ds.ImageType, ds.Modality, ds.Manufacturer = ["DERIVED", "PRIMARY"], "CR", "Phantom"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Phantom^Chest", "PHANTOM", "", "O"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20260101"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "120000"
    ds.AccessionNumber, ds.ReferringPhysicianName, ds.StudyID = "", "", "1"
    ds.SeriesNumber, ds.InstanceNumber, ds.PatientOrientation = 1, number, ["L", "F"]
    ds.BodyPartExamined, ds.ViewPosition, ds.BurnedInAnnotation = "CHEST", "PA", "NO"
    ds.ImagerPixelSpacing = [0.2, 0.2]
    _add_pixels(ds, pixels)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    return ds


def _add_pixels(ds: pydicom.Dataset, pixels: np.ndarray) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.WindowCenter, ds.WindowWidth = 32768, 65536
    ds.PixelData = pixels.astype("<u2").tobytes()
