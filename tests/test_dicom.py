"""Values of DICOM images, by hand and against DCMTK's decoders."""

import pathlib
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from dicom_sources import data_set
from pydicom import uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from tfmisr.edge import dicom, images
from tfmisr.edge.errors import InputError

CT = uid.CTImageStorage
NO_IMAGE = ("Rows", "Columns", "PixelData")
RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4) * 90  # 0, 90, ... 990


@pytest.fixture
def read(tmp_path):
    def read_back(pixels, **attributes):
        path = tmp_path / "image"
        data_set(pixels, **attributes).save_as(path, enforce_file_format=True)
        return images.read_images(path)

    return read_back


def test_stored_values_of_an_unsigned_image_are_kept(read):
    (image,) = read(RAMP, BitsStored=10)
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels[..., 0], RAMP)
    assert image.max_val == 1023


def test_up_to_12_bits_stored_give_full_scale(read):
    assert read(RAMP, BitsStored=12)[0].max_val == 4095


@pytest.mark.parametrize("highest, max_val", [(200, 255), (900, 1023), (1024, 2047), (65535, 65535)])
def test_full_scale_of_16_bits_is_the_power_of_two_that_is_used(read, highest, max_val):
    assert read(np.array([[0, highest]], np.uint16))[0].max_val == max_val


def test_full_scale_of_mr_is_the_power_of_two_that_is_used(read):
    assert read(RAMP, BitsStored=12, Modality="MR")[0].max_val == 1023


def test_monochrome1_is_inverted(read):
    (image,) = read(np.array([[0, 1000]], np.uint16), BitsStored=10, PhotometricInterpretation="MONOCHROME1")
    assert image.pixels.ravel().tolist() == [1023, 23]


def test_monochrome1_of_8_bits_is_inverted(read):
    (image,) = read(np.array([[0, 200]], np.uint8), PhotometricInterpretation="MONOCHROME1")
    assert image.pixels.dtype == np.uint8
    assert image.pixels.ravel().tolist() == [255, 55]


def test_negative_rescale_slope_inverts(read):
    (image,) = read(np.array([[0, 1000]], np.uint16), BitsStored=10, RescaleSlope=-1, RescaleIntercept=0)
    assert image.pixels.ravel().tolist() == [1023, 23]


def test_rescale_of_other_than_ct_keeps_stored_levels(read):
    (image,) = read(RAMP, BitsStored=10, Modality="PT", RescaleSlope=0.31, RescaleIntercept=0)
    np.testing.assert_array_equal(image.pixels[..., 0], RAMP)


def test_signed_values_are_shifted_so_that_the_lowest_is_0(read):
    (image,) = read(np.array([[-100, 0, 500]], np.int16))
    assert image.pixels.ravel().tolist() == [0, 100, 600]
    assert image.max_val == 1023


def test_signed_values_that_are_not_negative_are_not_shifted(read):
    assert read(np.array([[3, 900]], np.int16))[0].pixels.ravel().tolist() == [3, 900]


def test_hounsfield_units_start_at_1024_below_water(read):
    values = np.array([[-3000, -1024, -1000, 0, 3071, 4000]], np.int16)
    (image,) = read(values, sop_class=CT, Modality="CT", RescaleSlope=1, RescaleIntercept=0)
    assert image.pixels.ravel().tolist() == [0, 0, 24, 1024, 4095, 4095]
    assert image.max_val == 4095


@pytest.mark.parametrize("kind", ["HU", "Houndsfield Unit", None])
def test_hounsfield_units_of_stored_values_with_an_offset(read, kind):
    rescale = {"RescaleSlope": 2, "RescaleIntercept": -1024, "RescaleType": kind}
    (image,) = read(np.array([[0, 10]], np.uint16), sop_class=CT, Modality="CT", BitsStored=12, **rescale)
    assert image.pixels.ravel().tolist() == [0, 20]


def test_ct_of_another_unit_keeps_stored_values(read):
    rescale = {"RescaleSlope": 1, "RescaleIntercept": -100, "RescaleType": "Z_EFF"}
    (image,) = read(RAMP, sop_class=CT, Modality="CT", BitsStored=12, **rescale)
    np.testing.assert_array_equal(image.pixels[..., 0], RAMP)


