"""PNG, JPEG and TIFF: what is read is what was stored, what is written is what is read."""

import errno
import io
import os
import struct
import zlib

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import png
import pytest
import tifffile

from tfmisr.edge import images, levels
from tfmisr.edge.errors import InputError

RNG = np.random.default_rng(0)
GRAY8 = RNG.integers(0, 256, (40, 30), dtype=np.uint8)
GRAY16 = RNG.integers(0, 65536, (40, 30), dtype=np.uint16)
RGB8 = RNG.integers(0, 256, (40, 30, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (40, 30, 3), dtype=np.uint16)
GRAY16[0, 0] = RGB16[0, 0, 0] = 65535


def only(path):
    (image,) = images.read_images(path)
    return image


def write_png(path, pixels, mode):
    png.from_array(pixels.reshape(len(pixels), -1), mode).save(path)


@pytest.mark.parametrize("pixels", [GRAY8[..., None], GRAY16[..., None], RGB8, RGB16])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "A.TIFF"])
def test_written_pixels_and_max_val_are_read_back(tmp_path, pixels, name):
    max_val = int(pixels.max())
    images.write_image(tmp_path / name, pixels, max_val)
    image = only(tmp_path / name)
    assert image.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.max_val == max_val


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_12_bit_values_are_written_as_they_are(tmp_path, name):
    images.write_image(tmp_path / name, np.full((2, 2, 1), 100, np.uint16), 4095)
    assert np.asarray(PIL.Image.open(tmp_path / name)).max() == 100
    assert only(tmp_path / name).max_val == 4095


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_view_of_an_array_is_written_as_it_looks(tmp_path, name):
    turned = RGB16[::-1, ::2].swapaxes(0, 1)
    images.write_image(tmp_path / name, turned, 65535)
    np.testing.assert_array_equal(only(tmp_path / name).pixels, turned)


def test_written_png_is_valid_to_other_readers(tmp_path):
    images.write_image(tmp_path / "a.png", RGB16, 65535)
    *_, rows, info = png.Reader(bytes=(tmp_path / "a.png").read_bytes()).read()
    np.testing.assert_array_equal(np.vstack(list(rows)).reshape(RGB16.shape), RGB16)
    assert (info["planes"], info["bitdepth"]) == (3, 16)


def test_written_tiff_is_valid_to_other_readers(tmp_path):
    images.write_image(tmp_path / "a.tif", GRAY16[..., None], 65535)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(tmp_path / "a.tif")), GRAY16)


def test_an_existing_file_survives_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    images.write_image(path, RGB8, 255)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        images.write_image(path, GRAY8[..., None], 255)
    np.testing.assert_array_equal(only(path).pixels, RGB8)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_writing_another_extension_names_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"\.png, \.tif, \.tiff\. Received: .*a\.jpg"):
        images.write_image(tmp_path / "a.jpg", RGB8, 255)


