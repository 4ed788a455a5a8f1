"""The pixels of a derived DICOM image: D-30 to D-37, by hand and against the whole image's interpolation."""

import io
import logging

import numpy as np
import pydicom
import pytest
from dicom_sources import (
    PADDING,
    WHEN,
    bicubic,
    color,
    cr,
    ct,
    derive,
    dx,
    enhanced_ct,
    image,
    item,
    mr,
    nearest,
    product,
    secondary,
    smooth,
    us,
    values,
)
from pydicom import uid
from pydicom.sequence import Sequence

from tfmisr.edge import derived, dicom_file, resize
from tfmisr.edge.errors import InputError

ANY = np.random.default_rng(7)


def full(dtype, bits, negative=False):
    """Every kind of stored value, the extremes among them."""
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if negative else (0, (1 << bits) - 1)
    pixels = ANY.integers(low, high + 1, (20, 24)).astype(dtype)
    pixels[0, :2] = low, high
    return pixels


SOURCES = {
    "CT signed 16": ct(full(np.int16, 16, True).clip(-1024, 3071)),
    "CT signed 14 of 16": ct(full(np.int16, 14, True).clip(-1024, 3071), BitsStored=14),
    "CT unsigned 12 with intercept": ct(full(np.uint16, 12), BitsStored=12, RescaleIntercept=-1024),
    "CT with a slope": ct(full(np.uint16, 12), BitsStored=12, RescaleIntercept=-1000.5, RescaleSlope=0.37),
    "CT that falls": ct(full(np.uint16, 12), BitsStored=12, RescaleIntercept=3071, RescaleSlope=-1),
    "MR signed 16": mr(full(np.int16, 16, True), BitsStored=16),
    "MR unsigned 16": mr(full(np.uint16, 16), BitsStored=16),
    "MR with a slope": mr(full(np.uint16, 12), RescaleSlope=3.77, RescaleIntercept=0.000061),
    "CR MONOCHROME1": cr(full(np.uint16, 10)),
    "CR 15 bits": cr(full(np.uint16, 15), BitsStored=15),
    "DX MONOCHROME1": dx(full(np.uint16, 12)),
    "8 bits": secondary(full(np.uint8, 8)),
    "8 bits signed": secondary(full(np.int8, 8, True)),
    "RGB": us(ANY.integers(0, 256, (17, 19, 3)).astype(np.uint8)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_d30_no_stored_value_is_lost_on_the_way_to_the_network_and_back(name):
    source = SOURCES[name]
    sr = derive(source, 3, nearest(3))
    expected = values(source).repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal(values(sr), expected)


@pytest.mark.parametrize("name", SOURCES)
def test_the_network_sees_float32_from_0_to_1(name):
    def upscale(lr):
        assert lr.dtype == np.float32 and 0 <= lr.min() <= lr.max() <= 1
        return nearest()(lr)

    derive(SOURCES[name], upscale=upscale)


def test_the_network_sees_hounsfield_units_as_in_training():
    seen = []
    derive(ct(np.array([[-1024, 0], [3071, 3071]], np.int16)), upscale=lambda lr: seen.append(lr) or nearest()(lr))
    np.testing.assert_allclose(seen[0][..., 0], [[0, 1024 / 4095], [1, 1]], atol=1e-7)


def test_what_lies_beyond_the_range_of_hounsfield_units_is_interpolated_linearly():
    pixels = np.full((1, 8), 3071, np.int16)
    pixels[0, 4:] = 9071
    sr = values(derive(ct(pixels)))[0, 0, :, 0]
    # half-pixel centers: quarters of the step of 6000 on either side of the edge
    assert sr[6:10].tolist() == [3071, 4571, 7571, 9071]


PIXEL_DESCRIPTION = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel")
MEANING = ("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth")


@pytest.mark.parametrize("keyword", [*PIXEL_DESCRIPTION, *MEANING, "WindowCenterWidthExplanation"])
def test_d30_the_description_of_the_stored_values_is_kept(keyword):
    source = ct(smooth(low=100, high=3000, dtype=np.uint16), BitsStored=12, RescaleIntercept=-1024)
    assert derive(source)[keyword] == source[keyword]


def test_d30_lookup_tables_are_kept():
    lut = item(LUTDescriptor=[2, 0, 16])
    lut.add_new("LUTData", "US", [5, 7])
    sr = derive(dx(VOILUTSequence=Sequence([lut]), ModalityLUTSequence=Sequence([lut]), VOILUTFunction="SIGMOID"))
    assert list(sr.VOILUTSequence[0].LUTData) == list(sr.ModalityLUTSequence[0].LUTData) == [5, 7]
    assert sr.VOILUTFunction == "SIGMOID"


def test_d30_overshoot_is_clipped_counted_and_logged(caplog):
    caplog.set_level(logging.INFO)
    pixels = np.zeros((16, 16), np.uint16)
    pixels[4:12, 4:12] = 1023
    sr, report = derived.derive_with_report(secondary(pixels, BitsStored=10), bicubic(), product(), WHEN)
    exact = np.rint(resize.upscale(pixels[..., None], 2))
    assert (values(sr).min(), values(sr).max()) == (0, 1023)
    assert report.clipped == np.count_nonzero((exact < 0) | (exact > 1023)) > 0
    assert f"{report.clipped} samples were clipped" in caplog.text


def drift(by):
    return lambda lr: bicubic()(lr) + by / 4095


def test_d31_the_mean_must_not_drift():
    with pytest.raises(InputError, match="mean of the result differs"):
        derive(ct(), upscale=drift(0.7), mean_limit=0.5)
    assert derive(ct(), upscale=drift(0.3), mean_limit=0.5)


def test_d31_single_pixels_must_not_change():
    def hallucinate(lr):
        sr = bicubic()(lr)
        sr[10:14, 10:14] += 0.6
        sr[20:24, 20:24] -= 0.6
        return sr

    with pytest.raises(InputError, match="1 % of the pixels"):
        derive(ct(smooth(20, 20)), upscale=hallucinate, p99_limit=0.2)


def test_d31_the_report_has_the_difference_of_mean_pixels_and_flat_tiles():
    pixels = np.full((32, 64), 40, np.int16)
    pixels[:, 24:] = 900  # within a tile of 16 pixels, so that the flat ones have no edge
    _, report = derived.derive_with_report(ct(pixels), drift(3), product(), WHEN)
    assert report.consistency.mean == pytest.approx(3, abs=0.1)
    assert report.consistency.flat == pytest.approx(3, abs=0.1)
    assert report.consistency.span == 860


def test_d31_flat_regions_keep_their_hounsfield_units():
    pixels = np.full((48, 48), -1000, np.int16)
    pixels[8:40, 8:40] = 40
    pixels[16:24, 16:24] = 60
    sr = values(derive(ct(pixels), 3))[0, ..., 0]
    for rows, columns, hounsfield in ((slice(84, 114), slice(84, 114), 40), (slice(54, 66), slice(54, 66), 60)):
        assert abs(sr[rows, columns].mean() - hounsfield) < 1


def padded(margin=6, **attributes):
    pixels = smooth(40, 48)
    pixels[:, :margin] = PADDING
    return ct(pixels, PixelPaddingValue=PADDING, **attributes)


def test_d32_padding_is_exactly_where_it_was():
    sr = values(derive(padded(), 3))[0, ..., 0]
    assert (sr[:, :18] == PADDING).all()
    assert not (sr[:, 18:] == PADDING).any()


def test_d32_padding_does_not_ring_into_the_image():
    whole, crop = padded(), ct(smooth(40, 48)[:, 6:].copy())
    got, wanted = (values(derive(ds))[0, ..., 0].astype(int) for ds in (whole, crop))
    # Interpolation ends differently at an edge than at pixels repeated beyond it, by part of the local slope.
    slope = np.abs(np.diff(smooth(40, 48), axis=1)).max()
    assert np.abs(got[:, 12:] - wanted).max() <= slope / 2
    np.testing.assert_array_equal(got[:, 18:], wanted[:, 6:])


def test_d32_no_pixel_of_the_image_is_taken_for_padding():
    pixels = smooth(40, 48, low=0, high=900, dtype=np.uint16)
    pixels[:, :4] = 0
    pixels[:, 4:12] = 31
    pixels[20:, 12:16] = 900
    sr = derive(mr(pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=30))
    stored = values(sr)[0, ..., 0]
    assert (stored[:, :8] == 0).all()
    assert stored[:, 8:].min() == 31


def test_d32_padding_of_varying_value_is_kept():
    pixels = smooth(40, 48, low=200, high=900, dtype=np.uint16)
    pixels[:, :4] = np.arange(4) * 10
    sr = values(derive(mr(pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=30)))[0, ..., 0]
    assert sr[5, :8].tolist() == [0, 0, 10, 10, 20, 20, 30, 30]


def test_d32_an_image_of_nothing_but_padding_stays_one():
    sr = derive(ct(np.full((8, 8), PADDING, np.int16), PixelPaddingValue=PADDING))
    assert (values(sr) == PADDING).all()


@pytest.mark.parametrize("dtype, vr, value", [(np.uint16, "SS", -2000), (np.int16, "US", 63536)])
def test_d32_padding_has_the_bits_that_it_says_in_either_sign(tmp_path, dtype, vr, value):
    pixels = smooth(24, 32, 1000, 3000, np.int16)
    pixels[:, :6] = -2000
    source = ct(pixels.astype(dtype), RescaleIntercept=-1024)
    source["PixelPaddingValue"] = pydicom.DataElement("PixelPaddingValue", vr, value)
    derived.write(derive(source), tmp_path / "sr")
    sr = pydicom.dcmread(tmp_path / "sr")
    assert (sr["PixelPaddingValue"].VR, sr.PixelPaddingValue) == (vr, value)
    got = values(sr)[0, ..., 0].astype(np.int16)
    assert (got[:, :12] == -2000).all() and got[:, 12:].min() > 900  # nothing rings


@pytest.mark.parametrize("dtype, vr", [(np.int16, "SS"), (np.uint16, "US")])
def test_d33_smallest_and_largest_value_are_the_result_s_without_padding(dtype, vr):
    pixels = smooth(low=100, high=900, dtype=dtype)
    pixels[:, :3] = 5
    source = ct(
        pixels, PixelPaddingValue=5, SmallestImagePixelValue=5, LargestImagePixelValue=1, RescaleIntercept=-1024
    )
    source.SmallestPixelValueInSeries = source.LargestPixelValueInSeries = 1
    sr = derive(source)
    native = values(sr)[values(sr) != 5]
    assert (sr.SmallestImagePixelValue, sr.LargestImagePixelValue) == (native.min(), native.max())
    assert vr == sr["SmallestImagePixelValue"].VR
    assert "SmallestPixelValueInSeries" not in sr and "LargestPixelValueInSeries" not in sr


def test_d33_padding_range_and_limits_survive_the_file(tmp_path):
    fields = {"PixelPaddingValue": PADDING, "PixelPaddingRangeLimit": PADDING - 5, "SmallestImagePixelValue": 0}
    derived.write(derive(ct(smooth(), LargestImagePixelValue=0, **fields)), tmp_path / "sr")
    sr = pydicom.dcmread(tmp_path / "sr")
    assert (sr.PixelPaddingValue, sr.PixelPaddingRangeLimit) == (PADDING, PADDING - 5)
    assert sr.LargestImagePixelValue == values(sr).max()


def test_d33_no_limits_are_added():
    assert "SmallestImagePixelValue" not in derive(ct())


def test_d34_monochrome1_is_the_inverse_of_the_inverted_monochrome2():
    pixels = smooth(low=100, high=900, dtype=np.uint16)

    def curved(lr):  # a network is not linear
        return bicubic()(lr) ** 1.2

    one = derive(cr(pixels), upscale=curved)
    two = derive(
        cr(1023 - pixels, PhotometricInterpretation="MONOCHROME2", PresentationLUTShape="IDENTITY"), upscale=curved
    )
    np.testing.assert_allclose(values(one).astype(int), 1023 - values(two).astype(int), atol=1)
    assert (one.PhotometricInterpretation, one.PresentationLUTShape) == ("MONOCHROME1", "INVERSE")


def test_d34_bones_are_bright_to_the_network_whatever_the_polarity():
    seen = []
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        source = cr(np.array([[0, 1023]], np.uint16), PhotometricInterpretation=photometric)
        derive(source, upscale=lambda lr: seen.append(lr.ravel().tolist()) or nearest()(lr))
    assert seen == [[1, 0], [0, 1]]


def test_d35_rgb_stays_rgb_sample_by_sample():
    sr = derive(us(ICCProfile=b"icc ", ColorSpace="SRGB"))
    assert (sr.PhotometricInterpretation, sr.PlanarConfiguration) == ("RGB", 0)
    assert (sr.ICCProfile, sr.ColorSpace) == (b"icc ", "SRGB")
    exact = np.clip(np.rint(resize.upscale(color(), 2)), 0, 255)
    np.testing.assert_allclose(values(sr)[0].astype(int), exact, atol=1)


def test_d35_planes_become_interleaved():
    source = us()
    source.PlanarConfiguration, source.PixelData = 1, np.moveaxis(color(), -1, 0).tobytes()
    np.testing.assert_array_equal(values(derive(source)), values(derive(us())))


def test_d35_ybr_full_becomes_rgb():
    # PS3.3 C.7.6.3.1.2: Y 76.245, Cb 84.972, Cr 255.5 are pure red.
    source = us(np.full((4, 4, 3), [76, 85, 255], np.uint8), PhotometricInterpretation="YBR_FULL")
    sr = derive(source)
    assert sr.PhotometricInterpretation == "RGB"
    np.testing.assert_allclose(values(sr)[0, 3, 3], [255, 0, 0], atol=2)


@pytest.mark.parametrize("factor, bits", [(257, 8), (1, 16)])
def test_d35_a_palette_becomes_rgb_and_its_tables_go(factor, bits):
    tables = {"Red": [0, 200], "Green": [10, 100], "Blue": [20, 51]}
    fields = {f"{n}PaletteColorLookupTableDescriptor": [2, 0, 16] for n in tables}
    fields |= {f"{n}PaletteColorLookupTableData": (np.array(v, "<u2") * factor).tobytes() for n, v in tables.items()}
    source = secondary(np.array([[0, 1], [1, 0]], np.uint8), PhotometricInterpretation="PALETTE COLOR", **fields)
    source.PaletteColorLookupTableUID = "1.2.3"
    sr = derive(source, upscale=nearest())
    assert (sr.PhotometricInterpretation, sr.SamplesPerPixel, sr.PlanarConfiguration) == ("RGB", 3, 0)
    assert (sr.BitsAllocated, sr.BitsStored, sr.HighBit) == (bits, bits, bits - 1)
    assert values(sr)[0, 0, :, 0].tolist() == [0, 0, 200, 200]
    assert values(sr)[0, 0, 0].tolist() == [0, 10, 20]
    assert not [element.keyword for element in sr if "Palette" in element.keyword]


def test_d35_gray_images_have_no_planar_configuration():
    assert "PlanarConfiguration" not in derive(ct())


def test_frames_of_ultrasound_are_enlarged_one_by_one():
    frames = np.stack([color(), 255 - color()])
    source = us(NumberOfFrames=2, PixelData=frames.tobytes(), SOPClassUID=uid.UltrasoundMultiFrameImageStorage)
    sr = derive(source)
    assert sr.NumberOfFrames == 2
    np.testing.assert_allclose(values(sr)[1].astype(int), 255 - values(sr)[0].astype(int), atol=1)


def test_frames_of_enhanced_ct_have_their_own_rescale():
    source, seen = enhanced_ct(), []
    for group, intercept in zip(source.PerFrameFunctionalGroupsSequence, (0, -1000), strict=True):
        rescale = item(RescaleSlope=1, RescaleIntercept=intercept, RescaleType="HU")
        group.PixelValueTransformationSequence = Sequence([rescale])
    del source.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    derive(source, upscale=lambda lr: seen.append(lr) or nearest()(lr))
    assert seen[0][0, 0, 0] - seen[1][0, 0, 0] == pytest.approx((1000 - 10) / 4095, abs=1e-6)


def test_d36_overlay_bits_in_the_pixels_are_gone():
    pixels = smooth(low=0, high=4000, dtype=np.uint16)
    dirty = dx((pixels | 0x8000), BitsStored=12)
    np.testing.assert_array_equal(values(derive(dirty)), values(derive(dx(pixels))))


def with_overlay(**attributes):
    source = dx(**attributes)
    bits = np.zeros((6, 10), np.uint8)
    bits[1, 2] = bits[5, 9] = 1
    block = {
        0x10: ("US", 6),
        0x11: ("US", 10),
        0x40: ("CS", "G"),
        0x50: ("SS", [3, 5]),
        0x100: ("US", 1),
        0x102: ("US", 0),
    }
    for element, (vr, value) in block.items():
        source.add_new((0x6000, element), vr, value)
    source.add_new((0x6000, 0x1301), "IS", 2)
    source.add_new((0x6000, 0x3000), "OW", np.packbits(bits, bitorder="little").tobytes())
    return source, bits


def test_d36_overlays_are_dropped_and_reported():
    sr, report = derived.derive_with_report(with_overlay()[0], bicubic(), product(), WHEN)
    assert not [element for element in sr if element.tag.group == 0x6000]
    assert report.remarks == ("overlay plane 6000 is removed",)


def test_d36_overlays_are_enlarged_where_that_is_asked_for():
    source, bits = with_overlay()
    sr = derive(source, 3, overlays="nearest")
    assert (sr[0x6000, 0x10].value, sr[0x6000, 0x11].value) == (18, 30)
    assert list(sr[0x6000, 0x50].value) == [7, 13]  # 3 (3 - 1) + 1, 3 (5 - 1) + 1
    assert (0x6000, 0x1301) not in sr
    got = np.unpackbits(np.frombuffer(sr[0x6000, 0x3000].value, np.uint8), bitorder="little")[: 18 * 30]
    np.testing.assert_array_equal(got.reshape(18, 30), bits.repeat(3, axis=0).repeat(3, axis=1))


@pytest.mark.parametrize(
    "element, value", [(0x10, 4000), (0x100, 16), (0x3000, None), (0x50, [1, 2, 3]), (0x15, -2), (0x11, [10, 10])]
)
def test_d36_an_overlay_that_contradicts_itself_is_dropped(element, value):
    source, _ = with_overlay()
    if value is None:
        del source[0x6000, element]
    else:
        source.add_new((0x6000, element), "IS" if element == 0x15 else "SS", value)
    sr, report = derived.derive_with_report(source, bicubic(), product(overlays="nearest"), WHEN)
    assert not [e for e in sr if e.tag.group == 0x6000]
    assert report.remarks[0].startswith("overlay plane 6000 is removed: Overlay ")


LOSSY = {
    "LossyImageCompression": "01",
    "LossyImageCompressionRatio": 12.5,
    "LossyImageCompressionMethod": "ISO_10918_1",
}


def test_d37_lossy_is_lossy_for_ever():
    sr = derive(dx(**LOSSY))
    assert {keyword: sr[keyword].value for keyword in LOSSY} == LOSSY


@pytest.mark.parametrize("value", ["00", None])
def test_d37_what_was_not_lossy_is_not_called_so(value):
    assert derive(dx(LossyImageCompression=value)).get("LossyImageCompression") == value


def test_d37_a_lossy_file_that_does_not_say_so_is_called_so():
    PIL = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    PIL.fromarray(smooth(24, 32, 10, 240, np.uint8)).save(stream, "JPEG")
    source = secondary(smooth(24, 32, 10, 240, np.uint8))
    source.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    source.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
    source["PixelData"].is_undefined_length = True
    sr = derive(source)
    assert (sr.LossyImageCompression, sr.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert 1 < sr.LossyImageCompressionRatio < 24 * 32 / 300


@pytest.mark.parametrize("irreversible", [True, False])
def test_d37_jpeg_2000_tells_by_its_wavelet_whether_it_was_lossy(irreversible):
    PIL = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    image = PIL.fromarray(smooth(64, 48, 10, 240, np.uint8))
    image.save(stream, "JPEG2000", no_jp2=True, irreversible=irreversible)
    source = secondary(smooth(64, 48, 10, 240, np.uint8))
    source.file_meta.TransferSyntaxUID = uid.JPEG2000
    source.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
    source["PixelData"].is_undefined_length = True
    sr = derive(source)
    expected = ("01", "ISO_15444_1") if irreversible else (None, None)
    assert (sr.get("LossyImageCompression"), sr.get("LossyImageCompressionMethod")) == expected


def test_d38_an_image_too_small_for_jpeg_2000_is_refused():
    with pytest.raises(InputError, match="32 rows"):
        derive(ct(smooth(8, 8)), lossless="jpeg_2000")


@pytest.mark.parametrize("lossless", ["rle", "jpeg_ls", "jpeg_2000"])
@pytest.mark.parametrize("name", ["CT signed 16", "CT signed 14 of 16", "DX MONOCHROME1", "8 bits", "RGB"])
def test_d38_compression_without_loss_changes_no_pixel_and_no_uid(tmp_path, lossless, name):
    plain, packed = derive(SOURCES[name]), derive(SOURCES[name], lossless=lossless)
    derived.write(packed, tmp_path / "sr.dcm")
    sr = pydicom.dcmread(tmp_path / "sr.dcm")
    assert sr.file_meta.TransferSyntaxUID.is_encapsulated
    assert sr.SOPInstanceUID == plain.SOPInstanceUID == sr.file_meta.MediaStorageSOPInstanceUID
    assert sr.get("LossyImageCompression", "00") == "00"
    np.testing.assert_array_equal(sr.pixel_array.reshape(values(plain).shape), values(plain))


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian]
)
def test_d38_other_uncompressed_transfer_syntaxes_give_the_same_image(tmp_path, syntax):
    lut = item(LUTDescriptor=[2, 0, 16], LUTExplanation="x")
    lut.add_new("LUTData", "OW", bytes([1, 2, 3, 4]))
    source = ct(VOILUTSequence=Sequence([lut]))
    expected = derive(source)
    if syntax == uid.ExplicitVRBigEndian:
        source.PixelData = values(source).astype(">i2").tobytes()
        source.VOILUTSequence[0].LUTData = bytes([2, 1, 4, 3])
    source.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(tmp_path / "source", source, enforce_file_format=True)
    sr = derive(tmp_path / "source")
    np.testing.assert_array_equal(values(sr), values(expected))
    assert sr.VOILUTSequence[0].LUTData == bytes([1, 2, 3, 4])


def test_a_compressed_frame_of_another_size_than_the_header_s_is_refused():
    small = derive(ct(), lossless="jpeg_2000")
    for lossless in ("jpeg_ls", "jpeg_2000"):
        source = derive(ct(), lossless=lossless)
        source.Rows = small.Rows // 2
        with pytest.raises(InputError, match="48 rows and 64 columns, the header 24 and 64"):
            derive(source, force=True)


def test_a_deflated_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_file, "MAX_BYTES", 2**22)
    source = ct()
    source.EncapsulatedDocument = bytes(2**23)
    source.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    source.save_as(tmp_path / "bomb", enforce_file_format=True)
    assert (tmp_path / "bomb").stat().st_size < 2**16
    with pytest.raises(InputError, match="inflates"):
        derive(tmp_path / "bomb")


def test_an_image_whose_result_would_be_too_large_is_refused_before_it_is_decoded():
    source = image(uid.UltrasoundMultiFrameImageStorage, "US", np.zeros((2, 2, 3), np.uint8), NumberOfFrames=10000)
    source.Rows = source.Columns = 4000
    source.file_meta.TransferSyntaxUID = uid.RLELossless
    source.PixelData = pydicom.encaps.encapsulate([bytes(64)])
    with pytest.raises(InputError, match="bytes, more than"):
        derive(source)