def test_hounsfield_units_of_an_enhanced_ct_frame_by_frame(read):
    def group(intercept):
        item = Dataset()
        item.RescaleSlope, item.RescaleIntercept, item.RescaleType = 1, intercept, "HU"
        functional = Dataset()
        functional.PixelValueTransformationSequence = Sequence([item])
        return functional

    first, second = read(
        np.full((2, 2), 100, np.uint16),
        sop_class=uid.EnhancedCTImageStorage,
        Modality="CT",
        NumberOfFrames=2,
        PixelData=np.full((2, 2, 2), 100, np.uint16).tobytes(),
        PerFrameFunctionalGroupsSequence=Sequence([group(-1024), group(-1000)]),
    )
    assert (first.pixels.max(), second.pixels.max()) == (100, 124)


def test_padding_becomes_the_lowest_valid_value(read):
    values = np.array([[-2000, 5, 30, 90]], np.int16)
    (image,) = read(values, PixelPaddingValue=-2000)
    assert image.pixels.ravel().tolist() == [5, 5, 30, 90]


def test_padding_range_becomes_the_lowest_valid_value(read):
    values = np.array([[0, 25, 31, 90]], np.uint16)
    (image,) = read(values, BitsStored=12, PixelPaddingValue=0, PixelPaddingRangeLimit=30)
    assert image.pixels.ravel().tolist() == [31, 31, 31, 90]


def test_padding_of_monochrome1_becomes_as_dark_as_the_darkest(read):
    (image,) = read(
        np.array([[0, 100, 900]], np.uint16),
        BitsStored=10,
        PixelPaddingValue=0,
        PhotometricInterpretation="MONOCHROME1",
    )
    assert image.pixels.ravel().tolist() == [123, 923, 123]


def test_padding_above_hounsfield_range_becomes_air(read):
    (image,) = read(
        np.array([[63536, 1024]], np.uint16),
        sop_class=CT,
        Modality="CT",
        RescaleSlope=1,
        RescaleIntercept=-1024,
        PixelPaddingValue=63536,
    )
    assert image.pixels.ravel().tolist() == [0, 1024]


@pytest.mark.parametrize(
    "value, vr, signed, bits, stored",
    [
        (-2000, "SS", 0, (16, 16), 63536),  # 0xF830
        (63536, "US", 1, (16, 16), -2000),
        (63536, "US", 1, (16, 12), -2000),
        (-2000, "SS", 0, (16, 12), 0x830),  # the lower 12 bits
        (0x830, "US", 1, (16, 12), -2000),
        (-1, "SS", 0, (8, 8), 255),
        (0xFF80, "US", 1, (8, 8), -128),
        (0x80, "US", 1, (8, 8), -128),
        (-2000, "SS", 1, (16, 16), -2000),
        (63536, "US", 0, (16, 16), 63536),
        (300, "US", 0, (8, 8), 300),  # no pixel: not the 44 of its lower 8 bits
        (-4000, "SS", 0, (16, 12), 61536),  # no pixel either
    ],
)
@pytest.mark.parametrize("keyword", ["PixelPaddingValue", "PixelPaddingRangeLimit"])
def test_the_bits_of_the_padding_count(value, vr, signed, bits, stored, keyword):
    ds = Dataset()
    ds.PixelRepresentation, (ds.BitsAllocated, ds.BitsStored) = signed, bits
    ds["PixelPaddingValue"] = pydicom.DataElement("PixelPaddingValue", vr, value)
    ds[keyword] = pydicom.DataElement(keyword, vr, value)
    assert dicom.padding_range(ds) == (stored, stored)


def test_padding_with_the_sign_that_pixels_lack_becomes_air(tmp_path):
    pixels = np.array([[63536, 1024], [1030, 1040]], np.uint16)
    ds = data_set(pixels, CT, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024)
    ds["PixelPaddingValue"] = pydicom.DataElement("PixelPaddingValue", "SS", -2000)
    ds.save_as(tmp_path / "source.dcm", enforce_file_format=True)
    assert images.read_images(tmp_path / "source.dcm")[0].pixels.ravel().tolist() == [0, 1024, 1030, 1040]


def test_an_image_of_nothing_but_padding_is_black(read):
    assert read(np.full((2, 2), 7, np.uint16), PixelPaddingValue=7)[0].pixels.max() == 0


