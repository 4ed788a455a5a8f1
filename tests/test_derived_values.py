"""Values that cannot be understood: refused by the name of their element, or copied where nothing depends on them."""

import pytest
from dicom_bytes import even, file_of, flat, parsed, plain, written
from dicom_sources import WHEN, bicubic, cr, ct, dx, enhanced_ct, item, product, secondary, smooth, us
from pydicom import uid
from pydicom.datadict import dictionary_description, dictionary_VR
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from tfmisr import dicom_check
from tfmisr.edge import derived
from tfmisr.edge.errors import InputError


def shuttered():
    edges = {
        f"Shutter{edge}Edge": 4 for edge in ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
    }
    edges |= {"CenterOfCircularShutter": [9, 9], "RadiusOfCircularShutter": 5}
    return dx(**edges, VerticesOfThePolygonalShutter=[1, 1, 5, 5, 1, 9])


def collimated():
    return dx(CollimatorLeftVerticalEdge=4, CenterOfCircularCollimator=[9, 9], VerticesOfThePolygonalCollimator=[1, 2])


def masked():
    mask = Sequence([item(MaskOperation="AVG_SUB", MaskSubPixelShift=[0.5, 0.5])])
    return cr(SOPClassUID=uid.XRayAngiographicImageStorage, Modality="XA", MaskSubtractionSequence=mask)


def padded():
    return ct(PixelPaddingValue=-900, PixelPaddingRangeLimit=-800)


# What each image is computed from, by hand.
COMPUTED = {
    ct: "Rows Columns SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation SeriesNumber PixelSpacing "
    "ImagePositionPatient ImageOrientationPatient RescaleSlope RescaleIntercept",
    padded: "PixelPaddingValue PixelPaddingRangeLimit",
    cr: "ImagerPixelSpacing",
    shuttered: "ShutterLeftVerticalEdge ShutterRightVerticalEdge ShutterUpperHorizontalEdge ShutterLowerHorizontalEdge "
    "CenterOfCircularShutter RadiusOfCircularShutter VerticesOfThePolygonalShutter",
    collimated: "CollimatorLeftVerticalEdge CenterOfCircularCollimator VerticesOfThePolygonalCollimator",
    masked: "MaskSubPixelShift MaskSubtractionSequence",
    us: "PlanarConfiguration RegionLocationMinX0 RegionLocationMinY0 RegionLocationMaxX1 RegionLocationMaxY1 "
    "ReferencePixelX0 ReferencePixelY0 ReferencePixelPhysicalValueX PhysicalDeltaX PhysicalDeltaY "
    "SequenceOfUltrasoundRegions",
    enhanced_ct: "NumberOfFrames PixelSpacing ImagePositionPatient ImageOrientationPatient RescaleSlope "
    "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence PixelMeasuresSequence PlanePositionSequence "
    "PlaneOrientationSequence PixelValueTransformationSequence",
}
CASES = [(make, keyword) for make, keywords in COMPUTED.items() for keyword in keywords.split()]
WRONG = {
    "DS": [b"0,7\\0,5", b"Doe^Jane", b"1\\2\\3\\4\\5\\6\\7", b"1e999", b"NaN"],
    "IS": [b"1.5", b"1,5", b"Doe^Jane", b"1\\2\\3\\4\\5"],
}


def replaced(elements, tag, vr, value):
    """The triples with another value of a tag, wherever it is."""
    found = []
    for here, kind, content in elements:
        if here == tag:
            found.append((tag, vr, value))
        elif kind == "SQ":
            found.append((here, kind, [replaced(item, tag, vr, value) for item in content]))
        else:
            found.append((here, kind, content))
    return found


def refusal(folder, make, keyword, vr, value):
    source, tag = make(), int(Tag(keyword))
    content = file_of(replaced(parsed(plain(source)), tag, vr, even(value, vr)), source=source)
    assert content != file_of([], source=source)
    (folder / "source").write_bytes(content)
    with pytest.raises(InputError) as caught:
        derived.derive(folder / "source", bicubic(), product(), WHEN)
    message = str(caught.value)
    assert f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})" in message
    assert "Doe" not in message and "broken" not in message and "\n" not in message
    return message


