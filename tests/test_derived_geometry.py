"""Where the pixels of a derived DICOM image lie: D-20 to D-29."""

import numpy as np
import pydicom
import pytest
from dicom_sources import OBLIQUE, WHEN, bicubic, cr, ct, derive, dx, enhanced_ct, item, mr, product, us, values
from pydicom.sequence import Sequence

from tfmisr.edge import derived
from tfmisr.edge.errors import InputError


def position(ds, row, column):
    """PS3.3 C.7.6.2.1.1: millimeters of the center of a pixel, counted from 0."""
    cosines, spacing = np.array(ds.ImageOrientationPatient, float), np.array(ds.PixelSpacing, float)
    origin = np.array(ds.ImagePositionPatient, float)
    return origin + column * spacing[1] * cosines[:3] + row * spacing[0] * cosines[3:]


def blob(rows=48, columns=40, center=(21.3, 18.9), sigma=4.0):
    y, x = np.mgrid[:rows, :columns]
    square = (y - center[0]) ** 2 + (x - center[1]) ** 2
    return np.rint(20000 * np.exp(-square / (2 * sigma**2))).astype(np.int16)


def centroid(ds):
    weight = values(ds)[0, ..., 0].astype(float)
    y, x = np.mgrid[: ds.Rows, : ds.Columns]
    return position(ds, (y * weight).sum() / weight.sum(), (x * weight).sum() / weight.sum())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_d20_rows_columns_and_length_follow_the_scale(scale):
    sr = derive(ct(), scale)
    assert (sr.Rows, sr.Columns) == (24 * scale, 32 * scale)
    assert len(sr.PixelData) == 24 * 32 * scale**2 * 2


def test_d20_an_odd_number_of_bytes_is_padded():
    sr = derive(us(np.zeros((5, 7, 3), np.uint8)), scale=3)
    assert len(sr.PixelData) == 15 * 21 * 3 + 1


def test_d21_pixel_spacing_is_row_then_column():
    assert list(derive(ct()).PixelSpacing) == [0.35, 0.25]


def test_d22_spacings_of_detector_and_film_follow_too():
    sr = derive(dx(NominalScannedPixelSpacing=[0.3, 0.2]))
    assert list(sr.ImagerPixelSpacing) == [0.1, 0.05]
    assert list(sr.NominalScannedPixelSpacing) == [0.15, 0.1]
    assert list(sr.PixelSpacing) == [0.08, 0.04]
    assert (sr.PixelSpacingCalibrationType, sr.PixelSpacingCalibrationDescription) == ("GEOMETRY", "table")


def test_d22_no_calibration_is_claimed_that_was_not_there():
    sr = derive(cr())
    assert "PixelSpacing" not in sr
    assert list(sr.ImagerPixelSpacing) == [0.1, 0.05]


@pytest.mark.parametrize(
    "make, facts",
    [
        (ct, {"SliceThickness": 2.5, "SpacingBetweenSlices": 2, "SliceLocation": -7.1, "ReconstructionDiameter": 350}),
        (mr, {"AcquisitionMatrix": [0, 256, 192, 0]}),
        (dx, {"DetectorElementSpacing": [0.1, 0.1], "FieldOfViewDimensions": [300, 400]}),
        (
            lambda: cr(SpatialResolution=0.1, DetectorBinning=[2, 2]),
            {"SpatialResolution": 0.1, "DetectorBinning": [2, 2]},
        ),
    ],
)
def test_d23_physical_facts_are_kept(make, facts):
    sr = derive(make())
    for keyword, value in facts.items():
        assert sr[keyword].value == value


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_d24_a_blob_stays_where_it_was_in_the_patient(scale):
    source = ct(blob())
    np.testing.assert_allclose(centroid(derive(source, scale)), centroid(source), atol=1e-3)


def test_d24_the_first_pixel_moves_by_a_quarter_of_an_old_one():
    # -1/4 x (0.5 mm x row direction + 0.7 mm x column direction), by hand
    moved = np.array(derive(ct()).ImagePositionPatient) - [-100.25, 30.5, -7.125]
    np.testing.assert_allclose(moved, [-0.1 + 0.063, -0.075 - 0.084, -0.14], atol=1e-9)


def test_d25_the_grid_of_top_left_models_starts_at_the_same_center():
    sr = derive(ct(), convention="top_left")
    assert list(sr.ImagePositionPatient) == [-100.25, 30.5, -7.125]
    assert list(sr.PixelSpacing) == [0.35, 0.25]