def test_writing_into_no_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        images.write_image(tmp_path / "none" / "a.png", RGB8, 255)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_bits_spans_0_to_255(tmp_path, bits):
    levels_ = np.arange(12).reshape(3, 4) % 2**bits
    with open(tmp_path / "a.png", "wb") as file:
        png.Writer(4, 3, greyscale=True, bitdepth=bits).write(file, levels_.tolist())
    image = only(tmp_path / "a.png")
    np.testing.assert_array_equal(image.pixels[..., 0], levels_ * (255 // (2**bits - 1)))
    assert image.max_val == 255


def test_png_of_8_bit_gray(tmp_path):
    write_png(tmp_path / "a.png", GRAY8, "L")
    np.testing.assert_array_equal(only(tmp_path / "a.png").pixels[..., 0], GRAY8)


def test_png_of_16_bit_rgb_keeps_16_bits(tmp_path):
    write_png(tmp_path / "a.png", RGB16, "RGB;16")
    np.testing.assert_array_equal(only(tmp_path / "a.png").pixels, RGB16)


def test_interlaced_png_of_16_bits(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        writer = png.Writer(30, 40, greyscale=True, bitdepth=16, interlace=True)
        writer.write(file, GRAY16.tolist())
    np.testing.assert_array_equal(only(tmp_path / "a.png").pixels[..., 0], GRAY16)


@pytest.mark.parametrize("highest, max_val", [(3000, 4095), (256, 511), (7, 255), (65535, 65535)])
def test_16_bits_of_others_count_to_the_power_of_two_that_is_used(tmp_path, highest, max_val):
    pixels = np.full((3, 3), highest, np.uint16)
    write_png(tmp_path / "a.png", pixels, "L;16")
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    assert only(tmp_path / "a.png").max_val == only(tmp_path / "a.tif").max_val == max_val


def test_a_false_max_val_in_a_file_is_not_believed(tmp_path):
    note = PIL.PngImagePlugin.PngInfo()
    note.add_text("max_val", "300")
    PIL.Image.fromarray(np.full((3, 3), 3000, np.uint16)).save(tmp_path / "a.png", pnginfo=note)
    assert only(tmp_path / "a.png").max_val == 4095


def test_palette_png_becomes_rgb(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        writer = png.Writer(2, 1, palette=[(1, 2, 3), (200, 100, 50)], bitdepth=8)
        writer.write(file, [[0, 1]])
    assert only(tmp_path / "a.png").pixels.tolist() == [[[1, 2, 3], [200, 100, 50]]]


def test_palette_of_grays_becomes_gray(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        png.Writer(2, 1, palette=[(9, 9, 9), (7, 7, 7)], bitdepth=8).write(file, [[0, 1]])
    assert only(tmp_path / "a.png").pixels.tolist() == [[[9], [7]]]


@pytest.mark.parametrize("mode, dtype", [("RGB", np.uint8), ("RGB;16", np.uint16)])
def test_rgb_with_equal_channels_is_gray(tmp_path, mode, dtype):
    gray = GRAY8.astype(dtype)
    write_png(tmp_path / "a.png", np.repeat(gray[..., None], 3, axis=2), mode)
    np.testing.assert_array_equal(only(tmp_path / "a.png").pixels, gray[..., None])


@pytest.mark.parametrize("mode, full", [("RGBA", 255), ("RGBA;16", 65535)])
def test_rgba_with_equal_channels_and_constant_alpha_is_gray(tmp_path, mode, full):
    gray = GRAY8.astype(np.uint8 if full == 255 else np.uint16)
    write_png(tmp_path / "a.png", np.dstack([gray, gray, gray, np.full_like(gray, full)]), mode)
    np.testing.assert_array_equal(only(tmp_path / "a.png").pixels[..., 0], gray)


@pytest.mark.parametrize("mode, full", [("LA", 255), ("LA;16", 65535)])
def test_varying_alpha_is_applied_over_black(tmp_path, mode, full):
    dtype = np.uint8 if full == 255 else np.uint16
    write_png(tmp_path / "a.png", np.array([[[200, full], [200, 0]]], dtype), mode)
    assert only(tmp_path / "a.png").pixels.ravel().tolist() == [200, 0]


def test_jpeg_of_gray_and_color(tmp_path):
    smooth = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (40, 1))
    PIL.Image.fromarray(smooth).save(tmp_path / "gray.jpg", quality=95)
    PIL.Image.fromarray(np.dstack([smooth, smooth // 2, smooth // 4])).save(tmp_path / "rgb.jpg", quality=95)
    np.testing.assert_allclose(only(tmp_path / "gray.jpg").pixels[..., 0], smooth, atol=3)
    assert only(tmp_path / "rgb.jpg").pixels.shape == (40, 48, 3)


def test_gray_saved_as_color_jpeg_is_gray(tmp_path):
    PIL.Image.fromarray(np.repeat(GRAY8[..., None], 3, axis=2)).save(tmp_path / "a.jpg")
    assert only(tmp_path / "a.jpg").pixels.shape == (40, 30, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_applies_it(orientation):
    image = PIL.Image.fromarray(GRAY8)
    image.getexif()[0x0112] = orientation
    upright = PIL.ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(levels.apply_exif_orientation(GRAY8, orientation), np.asarray(upright))


def test_jpeg_orientation_is_applied(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(GRAY8).save(tmp_path / "a.jpg", exif=exif)
    assert only(tmp_path / "a.jpg").pixels.shape == (30, 40, 1)


@pytest.mark.parametrize("pixels", [GRAY8, GRAY16, RGB8, RGB16])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_of_tifffile(tmp_path, pixels, compression, byteorder):
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    options = {"compression": compression, "photometric": photometric, "byteorder": byteorder}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    np.testing.assert_array_equal(only(tmp_path / "a.tif").pixels.squeeze(), pixels)


@pytest.mark.parametrize("pixels", [GRAY8, GRAY16, RGB8])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff_of_pillow(tmp_path, pixels, compression):
    PIL.Image.fromarray(pixels).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(only(tmp_path / "a.tif").pixels.squeeze(), pixels)


def test_bilevel_fax_tiff_spans_0_to_255(tmp_path):
    PIL.Image.fromarray(GRAY8 > 127).save(tmp_path / "a.tif", compression="group4")
    np.testing.assert_array_equal(only(tmp_path / "a.tif").pixels[..., 0], (GRAY8 > 127) * 255)


def test_palette_tiff_becomes_rgb(tmp_path):
    image = PIL.Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 200, 100, 50])
    image.putdata([0, 1])
    image.save(tmp_path / "a.tif")
    assert only(tmp_path / "a.tif").pixels.tolist() == [[[1, 2, 3], [200, 100, 50]]]


def test_planar_tiff_is_interleaved(tmp_path):
    planes = np.moveaxis(RGB16, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(only(tmp_path / "a.tif").pixels, RGB16)


def test_pages_are_frames_and_share_max_val(tmp_path):
    pages = np.stack([np.full((4, 5), 10), np.full((4, 5), 1000)]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    first, second = images.read_images(tmp_path / "a.tif")
    assert (first.pixels.max(), second.pixels.max()) == (10, 1000)
    assert first.max_val == second.max_val == 1023


def test_pages_may_differ_in_size_and_thumbnails_are_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(GRAY8)
        writer.write(GRAY8[:20])
        writer.write(GRAY8[::4, ::4], subfiletype=1)
    assert [i.pixels.shape[0] for i in images.read_images(tmp_path / "a.tif")] == [40, 20]


def test_pages_of_different_types_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(GRAY8)
        writer.write(RGB8, photometric="rgb")
    with pytest.raises(InputError, match="different types"):
        images.read_images(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_white_is_zero_is_inverted(tmp_path, compression):
    options = {"photometric": "miniswhite", "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 200]], np.uint8), **options)
    tifffile.imwrite(tmp_path / "b.tif", np.array([[0, 3000]], np.uint16), **options)
    assert only(tmp_path / "a.tif").pixels.ravel().tolist() == [255, 55]
    assert only(tmp_path / "b.tif").pixels.ravel().tolist() == [4095, 1095]


@pytest.mark.parametrize("pixels, expected", [(GRAY8, 255 - GRAY8), (GRAY16, 65535 - GRAY16)])
def test_white_is_zero_with_lzw_is_inverted_once(tmp_path, pixels, expected):
    image = PIL.Image.fromarray(pixels)
    image.save(tmp_path / "a.tif", compression="tiff_lzw")
    # Pillow always writes black-is-zero: change the one entry, Photometric Interpretation (262).
    data = (tmp_path / "a.tif").read_bytes()
    black, white = struct.pack("<2HI2H", 262, 3, 1, 1, 0), struct.pack("<2HI2H", 262, 3, 1, 0, 0)
    assert data.count(black) == 1
    (tmp_path / "a.tif").write_bytes(data.replace(black, white))
    np.testing.assert_array_equal(only(tmp_path / "a.tif").pixels[..., 0], expected)


def test_signed_tiff_is_shifted_so_that_the_lowest_is_0(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[-1000, 0, 2000]], np.int16))
    image = only(tmp_path / "a.tif")
    assert image.pixels.ravel().tolist() == [0, 1000, 3000]
    assert image.max_val == 4095


@pytest.mark.parametrize("dtype, words", [(np.float32, "float, 32 bits"), (np.uint32, "integer, 32 bits")])
def test_tiff_of_other_samples_is_refused_by_name(tmp_path, dtype, words):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), dtype))
    with pytest.raises(InputError, match=words):
        images.read_images(tmp_path / "a.tif")


def test_a_file_is_known_by_its_content(tmp_path):
    write_png(tmp_path / "a.jpg", RGB8, "RGB")
    np.testing.assert_array_equal(only(tmp_path / "a.jpg").pixels, RGB8)


@pytest.mark.parametrize("name", ["a.dcm", "a.png"])
def test_other_content_under_the_name_of_an_image_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"no image, though its name says so" * 10)
    for read in (images.read_images, images.read_header):
        with pytest.raises(InputError, match=f"{name}: expected"):
            read(tmp_path / name)


def test_other_files_have_no_header(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").touch()
    assert images.read_header(tmp_path / "notes.txt") is None
    assert images.read_header(tmp_path / "empty") is None


def test_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: cannot be read \(No such file"):
        images.read_images(tmp_path / "none.png")


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "png16"])
@pytest.mark.parametrize("kept", [0.1, 0.6])
def test_truncated_file_is_named(tmp_path, kind, kept):
    whole, path = tmp_path / f"whole.{kind[:3]}", tmp_path / f"broken.{kind[:3]}"
    if kind == "png16":
        write_png(whole, RGB16, "RGB;16")
    else:
        PIL.Image.fromarray(RGB8).save(whole)
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * kept)])
    with pytest.raises(InputError, match=rf"broken\.{kind[:3]}: "):
        images.read_images(path)


def test_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    side = 20_000
    with open(tmp_path / "bomb.png", "wb") as file:
        header = struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0)
        data = zlib.compress(bytes(1000))
        png.write_chunks(file, [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")])
    with pytest.raises(InputError, match="20000 x 20000 pixels are more than"):
        images.read_images(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    "pixels, mode, expected",
    [
        (GRAY8, "L", (40, 30, 1, 8)),
        (GRAY16, "L;16", (40, 30, 1, 16)),
        (RGB8, "RGB", (40, 30, 3, 8)),
        (RGB16, "RGB;16", (40, 30, 3, 16)),
    ],
)
def test_header_tells_size_channels_and_bits(tmp_path, pixels, mode, expected):
    write_png(tmp_path / "a.png", pixels, mode)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb" if "RGB" in mode else "minisblack")
    for name in ("a.png", "a.tif"):
        header = images.read_header(tmp_path / name)
        assert (header.height, header.width, header.channels, header.bits) == expected


def png_of(path, width, height, rows, before=(), after=(), **options):
    """Writes a PNG with pypng and adds chunks before and after its pixels."""
    stream = io.BytesIO()
    png.Writer(width, height, **options).write(stream, rows)
    chunks = list(png.Reader(bytes=stream.getvalue()).chunks())
    place = next(i for i, (kind, _) in enumerate(chunks) if kind == b"IDAT")
    with open(path, "wb") as file:
        png.write_chunks(file, [*chunks[:place], *before, *chunks[place:-1], *after, chunks[-1]])
    return path


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("interlace", [False, True])
def test_transparent_gray_is_black(tmp_path, bits, interlace):
    rows = np.arange(30).reshape(5, 6) % min(2**bits, 10)
    key = [(b"tRNS", struct.pack(">H", 1))]
    path = png_of(tmp_path / "a.png", 6, 5, rows.tolist(), key, greyscale=True, bitdepth=bits, interlace=interlace)
    expected = np.where(rows == 1, 0, rows) * (255 // (2**bits - 1) if bits < 8 else 1)
    np.testing.assert_array_equal(only(path).pixels[..., 0], expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_transparent_color_is_black(tmp_path, bits):
    rows = [[9, 9, 9, 9, 9, 8], [7, 7, 7, 9, 9, 9]]
    key = [(b"tRNS", struct.pack(">3H", 9, 9, 9))]
    path = png_of(tmp_path / "a.png", 2, 2, rows, key, greyscale=False, bitdepth=bits)
    assert only(path).pixels.tolist() == [[[0, 0, 0], [9, 9, 8]], [[7, 7, 7], [0, 0, 0]]]


def test_transparent_color_that_is_all_or_nothing_is_dropped(tmp_path):
    for key in (3, 5):
        chunk = [(b"tRNS", struct.pack(">H", key))]
        path = png_of(tmp_path / "a.png", 2, 1, [[3, 3]], chunk, greyscale=True, bitdepth=8)
        assert only(path).pixels.ravel().tolist() == [3, 3]


@pytest.mark.parametrize("bits", [2, 8])
def test_transparent_palette_entry_is_black(tmp_path, bits):
    palette = [(10, 20, 30, 255), (200, 100, 50, 51), (7, 8, 9, 0)]
    path = png_of(tmp_path / "a.png", 3, 1, [[0, 1, 2]], palette=palette, bitdepth=bits)
    assert only(path).pixels.tolist() == [[[10, 20, 30], [40, 20, 10], [0, 0, 0]]]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_png_orientation_is_applied(tmp_path, bits, place, orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    chunk = {place: [(b"eXIf", exif.tobytes()[6:])]}
    path = png_of(tmp_path / "a.png", 3, 1, [[1, 2, 3]], greyscale=True, bitdepth=bits, **chunk)
    assert only(path).pixels[..., 0].tolist() == ([[3, 2, 1]] if orientation == 3 else [[1], [2], [3]])


def test_png_with_a_broken_exif_or_end_is_read(tmp_path):
    path = png_of(tmp_path / "a.png", 2, 1, [[1, 2]], [(b"eXIf", b"nonsense")], greyscale=True, bitdepth=8)
    path.write_bytes(path.read_bytes()[:-6])
    assert only(path).pixels.ravel().tolist() == [1, 2]


def test_animated_png_is_refused(tmp_path):
    frames = [PIL.Image.fromarray(GRAY8), PIL.Image.fromarray(GRAY8[::-1])]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="an animated PNG of 2 frames; save each"):
        only(tmp_path / "a.png")


def test_cmyk_jpeg_as_pillow_converts_it(tmp_path):
    # Pillow writes Adobe's marker and inverted inks, as Photoshop does.
    colors = np.array([[255, 0, 0], [0, 255, 0], [40, 90, 200], [30, 30, 30]], np.uint8)
    image = PIL.Image.fromarray(colors.reshape(2, 2, 3).repeat(16, 0).repeat(16, 1)).convert("CMYK")
    image.save(tmp_path / "a.jpg", quality=98)
    np.testing.assert_allclose(only(tmp_path / "a.jpg").pixels[8::16, 8::16].reshape(4, 3), colors, atol=4)


def test_rgb_jpeg_without_conversion_keeps_its_colors(tmp_path):
    colors = np.array([[200, 30, 60], [20, 220, 90]], np.uint8).reshape(1, 2, 3).repeat(16, 0).repeat(16, 1)
    PIL.Image.fromarray(colors).save(tmp_path / "a.jpg", quality=98, keep_rgb=True)
    np.testing.assert_allclose(only(tmp_path / "a.jpg").pixels, colors, atol=4)


@pytest.mark.parametrize("marker, bits, words", [(0xC1, 12, "JPEG of 12 bits"), (0xF7, 8, "JPEG-LS of 8 bits")])
def test_jpeg_of_another_kind_is_named(tmp_path, marker, bits, words):
    stream = io.BytesIO()
    PIL.Image.fromarray(GRAY8).save(stream, "JPEG")
    head, _, rest = stream.getvalue().partition(b"\xff\xc0")
    (tmp_path / "a.jpg").write_bytes(head + bytes([0xFF, marker]) + rest[:2] + bytes([bits]) + rest[3:])
    with pytest.raises(InputError, match=f"expected JPEG of 8 bits; convert it to PNG. Received: {words}"):
        only(tmp_path / "a.jpg")


@pytest.mark.parametrize("dtype, low", [(np.int8, -128), (np.int16, -32768)])
def test_signed_pixels_are_written_as_they_are(tmp_path, dtype, low):
    pages = [np.array([[[low], [-1], [5], [-low - 1]]], dtype), np.zeros((3, 2, 1), dtype)]
    images.write_images(tmp_path / "a.tif", pages, 255, len(pages))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert [page.asarray().tolist() for page in file.pages] == [page[..., 0].tolist() for page in pages]
    first, second = images.read_images(tmp_path / "a.tif")
    assert (first.offset, first.count) == (low, 2)
    np.testing.assert_array_equal(first.to_file_values(first.pixels), pages[0])
    np.testing.assert_array_equal(second.to_file_values(second.pixels), pages[1])


def test_signed_pixels_are_no_png(tmp_path):
    with pytest.raises(ValueError, match="must be uint8, uint16 of shape"):
        images.write_image(tmp_path / "a.png", np.zeros((2, 2, 1), np.int16), 255)
    assert not list(tmp_path.iterdir())


def test_results_beyond_a_signed_sample_are_clipped():
    image = images.Image(np.zeros((1, 1, 1), np.uint16), 65535, offset=-22922)
    assert image.to_file_values(np.array([0, 22922, 65535], np.uint16)).tolist() == [-22922, 0, 32767]


def test_the_equal_channels_of_real_ultrasound_make_one(shared_data):
    for path in sorted((shared_data / "us").iterdir()):
        stored = np.asarray(PIL.Image.open(path))
        np.testing.assert_array_equal(only(path).pixels[..., 0], stored[..., 0])
        assert np.ptp(stored, axis=2).max() == 0


def test_real_chest_x_rays_are_gray_also_where_they_are_rgba(shared_data):
    found = set()
    for path in sorted((shared_data / "ChestX-ray14" / "images").glob("*.png")):
        with PIL.Image.open(path) as image:
            mode = image.mode
        if mode not in found:
            found.add(mode)
            assert only(path).pixels.shape == (1024, 1024, 1)
    assert {"L", "RGBA"} <= found
