"""Small DICOM images of every kind that can be upscaled, and upscalers to do it."""

import datetime

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from tfmisr.edge import derived, resize

WHEN = datetime.datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=datetime.timezone.utc)
OBLIQUE = [0.8, 0.6, 0.0, -0.36, 0.48, 0.8]  # two unit vectors at a right angle
PADDING = -2000


def product(scale=2, **fields):
    """A product that no limit stops; tests of the limits say so."""
    values = {"name": "tfmisr", "version": "0.1.0", "model": "resnet18", "weights_sha256": "ab" * 32, "scale": scale}
    return derived.Product(**{**values, "mean_limit": None, "p99_limit": None, **fields})


def bicubic(scale=2):
    return lambda lr: resize.upscale(lr, scale)


def nearest(scale=2):
    return lambda lr: lr.repeat(scale, axis=0).repeat(scale, axis=1)


def derive(ds, scale=2, upscale=None, **fields):
    return derived.derive(ds, upscale or bicubic(scale), product(scale, **fields), WHEN)


def item(**attributes):
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def values(ds):
    """Stored values (frames, rows, columns, samples) of uncompressed pixel data, decoded by hand."""
    kind = f"<{'i' if ds.PixelRepresentation else 'u'}{ds.BitsAllocated // 8}"
    shape = (int(ds.get("NumberOfFrames") or 1), ds.Rows, ds.Columns, ds.SamplesPerPixel)
    return np.frombuffer(ds.PixelData, kind, count=int(np.prod(shape))).reshape(shape)