def test_d25_the_grid_of_align_corners_models_ends_at_the_same_centers():
    source = ct()
    sr = derive(source, scale=3, convention="align_corners")
    np.testing.assert_allclose(position(sr, 0, 0), position(source, 0, 0), atol=1e-6)
    np.testing.assert_allclose(position(sr, 71, 95), position(source, 23, 31), atol=1e-6)


@pytest.mark.parametrize("convention", ["top_left", "align_corners"])
def test_d25_a_blob_stays_where_it_was_under_every_convention(convention):
    def upscale(lr):
        """The blob of 2000 HU, drawn where the convention has its pixels."""
        places = [np.arange(2 * n) / 2 for n in lr.shape[:2]]
        if convention == "align_corners":
            places = [np.linspace(0, n - 1, 2 * n) for n in lr.shape[:2]]
        square = (places[0][:, None] - 21.3) ** 2 + (places[1] - 18.9) ** 2
        return (2000 * np.exp(-square / 32) + 1024)[..., None] / 4095

    source = ct(blob(), RescaleSlope=0.1)
    np.testing.assert_allclose(centroid(derive(source, 2, upscale, convention=convention)), centroid(source), atol=1e-3)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_d26_the_edges_of_the_image_stay(scale):
    source, sr = ct(), derive(ct(), scale)
    np.testing.assert_allclose(position(sr, -0.5, -0.5), position(source, -0.5, -0.5), atol=1e-3)
    last = position(sr, 24 * scale - 0.5, 32 * scale - 0.5)
    np.testing.assert_allclose(last, position(source, 23.5, 31.5), atol=1e-3)