def test_overlay_in_unused_high_bits_is_masked(read):
    (image,) = read(RAMP | 0xF000, BitsStored=12)
    np.testing.assert_array_equal(image.pixels[..., 0], RAMP)


def test_modality_lut_is_applied_and_extends_beyond_its_ends(read):
    lut = Dataset()
    lut.LUTDescriptor = [3, 10, 16]
    lut.add_new("LUTData", "US", [500, 0, 4000])
    (image,) = read(np.array([[9, 10, 11, 12, 13]], np.uint16), ModalityLUTSequence=Sequence([lut]))
    assert image.pixels.ravel().tolist() == [500, 500, 0, 4000, 4000]
    assert image.max_val == 4095


def test_modality_lut_over_the_whole_signed_range(read):
    lut = Dataset()
    lut.add_new("LUTDescriptor", "SS", [0, -32768, 16])
    lut.add_new("LUTData", "OW", np.arange(65536, dtype=np.uint16).tobytes())
    (image,) = read(np.array([[-32768, 0, 32767]], np.int16), ModalityLUTSequence=Sequence([lut]))
    assert image.pixels.ravel().tolist() == [0, 32768, 65535]


def test_first_value_of_a_modality_lut_has_the_sign_of_the_pixels(read):
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [40000, 63536, 16])  # -2000
    lut.add_new("LUTData", "OW", np.arange(40000, dtype=np.uint16).tobytes())
    (image,) = read(np.array([[-2001, -2000, 0, 3000]], np.int16), ModalityLUTSequence=Sequence([lut]))
    assert image.pixels.ravel().tolist() == [0, 0, 2000, 5000]


def test_modality_lut_of_more_bits_than_it_says_keeps_its_values(read):
    lut = Dataset()
    lut.LUTDescriptor = [3, 0, 8]
    lut.add_new("LUTData", "US", [0, 300, 4000])
    (image,) = read(np.array([[0, 1, 2]], np.uint8), ModalityLUTSequence=Sequence([lut]))
    assert (image.pixels.ravel().tolist(), image.max_val) == ([0, 300, 4000], 4095)


def test_all_frames_share_shift_and_full_scale(read):
    frames = np.stack([np.full((2, 3), -5), np.full((2, 3), 300)]).astype(np.int16)
    low, high = read(frames[0], NumberOfFrames=2, PixelData=frames.tobytes())
    assert (low.pixels.max(), high.pixels.max()) == (0, 305)
    assert low.max_val == high.max_val == 511


def test_planar_color_is_interleaved(read):
    planes = np.stack([np.full((2, 3), value, np.uint8) for value in (10, 20, 30)])
    (image,) = read(np.zeros((2, 3, 3), np.uint8), PlanarConfiguration=1, PixelData=planes.tobytes())
    assert image.pixels.shape == (2, 3, 3)
    assert image.pixels[1, 2].tolist() == [10, 20, 30]


def test_ybr_full_becomes_rgb(read):
    # PS3.3 C.7.6.3.1.2: Y 76.245, Cb 84.972, Cr 255.5 are pure red.
    (image,) = read(np.full((1, 2, 3), [76, 85, 255], np.uint8), PhotometricInterpretation="YBR_FULL")
    np.testing.assert_allclose(image.pixels[0, 0], [255, 0, 0], atol=2)


@pytest.mark.parametrize("factor", [256, 257])
def test_16_bit_palette_of_8_bit_colors_becomes_8_bit_rgb(read, factor):
    tables = {
        f"{name}PaletteColorLookupTableData": (np.array(entries) * factor).astype(np.uint16).tobytes()
        for name, entries in {"Red": [0, 200], "Green": [10, 100], "Blue": [20, 50]}.items()
    }
    (image,) = read(
        np.array([[0, 1]], np.uint8),
        PhotometricInterpretation="PALETTE COLOR",
        **{f"{name}PaletteColorLookupTableDescriptor": [2, 0, 16] for name in ("Red", "Green", "Blue")},
        **tables,
    )
    assert image.pixels.dtype == np.uint8
    assert image.pixels[0].tolist() == [[0, 10, 20], [200, 100, 50]]


def test_color_with_equal_channels_is_gray(read):
    assert read(np.full((2, 2, 3), 9, np.uint8))[0].pixels.shape == (2, 2, 1)


