"""One reader of DICOM pixels: the values of a picture are the same whatever the Transfer Syntax.

Expected values are the arrays that were encoded, or come from DCMTK's decoders.
"""

import io
import shutil
import struct
import subprocess

import jpeg_ls
import numpy as np
import PIL.Image
import pydicom
import pytest
from dicom_sources import WHEN, cr, ct, nearest, product, us, values
from openjpeg.utils import encode_array
from pydicom import uid
from pydicom.encaps import encapsulate

from tfmisr import dicom_check
from tfmisr.edge import codestreams, decoders, derived, dicom_file, images, stored_values
from tfmisr.edge.errors import InputError

RANDOM = np.random.default_rng(5)
NATIVE = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "big endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
}
CODED = {
    "RLE": uid.RLELossless,
    "JPEG-LS": uid.JPEGLSLossless,
    "JPEG 2000": uid.JPEG2000Lossless,
    "JPEG Lossless": uid.JPEGLosslessSV1,
}


def picture(bits, signed=False, channels=1):
    """Values over the whole range of `bits`, the ends among them."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    kind = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    pixels = RANDOM.integers(low, high + 1, (36, 40, channels)).astype(kind)
    pixels[0, :2] = [[low], [high]]
    return pixels[..., 0] if channels == 1 else pixels


def codestream(name, pattern, precision):
    """A frame whose codestream says `precision` bits; JPEG 2000 takes the sign of the array."""
    if name == "JPEG-LS":
        shape = (*pattern.shape, 1)[:3]
        return bytes(jpeg_ls.encode_buffer(pattern.tobytes(), *shape, precision, interleave_mode=min(shape[2] - 1, 2)))
    if name == "JPEG 2000":
        return encode_array(pattern, bits_stored=precision, photometric_interpretation=1 if pattern.ndim == 3 else 2)
    imagecodecs = pytest.importorskip("imagecodecs")
    same = {"colorspace": "RGB", "outcolorspace": "RGB"} if pattern.ndim == 3 else {}
    return imagecodecs.jpeg8_encode(pattern, lossless=True, bitspersample=precision, **same)


def with_frames(ds, syntax, frames):
    ds.file_meta.TransferSyntaxUID = CODED.get(syntax, syntax)
    ds["PixelData"] = pydicom.DataElement("PixelData", "OB", encapsulate(frames))
    ds["PixelData"].is_undefined_length = True
    return ds


def coded(ds, name, pattern, precision):
    if name != "RLE":
        return with_frames(ds, name, [codestream(name, pattern, precision)])
    ds.PixelData = pattern.tobytes()
    ds.compress(uid.RLELossless, generate_instance_uid=False)
    return ds


def in_native(ds, name, pixels):
    ds.file_meta.TransferSyntaxUID = NATIVE[name]
    big = name == "big endian"
    ds["PixelData"].value = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    ds["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    return ds


def saved(ds, folder):
    path = folder / "image.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


def both_paths(path):
    """Stored values by the path of derived images (nearest x2, halved), and by that of training and viewing."""
    limits = {"mean_limit": None, "p99_limit": None}
    result = derived.derive(path, nearest(), product(2, **limits), WHEN)
    frames = values(result)[:, ::2, ::2]
    derived.write(result, path.with_name("result.dcm"))
    assert dicom_check.violations(path, path.with_name("result.dcm")) == []
    return result, frames, np.stack([image.pixels for image in images.read_images(path)])


SHAPES = [(8, False), (10, False), (12, False), (16, False), (12, True), (16, True)]


@pytest.mark.parametrize("bits, signed", SHAPES)
@pytest.mark.parametrize("name", [*NATIVE, *CODED])
def test_values_are_the_same_in_every_transfer_syntax(tmp_path, name, bits, signed):
    pixels = picture(bits, signed)
    ds = cr(pixels, BitsStored=bits, PhotometricInterpretation="MONOCHROME2")
    if name in NATIVE:
        ds = in_native(ds, name, pixels)
    else:
        unsigned = pixels.view(f"u{pixels.itemsize}") & np.array((1 << bits) - 1, f"u{pixels.itemsize}")
        ds = coded(ds, name, pixels if name in ("RLE", "JPEG 2000") else unsigned, bits)
    result, stored, viewed = both_paths(saved(ds, tmp_path))
    assert (result.BitsStored, result.PixelRepresentation) == (bits, signed)
    np.testing.assert_array_equal(stored[0, ..., 0], pixels)
    np.testing.assert_array_equal(viewed[0, ..., 0], pixels.astype(int) - min(int(pixels.min()), 0))


@pytest.mark.parametrize("name", ["explicit", *CODED])
def test_overlay_bits_are_no_picture_in_any_transfer_syntax(tmp_path, name):
    pixels = picture(12)
    with_overlay = pixels | (RANDOM.integers(0, 2, pixels.shape).astype(np.uint16) << 15)
    ds = cr(pixels, BitsStored=12, PhotometricInterpretation="MONOCHROME2")
    ds.add_new((0x6000, 0x0100), "US", 16)
    ds.add_new((0x6000, 0x0102), "US", 15)
    ds = in_native(ds, name, with_overlay) if name == "explicit" else coded(ds, name, with_overlay, 16)
    result, stored, viewed = both_paths(saved(ds, tmp_path))
    assert result.BitsStored == 12
    np.testing.assert_array_equal(stored[0, ..., 0], pixels)
    np.testing.assert_array_equal(viewed[0, ..., 0], pixels)


@pytest.mark.parametrize("name", ["JPEG-LS", "JPEG 2000", "JPEG Lossless"])
@pytest.mark.parametrize("precision, bits", [(12, 8), (13, 12), (16, 12)])
def test_a_codestream_deeper_than_bits_stored_keeps_its_values(tmp_path, name, precision, bits):
    pixels = picture(precision)
    ds = coded(cr(pixels, BitsStored=bits, PhotometricInterpretation="MONOCHROME2"), name, pixels, precision)
    result, stored, viewed = both_paths(saved(ds, tmp_path))
    assert (result.BitsAllocated, result.BitsStored, result.HighBit) == (16, precision, precision - 1)
    np.testing.assert_array_equal(stored[0, ..., 0], pixels)
    np.testing.assert_array_equal(viewed[0, ..., 0], pixels)


def test_a_deep_codestream_in_8_bits_allocated_gets_16(tmp_path):
    pixels = picture(12)
    ds = coded(cr(pixels, BitsStored=8, PhotometricInterpretation="MONOCHROME2"), "JPEG-LS", pixels, 12)
    ds.BitsAllocated = 8
    result, stored, _ = both_paths(saved(ds, tmp_path))
    assert (result.BitsAllocated, result.BitsStored) == (16, 12)
    np.testing.assert_array_equal(stored[0, ..., 0], pixels)


@pytest.mark.parametrize("name", ["JPEG-LS", "JPEG 2000", "JPEG Lossless"])
def test_a_deep_codestream_of_small_values_changes_no_header(tmp_path, name):
    pixels = picture(12)
    ds = coded(cr(pixels, BitsStored=12, PhotometricInterpretation="MONOCHROME2"), name, pixels, 16)
    image = stored_values.read(dicom_file.load(saved(ds, tmp_path)))
    assert (image.ds.BitsStored, image.remarks) == (12, ())
    np.testing.assert_array_equal(next(iter(image.frames)), pixels)


@pytest.mark.parametrize("pattern", [0xFFF, 0xFFFF])
def test_signed_values_in_more_bits_may_be_extended_or_not(tmp_path, pattern):
    ds = ct(np.full((36, 40), -1, np.int16), BitsStored=12)
    ds = coded(ds, "JPEG-LS", np.full((36, 40), pattern, np.uint16), 16)
    image = stored_values.read(dicom_file.load(saved(ds, tmp_path)))
    assert (next(iter(image.frames)) == -1).all()


def test_a_signed_jpeg_2000_codestream_makes_an_unsigned_header_signed(tmp_path):
    pixels = picture(13, signed=True)
    ds = cr(pixels.view(np.uint16), PhotometricInterpretation="MONOCHROME2", BitsStored=16)
    ds.SmallestImagePixelValue, ds.PixelPaddingValue = 0, 63536
    path = saved(coded(ds, "JPEG 2000", pixels, 13), tmp_path)
    result, stored, _ = both_paths(path)
    assert (result.PixelRepresentation, result["PixelPaddingValue"].VR, result.PixelPaddingValue) == (1, "SS", -2000)
    np.testing.assert_array_equal(stored[0, ..., 0], pixels)


def test_a_signed_codestream_of_colors_is_refused(tmp_path):
    ds = coded(us(picture(8, channels=3)), "JPEG 2000", picture(8, signed=True, channels=3), 8)
    with pytest.raises(InputError, match=r"Pixel Data \(7FE0,0010\) has a sign"):
        images.read_images(saved(ds, tmp_path))


def test_an_unsigned_codestream_of_fewer_bits_than_a_signed_header_is_positive(tmp_path):
    pixels = picture(13)
    ds = ct(pixels.astype(np.int16), RescaleIntercept=None, RescaleSlope=None)
    _, stored, _ = both_paths(saved(coded(ds, "JPEG 2000", pixels, 13), tmp_path))
    np.testing.assert_array_equal(stored[0, ..., 0], pixels)


def test_an_unsigned_codestream_of_all_bits_below_a_signed_header_is_two_s_complement(tmp_path):
    # as in J2K_pixelrep_mismatch.dcm of pydicom, a scanner's file whose padding is -2000
    path = pydicom.data.get_testdata_file("J2K_pixelrep_mismatch.dcm")
    image = stored_values.read(dicom_file.load(path))
    assert int(next(iter(image.frames)).min()) == -2000


def test_jpeg_ls_that_may_be_signed_or_not_is_refused(tmp_path):
    ds = coded(ct(picture(16, True)), "JPEG-LS", picture(12), 12)
    with pytest.raises(InputError, match="12 bits without a sign, Bits Stored .* is 16, signed"):
        images.read_images(saved(ds, tmp_path))


@pytest.mark.parametrize(
    "name, code", [("JPEG-LS", "RGB"), ("JPEG-LS", "YBR_FULL"), ("JPEG 2000", "RGB"), ("RLE", "RGB")]
)
@pytest.mark.parametrize("bits", [8, 12])
def test_color_is_the_same_in_every_transfer_syntax(tmp_path, name, code, bits):
    pixels = picture(bits, channels=3)
    ds = coded(us(pixels, BitsStored=bits, PhotometricInterpretation=code), name, pixels, bits)
    path = saved(ds, tmp_path)
    if code == "YBR_FULL" and bits > 8:
        with pytest.raises(InputError, match="YBR_FULL of more than 8 bits"):
            images.read_images(path)
        return
    _, stored, viewed = both_paths(path)
    rgb = np.asarray(PIL.Image.fromarray(pixels, "YCbCr").convert("RGB")) if code == "YBR_FULL" else pixels
    np.testing.assert_allclose(stored[0], rgb, atol=0 if code == "RGB" else 1)
    np.testing.assert_allclose(viewed[0], rgb, atol=0 if code == "RGB" else 1)


def jpeg(mode, marker, pixels):
    """A baseline JPEG of components as they are, with a JFIF, an Adobe or no marker that says what they mean."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0, keep_rgb=mode == "RGB")
    content = file.getvalue()
    start = content.index(b"\xff\xdb")
    return b"\xff\xd8" + marker + content[start:]