def image(sop_class, modality, pixels, **attributes):
    """A data set of the modules that all images share, with `pixels` (rows, columns) or (rows, columns, 3)."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3.4.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "1.2.3.4.2", "1.2.3.4.3", modality
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Doe^Jane", "ID-1", "19500101", "F"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20200102"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101112"
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "S1", "A1", ""
    ds.SeriesNumber, ds.InstanceNumber, ds.SeriesDescription, ds.BodyPartExamined = 3, 7, "Thorax", "CHEST"
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "ScanCo", "Scanner 9", "9.1"
    ds.DeviceSerialNumber, ds.StationName, ds.InstitutionName = "SN-42", "CT01", "Hospital"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    _describe_pixels(ds, pixels, attributes)
    for keyword, value in attributes.items():
        if value is None:
            ds.pop(keyword, None)
        else:
            setattr(ds, keyword, value)
    return ds


def _describe_pixels(ds, pixels, attributes):
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    ds.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = 8 * pixels.itemsize
    ds.BitsStored = attributes.pop("BitsStored", ds.BitsAllocated)
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(pixels.dtype.kind == "i")
    data = pixels.tobytes()
    ds["PixelData"] = pydicom.DataElement(
        "PixelData", "OB" if pixels.itemsize == 1 else "OW", data + b"\0" * (len(data) % 2)
    )


def smooth(rows=24, columns=32, low=-900, high=1200, dtype=np.int16):
    """A tilted wave from about `low` to `high`."""
    y, x = np.mgrid[:rows, :columns]
    wave = 0.5 + 0.3 * np.sin(y / 3.1) * np.cos(x / 4.3) + 0.2 * (x + y) / (rows + columns)
    return np.rint(low + (high - low) * np.clip(wave, 0, 1)).astype(dtype)


def ct(pixels=None, **attributes):
    """An oblique CT slice with different spacing in the two directions."""
    fields = {
        "FrameOfReferenceUID": "1.2.3.4.5",
        "PositionReferenceIndicator": "",
        "ImagePositionPatient": [-100.25, 30.5, -7.125],
        "ImageOrientationPatient": OBLIQUE,
        "PixelSpacing": [0.7, 0.5],
        "SliceThickness": 2.5,
        "SliceLocation": -7.1,
        "SpacingBetweenSlices": 2.0,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "RescaleType": "HU",
        "WindowCenter": [40, 300],
        "WindowWidth": [400, 1500],
        "WindowCenterWidthExplanation": ["SOFT", "BONE"],
        "AcquisitionNumber": 1,
        "KVP": 120,
        "ReconstructionDiameter": 350,
        "PatientPosition": "HFS",
    }
    return image(uid.CTImageStorage, "CT", smooth() if pixels is None else pixels, **{**fields, **attributes})


def mr(pixels=None, **attributes):
    fields = {"PixelSpacing": [0.7, 0.5], "ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": OBLIQUE}
    fields |= {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "AcquisitionMatrix": [0, 256, 192, 0]}
    pixels = smooth(low=20, high=1500, dtype=np.uint16) if pixels is None else pixels
    return image(uid.MRImageStorage, "MR", pixels, **{"BitsStored": 12, **fields, **attributes})


def cr(pixels=None, **attributes):
    fields = {"ImagerPixelSpacing": [0.2, 0.1], "ImageType": ["ORIGINAL", "PRIMARY"], "ViewPosition": "PA"}
    fields |= {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    pixels = smooth(low=100, high=900, dtype=np.uint16) if pixels is None else pixels
    return image(uid.ComputedRadiographyImageStorage, "CR", pixels, **{"BitsStored": 10, **fields, **attributes})


def dx(pixels=None, **attributes):
    fields = {
        "ImageType": ["ORIGINAL", "PRIMARY", ""],
        "ImagerPixelSpacing": [0.2, 0.1],
        "PixelSpacing": [0.16, 0.08],
        "PixelSpacingCalibrationType": "GEOMETRY",
        "PixelSpacingCalibrationDescription": "table",
        "DetectorElementSpacing": [0.1, 0.1],
        "FieldOfViewDimensions": [300, 400],
        "PresentationIntentType": "FOR PRESENTATION",
        "PresentationLUTShape": "INVERSE",
        "PhotometricInterpretation": "MONOCHROME1",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "ImageLaterality": "U",
    }
    pixels = smooth(low=100, high=3900, dtype=np.uint16) if pixels is None else pixels
    kind = uid.DigitalXRayImageStorageForPresentation
    return image(kind, "DX", pixels, **{"BitsStored": 12, **fields, **attributes})


def cine(kind, modality, frames=3, **attributes):
    """A multi-frame image that is not enhanced: each frame is 10 stored values brighter than the one before."""
    pixels = np.stack([smooth(low=100, high=900, dtype=np.uint16) + 10 * number for number in range(frames)])
    fields = {
        "ImageType": ["ORIGINAL", "PRIMARY", "SINGLE PLANE"],
        "NumberOfFrames": frames,
        "FrameIncrementPointer": 0x00181063,
        "FrameTime": "33.30",
        "CineRate": 30,
        "RecommendedDisplayFrameRate": 15,
        "BurnedInAnnotation": "NO",
        "PixelData": pixels.tobytes(),
    }
    return image(kind, modality, pixels[0], **{"BitsStored": 10, **fields, **attributes})


def xa(frames=3, **attributes):
    """A rotation of an X-ray tube, with a mask for subtraction."""
    mask = {"MaskOperation": "AVG_SUB", "MaskFrameNumbers": [1], "ApplicableFrameRange": [2, frames]}
    fields = {
        "ImagerPixelSpacing": [0.2, 0.1],
        "PixelIntensityRelationship": "LIN",
        "KVP": 80,
        "RadiationSetting": "GR",
        "PositionerMotion": "DYNAMIC",
        "PositionerPrimaryAngle": 10,
        "PositionerSecondaryAngle": 0,
        "PositionerPrimaryAngleIncrement": [0.5 * number for number in range(frames)],
        "PositionerSecondaryAngleIncrement": [0] * frames,
        "RWavePointer": [1, 3],
        "RepresentativeFrameNumber": 2,
        "ShutterShape": "RECTANGULAR",
        "ShutterLeftVerticalEdge": 4,
        "ShutterRightVerticalEdge": 30,
        "ShutterUpperHorizontalEdge": 2,
        "ShutterLowerHorizontalEdge": 23,
        "RecommendedViewingMode": "SUB",
        "MaskSubtractionSequence": Sequence([item(**mask, MaskSubPixelShift=[0.5, -0.25])]),
    }
    return cine(uid.XRayAngiographicImageStorage, "XA", frames, **{**fields, **attributes})


def rf(frames=3, **attributes):
    fields = {"FrameIncrementPointer": 0x00181065, "FrameTime": None, "FrameTimeVector": [0, 33.3, 40][:frames]}
    fields |= {"PixelIntensityRelationship": "DISP", "ImagerPixelSpacing": [0.2, 0.1]}
    return cine(uid.XRayRadiofluoroscopicImageStorage, "RF", frames, **{**fields, **attributes})


def mr_cine(frames=3, **attributes):
    """A beating heart in one plane, as scanners wrote it before Enhanced MR."""
    fields = {"PixelSpacing": [0.7, 0.5], "ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": OBLIQUE}
    fields |= {"ImageType": ["ORIGINAL", "PRIMARY", "M"], "HeartRate": 60}
    return cine(uid.MRImageStorage, "MR", frames, **{**fields, **attributes})


def color(rows=24, columns=32):
    planes = [smooth(rows, columns, low, 250 - low, np.uint8) for low in (10, 60, 110)]
    return np.stack(planes, axis=-1)


def us(pixels=None, **attributes):
    region = item(
        RegionLocationMinX0=4,
        RegionLocationMinY0=2,
        RegionLocationMaxX1=27,
        RegionLocationMaxY1=21,
        ReferencePixelX0=10,
        ReferencePixelY0=0,
        ReferencePixelPhysicalValueX=0.0,
        ReferencePixelPhysicalValueY=1.5,
        PhysicalDeltaX=0.03,
        PhysicalDeltaY=0.02,
        PhysicalUnitsXDirection=3,
        PhysicalUnitsYDirection=3,
        RegionSpatialFormat=1,
        RegionDataType=1,
        RegionFlags=0,
    )
    fields = {
        "SequenceOfUltrasoundRegions": Sequence([region]),
        "ImageType": ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0001"],
    }
    fields |= {"BurnedInAnnotation": "NO"}
    return image(uid.UltrasoundImageStorage, "US", color() if pixels is None else pixels, **{**fields, **attributes})


def secondary(pixels, **attributes):
    fields = {"ImageType": ["DERIVED", "SECONDARY"], "BurnedInAnnotation": "NO", "ConversionType": "WSD"}
    return image(uid.SecondaryCaptureImageStorage, "OT", pixels, **{**fields, **attributes})


def enhanced_ct(shared=True, frames=2, **attributes):
    """An Enhanced CT; orientation and spacing are shared, or repeated in each frame."""
    pixels = np.stack([smooth() + 10 * number for number in range(frames)])
    frame_type = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    common = {
        "PixelMeasuresSequence": Sequence([item(PixelSpacing=[0.7, 0.5], SliceThickness=2.5)]),
        "PlaneOrientationSequence": Sequence([item(ImageOrientationPatient=OBLIQUE)]),
    }
    groups = [_frame_group(number, frame_type, {} if shared else common) for number in range(frames)]
    rescale = item(RescaleSlope=1, RescaleIntercept=0, RescaleType="HU")
    once = item(PixelValueTransformationSequence=Sequence([rescale]), **(common if shared else {}))
    fields = {
        "ImageType": frame_type,
        "NumberOfFrames": frames,
        "PixelData": pixels.tobytes(),
        "SharedFunctionalGroupsSequence": Sequence([once]),
        "PerFrameFunctionalGroupsSequence": Sequence(groups),
        "FrameOfReferenceUID": "1.2.3.4.5",
        "ContentQualification": "PRODUCT",
        "ImageComments": "with contrast",
    }
    return image(uid.EnhancedCTImageStorage, "CT", pixels[0], **{**fields, **attributes})


def _frame_group(number, frame_type, more):
    group = item(
        PlanePositionSequence=Sequence([item(ImagePositionPatient=[1.0, 2.0, 3.0 + 2.5 * number])]),
        FrameContentSequence=Sequence([item(FrameAcquisitionNumber=1, DimensionIndexValues=[1, number + 1])]),
        CTImageFrameTypeSequence=Sequence([item(FrameType=frame_type)]),
    )
    for keyword, sequence in more.items():
        setattr(group, keyword, Sequence([pydicom.Dataset(sequence[0])]))
    return group


def data_set(
    pixels, sop_class=uid.SecondaryCaptureImageStorage, syntax=uid.ExplicitVRLittleEndian, without=(), **attributes
):
    """Returns the least data set that holds `pixels`, without the keywords in `without`."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "2.25.1"
    ds.PatientID, ds.PatientName = "ID-OF-SOMEBODY", "Doe^Jane"
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    ds.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = 8 * pixels.itemsize
    ds.BitsStored = attributes.get("BitsStored", ds.BitsAllocated)
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    for keyword in without:
        delattr(ds, keyword)
    return ds
