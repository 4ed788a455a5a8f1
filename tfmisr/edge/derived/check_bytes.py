"""Rules on what a derived image takes over: byte by byte, at every depth (D-03, D-43).

Decoded values cannot tell: bytes that do not fit their character set become the same replacement character.
"""

from collections.abc import Iterable

from pydicom.datadict import dictionary_keyword
from pydicom.tag import Tag

from tfmisr.edge.derived.checking import Pair, Path

# Changed, dropped, or the matter of another rule; in the data set itself.
_OTHERS = (
    "SOPClassUID SOPInstanceUID SeriesInstanceUID SeriesNumber SeriesDescription InstanceNumber ImageType "
    "InstanceCreationDate InstanceCreationTime SeriesDate SeriesTime ContentDate ContentTime "
    "AcquisitionDate AcquisitionTime AcquisitionDateTime DerivationCodeSequence DerivationDescription "
    "Manufacturer ManufacturerModelName SoftwareVersions DeviceSerialNumber StationName DeviceUID UDISequence GantryID "
    "ContentQualification NumberOfFrames Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation "
    "SamplesPerPixel PhotometricInterpretation PlanarConfiguration PixelAspectRatio PixelPaddingValue "
    "PixelPaddingRangeLimit SmallestImagePixelValue LargestImagePixelValue PresentationLUTShape ICCProfile ColorSpace "
    "RescaleSlope RescaleIntercept RescaleType ModalityLUTSequence WindowCenter WindowWidth "
    "WindowCenterWidthExplanation VOILUTFunction VOILUTSequence PixelIntensityRelationship "
    "PixelIntensityRelationshipSign LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod "
    "BurnedInAnnotation RecognizableVisualFeatures PatientIdentityRemoved DeidentificationMethod "
    "DeidentificationMethodCodeSequence ImageOrientationPatient ShutterShape PaletteColorLookupTableUID "
    "DetectorElementSpacing DetectorElementPhysicalSize DetectorBinning FieldOfViewDimensions FieldOfViewOrigin "
    "ReconstructionDiameter AcquisitionMatrix SpatialResolution SliceThickness SpacingBetweenSlices SliceLocation "
    "EstimatedRadiographicMagnificationFactor ExposureTime XRayTubeCurrent Exposure CTDIvol DiffusionBValue "
    "PixelSpacingCalibrationType PixelSpacingCalibrationDescription RetrieveAETitle InstanceAvailability "
    "InstanceCreatorUID PyramidLabel PyramidDescription InConcatenationTotalNumber"
).split()
# The same at any depth.
_ANYWHERE = (
    "PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing ImagePositionPatient FrameType DerivationImageSequence "
    "PixelData ExtendedOffsetTable ExtendedOffsetTableLengths IconImageSequence HistogramSequence VerticesOfTheRegion "
    "ShutterOverlayGroup SmallestPixelValueInSeries LargestPixelValueInSeries SmallestImagePixelValueInPlane "
    "LargestImagePixelValueInPlane ExposureControlSensingRegionsSequence FramePixelShiftSequence PixelShiftSequence "
    "ZoomCenter DigitalSignaturesSequence MACParametersSequence EncryptedAttributesSequence DataSetTrailingPadding "
    "PixelDataProviderURL RetrieveURL RetrieveURI PyramidUID ConcatenationUID SOPInstanceUIDOfConcatenationSource "
    "InConcatenationNumber ConcatenationFrameOffsetNumber MaskSubPixelShift PhysicalDeltaX PhysicalDeltaY "
    "RegionLocationMinX0 RegionLocationMinY0 RegionLocationMaxX1 RegionLocationMaxY1 ReferencePixelX0 ReferencePixelY0 "
    "ReferencePixelPhysicalValueX ReferencePixelPhysicalValueY DopplerSampleVolumeXPosition "
    "DopplerSampleVolumeYPosition TMLinePositionX0 TMLinePositionY0 TMLinePositionX1 TMLinePositionY1"
).split()
_APPENDED_TO = ("SourceImageSequence", "ContributingEquipmentSequence", "SourceImageEvidenceSequence")


def _tags(keywords: Iterable[str]) -> set[int]:
    return {int(Tag(keyword)) for keyword in keywords}


_OTHER_TAGS, _ANYWHERE_TAGS, _APPENDED_TAGS = _tags(_OTHERS), _tags(_ANYWHERE), _tags(_APPENDED_TO)
_CHARACTER_SET = int(Tag("SpecificCharacterSet"))
_COMMENTS = int(Tag("ImageComments"))


def _is_others(path: Path, pair: Pair) -> bool:
    """Whether an element is another rule's, or a private one, a group length, a curve or an overlay."""
    top, tags = path[0][0], {tag for tag, _ in path}
    if top in _OTHER_TAGS or tags & _ANYWHERE_TAGS or (pair.enhanced and top == _COMMENTS):
        return True
    if any(tag >> 16 & 1 or not tag & 0xFFFF for tag in tags):
        return True
    shutter, palette = 0x00181600 <= top < 0x00181800, 0x00281101 <= top < 0x00281300
    return shutter or palette or top >> 24 in (0x50, 0x60) or top >> 16 < 8


def _is_name(path: Path, vr: str) -> bool:
    return path[-1][0] == _CHARACTER_SET or vr == "PN"


def _changed(pair: Pair, names: bool) -> list[int]:
    """Returns the tags of what is not the source's, or not in both; of names, or of everything else."""
    found = set()
    for path in {**pair.source_bytes, **pair.result_bytes}:
        before, after = pair.source_bytes.get(path), pair.result_bytes.get(path)
        vr = (before or after or ("", b""))[0]
        if _is_others(path, pair) or _is_name(path, vr) != names:
            continue
        if before is None and path[0][0] in _APPENDED_TAGS:
            continue
        if (before or ("", b""))[1] != (after or ("", b""))[1]:
            found.add(path[-1][0])
    return sorted(found)


def _complaint(tags: list[int]) -> str | None:
    names = [dictionary_keyword(tag) if _is_known(tag) else f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in tags]
    return f"{', '.join(names)} must be the source's, byte by byte" if names else None


def _is_known(tag: int) -> bool:
    try:
        return bool(dictionary_keyword(tag))
    except KeyError:
        return False


def copied(pair: Pair) -> str | None:
    return _complaint(_changed(pair, names=False))


def names(pair: Pair) -> str | None:
    return _complaint(_changed(pair, names=True))


RULES = {"D-03": copied, "D-43": names}