def test_frames_of_a_colored_file_all_have_three_channels(read):
    frames = np.stack([np.full((2, 2, 3), 9), np.full((2, 2, 3), [9, 0, 0])]).astype(np.uint8)
    first, second = read(frames[0], NumberOfFrames=2, PixelData=frames.tobytes())
    assert first.pixels.shape == second.pixels.shape == (2, 2, 3)


def test_patient_id_is_given_but_not_shown(read):
    (image,) = read(RAMP)
    assert image.patient == "ID-OF-SOMEBODY"
    assert "SOMEBODY" not in repr(image)


@pytest.mark.parametrize(
    "attributes, words",
    [
        ({"sop_class": uid.RTDoseStorage}, "RT Dose"),
        ({"sop_class": uid.SegmentationStorage}, "Segmentation"),
        ({"sop_class": uid.VLWholeSlideMicroscopyImageStorage}, "Whole Slide"),
        ({"sop_class": uid.ParametricMapStorage}, "Parametric Map"),
        ({"sop_class": uid.EncapsulatedPDFStorage, "without": NO_IMAGE}, "Encapsulated PDF"),
        ({"sop_class": uid.GrayscaleSoftcopyPresentationStateStorage, "without": NO_IMAGE}, "Presentation State"),
        ({"without": ["PixelRepresentation"]}, "float"),
        ({"PhotometricInterpretation": "HSV"}, "HSV"),
        ({"BitsStored": 12, "HighBit": 15}, "High Bit"),
        ({"syntax": uid.MPEG2MPML, "PixelData": b"\0\0"}, "MPEG2"),
        ({"Rows": 40000, "Columns": 40000}, "40000 x 40000"),
        ({"PixelData": b"\0\0"}, "cannot be decoded"),
    ],
)
def test_refusal_names_the_reason_but_not_the_patient(tmp_path, attributes, words):
    ds = data_set(RAMP, **attributes)
    if ds.file_meta.TransferSyntaxUID.is_encapsulated:
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.PixelData = pydicom.encaps.encapsulate([b"\0\0"])
    path = tmp_path / "image.dcm"
    ds.save_as(path, enforce_file_format=True)
    with pytest.raises(InputError, match=words) as error:
        images.read_images(path)
    assert str(path) in str(error.value)
    assert "SOMEBODY" not in str(error.value) and "Doe" not in str(error.value)