JFIF = b"\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
COLORS = np.array([[[200, 40, 40], [40, 200, 40]], [[40, 40, 200], [220, 220, 60]]], np.uint8)
COLORS = COLORS.repeat(16, axis=0).repeat(16, axis=1)
ADOBE = b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0"


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL_422", "YBR_FULL"])
@pytest.mark.parametrize(
    "mode, marker", [("YCbCr", JFIF), ("YCbCr", ADOBE + b"\1"), ("RGB", ADOBE + b"\0"), ("RGB", b"")]
)
def test_the_marker_of_a_jpeg_decides_its_color(tmp_path, mode, marker, label):
    stored, viewed = read_jpeg(tmp_path, jpeg(mode, marker, COLORS), label)
    np.testing.assert_allclose(stored, COLORS, atol=8)
    np.testing.assert_array_equal(stored, viewed)


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL_422"])
def test_the_label_decides_the_color_of_a_jpeg_without_markers(tmp_path, label):
    coded = np.asarray(PIL.Image.fromarray(COLORS).convert("YCbCr"))
    stored, _ = read_jpeg(tmp_path, jpeg("YCbCr", b"", COLORS), label)
    np.testing.assert_allclose(stored, coded if label == "RGB" else COLORS, atol=8)


def read_jpeg(folder, frame, label):
    ds = with_frames(us(COLORS, PhotometricInterpretation=label), uid.JPEGBaseline8Bit, [frame])
    _, stored, viewed = both_paths(saved(ds, folder))
    return stored[0], viewed[0]