def test_d27_decimal_strings_have_at_most_16_characters(tmp_path):
    place = [-158.135803, -99.6666666667, 1e-7]
    source = ct(ImagePositionPatient=place, PixelSpacing=["0.66666668653488", "0.7"])
    derived.write(derive(source, 3), tmp_path / "sr")
    raw = pydicom.dcmread(tmp_path / "sr")
    for keyword in ("ImagePositionPatient", "PixelSpacing"):
        texts = raw.get_item(keyword).value.decode().split("\\")
        assert all(len(text.strip()) <= 16 for text in texts)
    assert float(raw.PixelSpacing[0]) == pytest.approx(0.66666668653488 / 3, abs=1e-12)
    shift = -1 / 3 * (0.7 * np.array(OBLIQUE[:3]) + 0.66666668653488 * np.array(OBLIQUE[3:]))
    np.testing.assert_allclose(raw.ImagePositionPatient, place + shift, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_d28_frames_of_enhanced_objects_have_spacing_and_position(shared):
    sr = derive(enhanced_ct(shared))
    assert (sr.NumberOfFrames, len(sr.PixelData)) == (2, 2 * 48 * 64 * 2)
    assert "PixelSpacing" not in sr and "ImagePositionPatient" not in sr
    for number, group in enumerate(sr.PerFrameFunctionalGroupsSequence):
        where = sr.SharedFunctionalGroupsSequence[0] if shared else group
        assert list(where.PixelMeasuresSequence[0].PixelSpacing) == [0.35, 0.25]
        assert where.PixelMeasuresSequence[0].SliceThickness == 2.5
        assert list(where.PlaneOrientationSequence[0].ImageOrientationPatient) == OBLIQUE
        moved = np.array(group.PlanePositionSequence[0].ImagePositionPatient) - [1, 2, 3 + 2.5 * number]
        np.testing.assert_allclose(moved, [-0.037, -0.159, -0.14], atol=1e-9)
        assert group.FrameContentSequence[0].DimensionIndexValues == [1, number + 1]


def test_d28_each_frame_tells_its_own_derivation():
    for number, group in enumerate(derive(enhanced_ct()).PerFrameFunctionalGroupsSequence, start=1):
        (derivation,) = group.DerivationImageSequence
        assert derivation.DerivationCodeSequence[0].CodeValue == "113085"
        (source,) = derivation.SourceImageSequence
        assert (source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber) == ("1.2.3.4.1", number)
        assert source.SpatialLocationsPreserved == "NO"


def test_d28_a_shared_history_of_derivation_goes_to_each_frame():
    source = enhanced_ct()
    earlier = item(DerivationDescription="merged")
    source.SharedFunctionalGroupsSequence[0].DerivationImageSequence = Sequence([earlier])
    sr = derive(source)
    assert "DerivationImageSequence" not in sr.SharedFunctionalGroupsSequence[0]
    for group in sr.PerFrameFunctionalGroupsSequence:
        assert [i.get("DerivationDescription", "")[:6] for i in group.DerivationImageSequence] == ["merged", "Super-"]


def test_d28_frames_without_their_groups_are_refused():
    source = enhanced_ct()
    del source.PerFrameFunctionalGroupsSequence[1]
    with pytest.raises(InputError, match="one Item per frame"):
        derive(source)


EDGES = {  # old value, new one at x2: first pixel s(v-1)+1, last one s v
    "LeftVerticalEdge": (5, 9),
    "RightVerticalEdge": (20, 40),
    "UpperHorizontalEdge": (1, 1),
    "LowerHorizontalEdge": (24, 48),
}


@pytest.mark.parametrize("name", ["Shutter", "Collimator"])
def test_d29_rectangles_of_shutter_and_collimator_cover_the_same_pixels(name):
    sr = derive(dx(**{f"{name}{edge}": old for edge, (old, _) in EDGES.items()}))
    assert {edge: sr[f"{name}{edge}"].value for edge in EDGES} == {edge: new for edge, (_, new) in EDGES.items()}


def test_d29_circles_and_polygons_of_a_shutter_follow():
    # Pixel 13 has its middle at 12.5 pixels from the edge, which are 37.5 new ones: the middle of pixel 38.
    source = dx(
        CenterOfCircularShutter=[13, 16], RadiusOfCircularShutter=9, VerticesOfThePolygonalShutter=[1, 1, 24, 32]
    )
    sr = derive(source, scale=3)
    assert list(sr.CenterOfCircularShutter) == [38, 47]
    assert sr.RadiusOfCircularShutter == 27
    assert list(sr.VerticesOfThePolygonalShutter) == [2, 2, 71, 95]


def test_d29_regions_of_ultrasound_cover_the_same_pixels():
    region = derive(us()).SequenceOfUltrasoundRegions[0]
    assert (region.RegionLocationMinX0, region.RegionLocationMinY0) == (8, 4)
    assert (region.RegionLocationMaxX1, region.RegionLocationMaxY1) == (55, 43)
    assert (region.PhysicalDeltaX, region.PhysicalDeltaY) == (0.015, 0.01)


@pytest.mark.parametrize("scale, pixel", [(2, (20, 0)), (3, (31, 1)), (4, (42, 2))])
def test_d29_the_reference_pixel_of_a_region_keeps_its_place(scale, pixel):
    region = derive(us(), scale).SequenceOfUltrasoundRegions[0]
    assert (region.ReferencePixelX0, region.ReferencePixelY0) == pixel
    # centimetres at the left edge of the region, half a pixel before its first one
    left = region.ReferencePixelPhysicalValueX - (region.ReferencePixelX0 + 0.5) * region.PhysicalDeltaX
    top = region.ReferencePixelPhysicalValueY - (region.ReferencePixelY0 + 0.5) * region.PhysicalDeltaY
    np.testing.assert_allclose((left, top), (0 - 10.5 * 0.03, 1.5 - 0.5 * 0.02), atol=1e-12)


@pytest.mark.parametrize(
    "keyword, value",
    [
        ("IconImageSequence", Sequence([item(Rows=2)])),
        ("VerticesOfTheRegion", [1, 1, 5, 5]),
        ("ShutterOverlayGroup", 0x6000),
        ("ExposureControlSensingRegionsSequence", Sequence([item(ExposureControlSensingRegionLeftVerticalEdge=3)])),
        ("ZoomCenter", [12.0, 16.0]),
    ],
)
def test_d29_what_cannot_be_scaled_is_dropped(keyword, value):
    assert keyword not in derive(dx(**{keyword: value}))


def test_d29_a_bitmap_shutter_goes_and_another_stays():
    assert derive(dx(ShutterShape=["BITMAP", "CIRCULAR"])).ShutterShape == "CIRCULAR"
    sr, report = derived.derive_with_report(dx(ShutterShape="BITMAP"), bicubic(), product(), WHEN)
    assert "ShutterShape" not in sr
    assert report.remarks == ("Shutter Shape (0018,1600) BITMAP is removed: the area that it covered is visible",)


def test_d29_the_shift_of_a_mask_is_scaled_and_the_aspect_ratio_kept():
    mask = Sequence([item(MaskOperation="AVG_SUB", MaskSubPixelShift=[0.5, -0.25]), item(MaskOperation="TID")])
    sr = derive(dx(MaskSubtractionSequence=mask, PixelAspectRatio=[2, 1]), upscale=bicubic())
    assert list(sr.MaskSubtractionSequence[0].MaskSubPixelShift) == [1.0, -0.5]
    assert list(sr.PixelAspectRatio) == [2, 1]
