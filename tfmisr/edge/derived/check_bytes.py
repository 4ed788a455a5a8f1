"""Checks that a derived image copies Data Elements byte by byte, at every nesting level (D-03, D-43).

Decoded values are not compared: all bytes that do not fit their character set decode to one replacement character.
"""

from collections.abc import Iterable

from pydicom.datadict import dictionary_keyword
from pydicom.tag import Tag

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.derived.checking import Pair, Path

# Changed, removed, or checked by another rule; in the Data Set itself.
_OTHER_RULES = (
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
# The same at any nesting level.
_ANY_LEVEL = (
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


_OTHER_TAGS, _ANY_LEVEL_TAGS, _APPENDED_TAGS = _tags(_OTHER_RULES), _tags(_ANY_LEVEL), _tags(_APPENDED_TO)
_CHARACTER_SET = int(Tag("SpecificCharacterSet"))
_COMMENTS = int(Tag("ImageComments"))


def _has_other_rule(path: Path, pair: Pair) -> bool:
    """Whether a Data Element is checked by another rule, or is private, a group length, a curve or an overlay."""
    top, tags = path[0][0], {tag for tag, _ in path}
    if top in _OTHER_TAGS or tags & _ANY_LEVEL_TAGS or (pair.enhanced and top == _COMMENTS):
        return True
    if any(tag >> 16 & 1 or not tag & 0xFFFF for tag in tags):
        return True
    shutter, palette = 0x00181600 <= top < 0x00181800, 0x00281101 <= top < 0x00281300
    return shutter or palette or top >> 24 in (0x50, 0x60) or top >> 16 < 8


def _is_name(path: Path, vr: str) -> bool:
    return path[-1][0] == _CHARACTER_SET or vr == "PN"


def _changed(pair: Pair, names: bool) -> list[int]:
    """Returns the tags of Data Elements that differ or are missing: of names, or of all others."""
    tags = set()
    for path in {**pair.source_bytes, **pair.result_bytes}:
        before, after = pair.source_bytes.get(path), pair.result_bytes.get(path)
        vr = (before or after or ("", b""))[0]
        if _has_other_rule(path, pair) or _is_name(path, vr) != names:
            continue
        if before is None and path[0][0] in _APPENDED_TAGS:
            continue
        if (before or ("", b""))[1] != (after or ("", b""))[1]:
            tags.add(path[-1][0])
    return sorted(tags)


def _violation(tags: list[int]) -> str | None:
    names = [dictionary_keyword(tag) if _is_known(tag) else f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in tags]
    return f"{', '.join(names)} must equal the source's, byte by byte" if names else None


def _is_known(tag: int) -> bool:
    try:
        return bool(dictionary_keyword(tag))
    except KeyError:
        return False


def copied_elements(pair: Pair) -> str | None:
    """D-03: Data Elements that are copied have the bytes of the source."""
    return _violation(_changed(pair, names=False))


def person_names(pair: Pair) -> str | None:
    """D-43: Specific Character Set and Person Names have the bytes of the source."""
    return _violation(_changed(pair, names=True))


RULES = {"D-03": copied_elements, "D-43": person_names}


__getattr__ = renamed(__name__, copied="copied_elements", names="person_names")