def four_jpegs():
    return [codestream_of_jpeg(np.full((48, 64), 50 * i, np.uint8)) for i in range(4)]


def codestream_of_jpeg(pixels):
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize("told", [None, 1, 3, 5])
@pytest.mark.parametrize("syntax", ["JPEG", "RLE", "explicit"])
def test_frames_that_the_header_does_not_count_are_refused_everywhere(tmp_path, syntax, told):
    pixels = np.zeros((48, 64), np.uint8)
    ds = us(pixels, PhotometricInterpretation="MONOCHROME2")
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = uid.UltrasoundMultiFrameImageStorage
    ds.NumberOfFrames = 4
    if syntax == "JPEG":
        ds = with_frames(ds, uid.JPEGBaseline8Bit, four_jpegs())
    else:
        ds["PixelData"].value = np.zeros((4, 48, 64), np.uint8).tobytes()
        if syntax == "RLE":
            ds.compress(uid.RLELossless, generate_instance_uid=False)
    assert len(images.read_images(saved(ds, tmp_path))) == 4
    if told is None:
        del ds.NumberOfFrames
    else:
        ds.NumberOfFrames = told
    path = saved(ds, tmp_path)
    for read in (images.read_images, lambda p: derived.derive(p, nearest(), product(), WHEN)):
        with pytest.raises(InputError, match=r"Pixel Data \(7FE0,0010\) (holds 4 frames|must have)"):
            read(path)