@pytest.mark.parametrize("make, keyword", CASES, ids=[f"{make.__name__}-{keyword}" for make, keyword in CASES])
def test_a_value_that_is_computed_with_is_named_where_it_is_no_number(tmp_path, make, keyword):
    vr = "US" if (vr := dictionary_VR(keyword)) == "US or SS" else vr
    for value in WRONG.get(vr, []):
        refusal(tmp_path, make, keyword, vr, value)
    refusal(tmp_path, make, keyword, "UT", b"0.5\\0.5\\Doe")
    if vr not in ("DS", "IS", "SQ"):
        refusal(tmp_path, make, keyword, vr, b"Doe^Jane, a text of 30 letters"[: 24 if vr == "FD" else 20])


def test_the_value_is_shown_where_it_can_be_no_name(tmp_path):
    message = refusal(tmp_path, ct, "PixelSpacing", "DS", b"0,7\\0,5")
    assert message.endswith("Pixel Spacing (0028,0030) must be 2 decimal numbers, not 0,7\\0,5")
    message = refusal(tmp_path, ct, "PixelSpacing", "UT", b"0.8\\0.8")
    assert message.endswith("must be 2 decimal numbers, not 0.8\\0.8 with Value Representation UT")
    message = refusal(tmp_path, ct, "PixelSpacing", "DS", b"Doe^Jane")
    assert message.endswith("must be 2 decimal numbers, not text")


@pytest.mark.parametrize("keyword", ["BitsAllocated", "BitsStored", "SamplesPerPixel"])
def test_a_value_that_is_missing_is_named(tmp_path, keyword):
    (tmp_path / "source").write_bytes(file_of([(int(Tag(keyword)), "US", b"")]))
    with pytest.raises(InputError, match=r"\(0028,0\w+\) is missing"):
        derived.derive(tmp_path / "source", bicubic(), product(), WHEN)


def test_what_nothing_depends_on_is_copied_however_odd(tmp_path):
    odd = [
        ("WindowCenter", "DS", b"40,5"),
        ("WindowWidth", "UT", b"wide"),
        ("KVP", "DS", b"high"),
        ("InstanceNumber", "IS", b"7a"),
        ("SliceThickness", "DS", b"2,5 mm"),
        ("AcquisitionDate", "DA", b"2.1.2020"),
        ("PatientAge", "AS", b"45"),
        ("ReconstructionDiameter", "LO", b"350"),
        ("AcquisitionMatrix", "US", b"\0\1"),
        ("FrameOfReferenceUID", "UI", b"1.02.x"),
        ("PixelAspectRatio", "IS", b"1:1 "),
        ("FrameTime", "DS", b"33,3"),
    ]
    elements = [(int(Tag(keyword)), vr, even(value, vr)) for keyword, vr, value in odd]
    (tmp_path / "source").write_bytes(file_of(elements))
    derived.write(derived.derive(tmp_path / "source", bicubic(), product(), WHEN), tmp_path / "sr")
    found = flat(written(tmp_path / "sr"))
    assert {f"/{tag:08X}": (vr, value) for tag, vr, value in elements}.items() <= found.items()
    assert dicom_check.violations(tmp_path / "source", tmp_path / "sr") == []


def test_a_modality_lut_is_named_where_the_result_differs_too_much(tmp_path):
    table = item(LUTDescriptor=[256, 0, 16], ModalityLUTType="US", LUTData=bytes(512))
    source = secondary(smooth(dtype="uint8", low=0, high=255), ModalityLUTSequence=Sequence([table]))
    with pytest.raises(InputError, match=r"Modality LUT Sequence \(0028,3000\), which is not .*; write a \.png"):
        derived.derive(source, lambda lr: bicubic()(lr) * 0.5, product(mean_limit=0.5), WHEN)
    source = secondary(smooth(dtype="uint8", low=0, high=255))
    with pytest.raises(InputError, match="many pixels are at the ends of the stored range"):
        derived.derive(source, lambda lr: bicubic()(lr) * 3, product(mean_limit=0.5), WHEN)