@pytest.mark.parametrize(
    "keyword, vr, value, words",
    [
        ("RescaleSlope", "DS", b"1,0 ", r"Rescale Slope \(0028,1053\) must be a decimal number, not 1,0"),
        ("RescaleIntercept", "DS", b"Doe ", r"Rescale Intercept \(0028,1052\) must be a decimal number, not text"),
        ("NumberOfFrames", "IS", b"Doe ", r"Number of Frames \(0028,0008\) must be a whole number, not text"),
        ("Rows", "US", b"\1\0\2\0", r"Rows \(0028,0010\) must be a whole number, not 2 of them"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR IS")
@pytest.mark.parametrize("read_any", [images.read_images, images.read_header])
def test_a_value_that_cannot_be_understood_is_named(tmp_path, read_any, keyword, vr, value, words):
    ds, tag = data_set(RAMP, sop_class=CT, Modality="CT", RescaleSlope=1, RescaleIntercept=0), Tag(keyword)
    ds._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    ds.save_as(tmp_path / "image", enforce_file_format=True)
    with pytest.raises(InputError, match=words):
        read_any(tmp_path / "image")


def test_a_decimal_comma_that_no_pixel_depends_on_hinders_nothing(tmp_path):
    ds, tag = data_set(RAMP, BitsStored=10), Tag("PixelSpacing")
    ds._dict[tag] = RawDataElement(tag, "DS", 8, b"0,5\\0,5 ", 0, False, True)
    ds.save_as(tmp_path / "image", enforce_file_format=True)
    np.testing.assert_array_equal(images.read_images(tmp_path / "image")[0].pixels[..., 0], RAMP)


def test_a_file_that_ends_within_its_pixels_is_refused_by_its_name(tmp_path):
    path = tmp_path / "image"
    data_set(RAMP).save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"ends within Pixel Data \(7FE0,0010\)") as error:
        images.read_images(path)
    assert str(error.value).startswith(f"{path}: ")


def test_image_without_pixel_data_is_refused(tmp_path):
    ds = data_set(RAMP)
    del ds.PixelData
    ds.save_as(tmp_path / "image", enforce_file_format=True)
    with pytest.raises(InputError, match="cannot be decoded"):
        images.read_images(tmp_path / "image")


def test_dicomdir_holds_no_image(tmp_path):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    ds.file_meta.MediaStorageSOPInstanceUID = "2.25.2"
    ds.FileSetID = "EXPORT"
    ds.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    assert images.read_header(tmp_path / "DICOMDIR") is None
    with pytest.raises(InputError, match="Media Storage Directory"):
        images.read_images(tmp_path / "DICOMDIR")


@pytest.mark.parametrize("implicit", [True, False])
def test_file_without_preamble_is_read(tmp_path, implicit):
    ds = data_set(RAMP, BitsStored=10)
    meta = ds.file_meta
    del ds.file_meta
    path = tmp_path / "image"
    pydicom.dcmwrite(path, ds, implicit_vr=implicit, little_endian=True)
    assert meta and path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(images.read_images(path)[0].pixels[..., 0], RAMP)


def test_file_with_the_preamble_of_a_tiff_is_dicom(tmp_path):
    ds = data_set(RAMP, BitsStored=10)
    ds.preamble = b"II*\0" + bytes(124)
    ds.save_as(tmp_path / "image", enforce_file_format=True)
    np.testing.assert_array_equal(images.read_images(tmp_path / "image")[0].pixels[..., 0], RAMP)


def test_warnings_of_pydicom_do_not_get_out(tmp_path, caplog):
    path = tmp_path / "image"
    data_set(RAMP, SpecificCharacterSet="ISO_IR 100").save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO-IR 100"))
    with pytest.warns(UserWarning, match="ISO-IR 100"):
        pydicom.dcmread(path)
    caplog.clear()
    images.read_images(path)
    assert not caplog.records


def is_decodable(path):
    return dicom.unsupported(dicom.read_header(path)) is None


def expected(ds, stored):
    """The documented mapping of stored values, written out once more."""
    stored = stored.astype(np.int64)
    if ds.Modality == "CT":
        return np.clip(stored * int(ds.RescaleSlope) + int(ds.RescaleIntercept) + 1024, 0, 4095)
    if "PixelPaddingValue" in ds:
        padded = (stored >= ds.PixelPaddingValue) & (stored <= ds.get("PixelPaddingRangeLimit", ds.PixelPaddingValue))
        stored[padded] = stored[~padded].min()
    if ds.PhotometricInterpretation == "MONOCHROME1":
        return 2**ds.BitsStored - 1 - stored
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        names = ("Red", "Green", "Blue")
        tables = [np.frombuffer(ds[f"{n}PaletteColorLookupTableData"].value, "<u2") for n in names]
        return np.stack([table[stored] >> 8 for table in tables], axis=-1)
    return stored


DCMTK = {
    uid.RLELossless: "dcmdrle",
    uid.JPEGBaseline8Bit: "dcmdjpeg",
    uid.JPEGLossless: "dcmdjpeg",
    uid.JPEGLosslessSV1: "dcmdjpeg",
    uid.JPEGLSLossless: "dcmdjpls",
}


def dcmtk_values(path: pathlib.Path, folder: pathlib.Path):
    """Returns DCMTK's decompressed file and its stored values, taken from `dcmdump`'s raw copy."""
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    plain = folder / "plain.dcm"
    tool = DCMTK.get(ds.file_meta.TransferSyntaxUID, "dcmconv")
    subprocess.run([tool, "+te", path, plain], check=True, capture_output=True)
    subprocess.run(["dcmdump", "+W", folder, plain], check=True, capture_output=True)
    raw = max(folder.glob("*.raw"), key=lambda file: file.stat().st_size)
    header = pydicom.dcmread(plain, stop_before_pixels=True)
    dtype = {8: "u1", 16: "<i2" if ds.PixelRepresentation else "<u2"}[ds.BitsAllocated]
    shape = (int(ds.get("NumberOfFrames") or 1), ds.Rows, ds.Columns, ds.SamplesPerPixel)
    values = np.frombuffer(raw.read_bytes(), dtype)[: np.prod(shape)]
    if header.get("PlanarConfiguration"):
        return plain, np.moveaxis(values.reshape(shape[0], shape[3], *shape[1:3]), 1, -1)
    return plain, values.reshape(shape)


NOT_BY_DCMTK = (uid.JPEG2000, uid.JPEG2000Lossless)


@pytest.mark.filterwarnings("ignore:Incorrect value for Specific Character Set")
def test_values_of_real_files_equal_those_by_dcmtk(shared_data, tmp_path):
    if not shutil.which("dcmdjpls"):
        pytest.skip("no DCMTK; install it with apt-get install dcmtk")
    compared = 0
    for number, path in enumerate(sorted((shared_data / "dicom").iterdir())):
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        if ds.file_meta.TransferSyntaxUID in NOT_BY_DCMTK or "mlut" in path.name:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        plain, stored = dcmtk_values(path, folder)
        # What no decoder here reads is read after DCMTK has decompressed it.
        result = images.read_images(path if is_decodable(path) else plain)
        values = np.stack([image.pixels for image in result])
        lossy = ds.file_meta.TransferSyntaxUID == uid.JPEGBaseline8Bit
        wanted = expected(ds, stored[..., 0] if ds.PhotometricInterpretation == "PALETTE COLOR" else stored)
        np.testing.assert_allclose(values, wanted, atol=2 if lossy else 0, err_msg=path.name)
        compared += 1
    assert compared == 21


def test_the_modality_lut_of_a_real_file_is_dcmtk_s(shared_data, tmp_path):
    if not shutil.which("dcm2pnm"):
        pytest.skip("no DCMTK; install it with apt-get install dcmtk")
    path = shared_data / "dicom" / "pydata_mlut_18.dcm"
    subprocess.run(["dcm2pnm", "+Wm", "+opw", path, tmp_path / "image.pgm"], check=True, capture_output=True)
    kind, width, height, highest, *values = (tmp_path / "image.pgm").read_text().split()
    assert (kind, width, height, highest) == ("P2", "512", "512", "65535")
    rendered = np.array(values, int).reshape(512, 512)
    (image,) = images.read_images(path)
    np.testing.assert_array_equal(image.pixels[..., 0], rendered)


def test_jpeg_2000_gives_the_values_of_the_same_image_in_rle(shared_data):
    (j2k,) = images.read_images(shared_data / "dicom" / "nema_CT2_J2KR.dcm")
    (rle,) = images.read_images(shared_data / "dicom" / "nema_CT2_RLE.dcm")
    np.testing.assert_array_equal(j2k.pixels, rle.pixels)


def test_every_real_file_is_read_or_refused_by_the_name_of_its_syntax(shared_data):
    read, refused = 0, 0
    for path in sorted((shared_data / "dicom").iterdir()):
        if is_decodable(path):
            header, result = images.read_header(path), images.read_images(path)
            assert result[0].pixels.shape[:2] == (header.height, header.width)
            assert result[0].pixels.itemsize * 8 == header.bits
            assert all(0 < image.pixels.max() <= image.max_val for image in result)
            read += 1
        else:
            with pytest.raises(InputError, match="Transfer Syntax JPEG Lossless"):
                images.read_images(path)
            refused += 1
    assert read + refused == 30
    assert refused in (0, 7)  # 0 where imagecodecs or python-gdcm is installed


@pytest.mark.parametrize("folder, max_vals", [("ct", {4095}), ("mr", {255, 1023, 2047})])
def test_real_slices_keep_all_levels(shared_data, folder, max_vals):
    found = set()
    for path in sorted((shared_data / folder).iterdir()):
        ds = pydicom.dcmread(path)
        stored = ds.pixel_array
        (image,) = images.read_images(path)
        found.add(image.max_val)
        inside = (image.pixels[..., 0] > 0) & (image.pixels[..., 0] < 4095)
        difference = image.pixels[..., 0].astype(int)[inside] - stored[inside]
        assert np.ptp(difference) == 0  # a shift, nothing else
    assert found == max_vals


def test_bones_of_a_monochrome1_chest_are_bright(shared_data):
    (image,) = images.read_images(shared_data / "dicom" / "dwv_CR-MONO1-10-chest_EVRLE.dcm")
    pixels = image.pixels[..., 0].astype(float)
    spine, lung = pixels[60:160, 210:230].mean(), pixels[100:200, 90:130].mean()
    assert spine > lung + 100