def test_frames_in_several_fragments_are_put_together(tmp_path):
    frames = four_jpegs()
    ds = us(np.zeros((48, 64), np.uint8), PhotometricInterpretation="MONOCHROME2")
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = uid.UltrasoundMultiFrameImageStorage
    ds.NumberOfFrames = 4
    with_frames(ds, uid.JPEGBaseline8Bit, frames)
    ds["PixelData"].value = encapsulate(frames, fragments_per_frame=3, has_bot=False)
    read = [image.pixels.mean() for image in images.read_images(saved(ds, tmp_path))]
    np.testing.assert_allclose(read, [0, 50, 100, 150], atol=1)


@pytest.mark.parametrize("share", [0.5, 0.95])
@pytest.mark.parametrize("name", ["JPEG Lossless", "JPEG-LS", "JPEG 2000"])
def test_a_frame_that_was_cut_off_is_no_picture(tmp_path, name, share):
    # libjpeg fills what is missing, and imagecodecs does not tell.
    frame = codestream(name, picture(12), 12)
    ds = with_frames(cr(picture(12), BitsStored=12), name, [frame[: int(len(frame) * share)]])
    with pytest.raises(InputError, match=r"Pixel Data \(7FE0,0010\)"):
        images.read_images(saved(ds, tmp_path))


def test_a_small_jpeg_that_claims_a_large_image_is_no_picture(tmp_path):
    frame = bytearray(jpeg("L", JFIF, np.zeros((16, 16), np.uint8)))
    size = frame.index(b"\xff\xc0") + 5
    frame[size : size + 4] = struct.pack(">2H", 9000, 9000)
    ds = with_frames(cr(picture(8), Rows=9000, Columns=9000), uid.JPEGBaseline8Bit, [bytes(frame)])
    with pytest.raises(InputError, match="is truncated"):
        images.read_images(saved(ds, tmp_path))


def test_components_that_the_header_does_not_count_are_refused(tmp_path):
    pixels = np.zeros((48, 64, 3), np.uint8)
    ds = us(pixels[..., 0], PhotometricInterpretation="MONOCHROME2")
    with_frames(ds, uid.JPEGBaseline8Bit, [jpeg("YCbCr", JFIF, pixels)])
    with pytest.raises(InputError, match="3 components, Samples per Pixel"):
        images.read_images(saved(ds, tmp_path))


def test_the_encoding_of_the_data_set_counts_not_the_file_meta_group(tmp_path):
    pixels = picture(12)
    path = saved(cr(pixels, BitsStored=12, PhotometricInterpretation="MONOCHROME2"), tmp_path)
    content = path.read_bytes()
    wrong = content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0")
    path.write_bytes(wrong)
    assert wrong != content
    _, stored, viewed = both_paths(path)
    np.testing.assert_array_equal(stored[0, ..., 0], pixels)
    np.testing.assert_array_equal(viewed[0, ..., 0], pixels)


def dcmtk(ds, folder, *command):
    """Returns a file that DCMTK has compressed, and what DCMTK makes of it when it is decompressed."""
    source, compressed, plain = saved(ds, folder), folder / "compressed.dcm", folder / "plain.dcm"
    subprocess.run([*command, source, compressed], check=True, capture_output=True)
    tool = {"dcmcrle": "dcmdrle", "dcmcjpls": "dcmdjpls", "dcmcjpeg": "dcmdjpeg"}[command[0]]
    subprocess.run([tool, compressed, plain], check=True, capture_output=True)
    decoded = pydicom.dcmread(plain)
    kind = f"<{'i' if decoded.PixelRepresentation else 'u'}{decoded.BitsAllocated // 8}"
    pixels = np.frombuffer(decoded.PixelData, kind)[: ds.Rows * ds.Columns * ds.SamplesPerPixel]
    planar = decoded.get("PlanarConfiguration") == 1
    shape = (3, ds.Rows, ds.Columns) if planar else (ds.Rows, ds.Columns, ds.SamplesPerPixel)
    return compressed, np.moveaxis(pixels.reshape(shape), 0, -1) if planar else pixels.reshape(shape)


COMPRESSIONS = [
    ("dcmcrle",),
    ("dcmcjpls", "+el"),
    ("dcmcjpls", "+en"),
    ("dcmcjpeg", "+e1"),
    ("dcmcjpeg", "+el"),
    ("dcmcjpeg", "+ee", "+bt"),
]


@pytest.mark.skipif(not shutil.which("dcmcjpeg"), reason="no DCMTK; apt-get install dcmtk")
@pytest.mark.parametrize("kind", ["8 bits", "12 bits", "16 bits", "signed", "RGB"])
@pytest.mark.parametrize("command", COMPRESSIONS, ids=" ".join)
def test_what_dcmtk_compresses_is_read_as_dcmtk_reads_it(tmp_path, command, kind):
    pixels = {
        "8 bits": picture(8),
        "12 bits": picture(12),
        "16 bits": picture(16),
        "signed": picture(16, True),
        "RGB": picture(8, channels=3),
    }[kind]
    bits = {"12 bits": 12}.get(kind, 8 * pixels.itemsize)
    if "+ee" in command:
        if kind not in ("8 bits", "12 bits"):
            pytest.skip("JPEG Extended has 8 or 12 bits")
        command = ("dcmcjpeg", "+ee", *(("+be",) if bits == 8 else ("+bt",)))
    if "+en" in command and kind == "signed":
        pytest.skip("DCMTK does not compress signed values with loss")
    if not decoders._has("imagecodecs") and command[0] == "dcmcjpeg":
        pytest.skip("JPEG Lossless and JPEG Extended of 12 bits need the extra [dicom]")
    source = us(pixels) if pixels.ndim == 3 else ct(pixels, BitsStored=bits, RescaleIntercept=None, RescaleSlope=None)
    path, wanted = dcmtk(source, tmp_path, *command)
    image = stored_values.read(dicom_file.load(path))
    np.testing.assert_array_equal(next(iter(image.frames)).reshape(wanted.shape), wanted)


@pytest.mark.parametrize("bits, signed", [(8, False), (12, False), (16, False), (16, True)])
def test_gdcm_and_imagecodecs_agree_on_lossless_jpeg(tmp_path, monkeypatch, bits, signed):
    pytest.importorskip("gdcm")
    pixels = picture(bits, signed)
    ds = ct(pixels, BitsStored=bits, RescaleIntercept=None, RescaleSlope=None)
    path = saved(coded(ds, "JPEG Lossless", pixels.view(f"u{pixels.itemsize}"), bits), tmp_path)
    monkeypatch.setattr(decoders, "_has", lambda package: package == "gdcm")
    image = stored_values.read(dicom_file.load(path))
    np.testing.assert_array_equal(next(iter(image.frames)), pixels)


@pytest.mark.parametrize("syntax", [uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGExtended12Bit])
def test_a_missing_decoder_is_named_with_the_extra_that_brings_it(tmp_path, monkeypatch, syntax):
    monkeypatch.setattr(decoders, "_has", lambda package: False)
    pixels = picture(12)
    ds = with_frames(cr(pixels, BitsStored=12), syntax, [b"\xff\xd8\xff\xd9"])
    for read in (images.read_images, images.read_header, lambda p: derived.derive(p, nearest(), product(), WHEN)):
        with pytest.raises(InputError, match=r"pip install 'tfmisr\[dicom\]'"):
            read(saved(ds, tmp_path))


def test_transfer_syntaxes_without_a_decoder_are_refused_by_name():
    known = set(uid.AllTransferSyntaxes) - set(decoders.COMPRESSED) - set(decoders.NATIVE)
    assert all("not supported" in decoders.unavailable_reason(syntax, 8) for syntax in known)


def test_a_run_length_frame_begins_with_its_header():
    header = struct.pack("<16I", 1, 64, *[0] * 14)
    assert codestreams.starts_frame(header, uid.RLELossless)
    assert not codestreams.starts_frame(b"\x01\x02\x03\x04" * 4, uid.RLELossless)
