"""TIFF: the same picture whatever the compression, the layout and the libraries installed, or a reason."""

import io
import itertools
import shutil
import struct
import subprocess

import numpy as np
import PIL.Image
import pytest
import tiff_writer
import tifffile

from tfmisr.edge import images, tiff_strips
from tfmisr.edge.errors import InputError

RNG = np.random.default_rng(0)
RGB8 = RNG.integers(0, 256, (37, 41, 3), dtype=np.uint8)
SMOOTH = np.stack([np.add.outer(np.arange(48), np.arange(64)) + 30 * c for c in range(3)], -1).astype(np.uint8)
BILEVEL = RNG.integers(0, 2, (37, 41, 1), dtype=np.uint8)
NO_PREDICTOR = ("none", "packbits")
ZSTD = pytest.param("zstd", marks=pytest.mark.skipif(not tiff_writer.knows("zstd"), reason="an old Pillow"))
needs_libtiff = pytest.mark.skipif(not shutil.which("tiffcp"), reason="libtiff-tools (tiffcp, tiff2rgba) not installed")


def only(path):
    (image,) = images.read_images(path)
    return image


def written(path, samples, bits, photometric, *args, **options):
    tiff_writer.write(path, tiff_writer.page(np.asarray(samples), bits, photometric, *args, **options))
    return path


def noise(bits, kind, channels):
    low, high = (0, 2**bits) if kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    samples = RNG.integers(low, high, (37, 41, channels)).astype(f"{kind}{2 if bits == 16 else 1}")
    samples.flat[:2] = low, high - 1
    return samples


def in_full(samples, bits):
    """What is to be read: signed values count from their lowest, few bits span 0 to 255."""
    values = samples.astype(int)
    return values - values.min() if samples.dtype.kind == "i" else values * (255 // (2**bits - 1) if bits < 8 else 1)


def tiff2rgba(path):
    """libtiff's picture over black: uint8 of shape (height, width, 3)."""
    target = path.with_name("rgba.tif")
    subprocess.run(["tiff2rgba", "-c", "none", path, target], check=True, capture_output=True)
    return tifffile.imread(target)[..., :3].astype(int)


KINDS = [(1, "u"), (2, "u"), (4, "u"), (8, "u"), (16, "u"), (8, "i"), (16, "i")]


@pytest.mark.parametrize("compression", ["none", "lzw", "packbits", "zip", "old zip", "lzma", ZSTD])
@pytest.mark.parametrize("bits, kind", KINDS)
def test_samples_do_not_depend_on_compression_and_layout(tmp_path, compression, bits, kind):
    # Each layout once: tiles or strips, planes, byte order, BigTIFF, predictor, order of bits.
    layouts = [
        {"rows": 10},
        {"rows": 10, "order": ">", "planar": True},
        {"tile": (16, 32), "order": ">", "fill_order": 2},
        {"tile": (16, 32), "planar": True, "big": True},
    ]
    if bits >= 8 and compression not in NO_PREDICTOR:
        layouts += [{"predictor": 2, "order": ">"}, {"predictor": 2, "tile": (16, 32)}]
    for layout, (channels, photometric) in itertools.product(layouts, [(1, 1), (3, 2)]):
        samples = noise(bits, kind, channels)
        image = only(written(tmp_path / "a.tif", samples, bits, photometric, compression, **layout))
        np.testing.assert_array_equal(image.pixels, in_full(samples, bits), str(layout))
        assert image.max_val == 2 ** max(bits, 8) - 1


@pytest.mark.parametrize("compression", ["none", "lzw", "zip", "packbits", ZSTD])
def test_written_by_tifffile_or_pillow_all_are_read_alike(tmp_path, compression):
    # Not our tests' own writer.
    by_tifffile = compression in ("none", "zip")
    pixels = RGB8[..., 0].astype(np.uint16) * 257
    if by_tifffile:
        options = {"compression": None if compression == "none" else "zlib", "predictor": None, "tile": (16, 16)}
        tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    else:
        name = {"lzw": "tiff_lzw"}.get(compression, compression)
        PIL.Image.fromarray(pixels).save(tmp_path / "a.tif", compression=name)
    np.testing.assert_array_equal(only(tmp_path / "a.tif").pixels[..., 0], pixels)


@pytest.mark.parametrize("compression", ["none", "lzw", "packbits", "zip", "g3", "g4"])
@pytest.mark.parametrize("photometric", [0, 1])
def test_bilevel(tmp_path, compression, photometric):
    layouts = [{"rows": 10}, {"tile": (16, 32)}, {"fill_order": 2}]
    for layout in layouts:
        path = written(tmp_path / "a.tif", BILEVEL, 1, photometric, compression, **layout)
        # Pillow writes black-is-zero; a fax codes 0 as white, so the same bits come back.
        expected = BILEVEL * 255 if photometric else 255 - BILEVEL * 255
        np.testing.assert_array_equal(only(path).pixels, expected)


@pytest.mark.parametrize("compression", ["none", "lzw"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_white_is_zero(tmp_path, compression, bits):
    samples = noise(bits, "u", 1)
    path = written(tmp_path / "a.tif", samples, bits, 0, compression)
    np.testing.assert_array_equal(only(path).pixels, 2 ** max(bits, 8) - 1 - in_full(samples, bits))


@pytest.mark.parametrize("compression", ["none", "lzw", "zip"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette(tmp_path, compression, bits):
    samples, colors = noise(bits, "u", 1), RNG.integers(0, 256, (3, 2**bits))
    colors[:, 0] = 200, 100, 50
    for written_as in (colors * 256, colors * 257, colors):  # the last is wrong and common
        path = written(tmp_path / "a.tif", samples, bits, 3, compression, t320=("H", written_as.ravel()))
        np.testing.assert_array_equal(only(path).pixels, colors.T[samples[..., 0]])


ALPHA = np.array([[[200, 100, 50, 255], [200, 100, 50, 51], [200, 100, 50, 0]]], np.uint8)
STORED, MULTIPLIED = [[200, 100, 50]] * 3, [[200, 100, 50], [40, 20, 10], [0, 0, 0]]


@pytest.mark.parametrize("compression", ["none", "lzw", "zip", "webp"])
@pytest.mark.parametrize("meaning, expected", [(0, STORED), (1, STORED), (2, MULTIPLIED)])
def test_extra_sample(tmp_path, compression, meaning, expected):
    path = written(tmp_path / "a.tif", ALPHA, 8, 2, compression, t338=("H", [meaning]))
    assert only(path).pixels.tolist() == [expected]


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("meaning, expected", [(0, STORED), (1, STORED), (2, MULTIPLIED)])
def test_extra_sample_of_16_bits(tmp_path, planar, meaning, expected):
    options = {"planar": planar, "t338": ("H", [meaning])}
    path = written(tmp_path / "a.tif", ALPHA.astype(np.uint16) * 257, 16, 2, "lzw", **options)
    assert (only(path).pixels / 257).tolist() == [expected]


@pytest.mark.parametrize("meaning, expected", [(0, [200, 200]), (1, [200, 200]), (2, [200, 40])])
def test_extra_sample_of_gray(tmp_path, meaning, expected):
    samples = np.array([[[200, 255], [200, 51]]], np.uint8)
    path = written(tmp_path / "a.tif", samples, 8, 1, "lzw", t338=("H", [meaning]))
    assert only(path).pixels.ravel().tolist() == expected


def test_fourth_sample_that_no_tag_explains_is_dropped(tmp_path):
    assert only(written(tmp_path / "a.tif", ALPHA, 8, 2)).pixels.tolist() == [STORED]


def test_alpha_after_a_sample_of_no_meaning_is_found(tmp_path):
    samples = np.insert(ALPHA, 3, 99, axis=2)
    path = written(tmp_path / "a.tif", samples, 8, 2, t338=("H", [0, 2]))
    assert only(path).pixels.tolist() == [MULTIPLIED]


@pytest.mark.parametrize("meaning", [1, 2])
def test_alpha_of_a_palette_is_never_in_its_index(tmp_path, meaning):
    colors = np.zeros((3, 256), int)
    colors[:, 7] = 200 * 257, 100 * 257, 50 * 257
    samples = np.array([[[7, 255], [7, 51], [7, 0]]], np.uint8)
    path = written(tmp_path / "a.tif", samples, 8, 3, t338=("H", [meaning]), t320=("H", colors.ravel()))
    assert only(path).pixels.tolist() == [MULTIPLIED]


@pytest.mark.parametrize("bits", [8, 16])
def test_cmyk_as_pillow_converts_it(tmp_path, bits):
    samples = RNG.integers(0, 256, (20, 30, 4), dtype=np.uint8)
    expected = np.asarray(PIL.Image.fromarray(samples, "CMYK").convert("RGB"), int)
    wide = samples.astype(np.uint16) * 257 if bits == 16 else samples
    pixels = only(written(tmp_path / "a.tif", wide, bits, 5, "lzw")).pixels / (257 if bits == 16 else 1)
    assert np.abs(pixels - expected).max() <= 1


@pytest.mark.parametrize("layout", [{"rows": 16}, {"tile": (32, 16)}])
def test_jpeg_of_gray_and_rgb_equals_pillows_decoding(tmp_path, layout):
    for samples, photometric in ((SMOOTH[..., :1], 1), (SMOOTH, 2)):
        path = written(tmp_path / "a.tif", samples, 8, photometric, "jpeg", **layout)
        np.testing.assert_allclose(only(path).pixels.astype(int), samples, atol=6)
    path = written(tmp_path / "a.tif", SMOOTH, 8, 2, "jpeg", planar=True, **layout)
    np.testing.assert_allclose(only(path).pixels.astype(int), SMOOTH, atol=6)


def test_jpeg_that_pillow_writes_as_ycbcr(tmp_path):
    PIL.Image.fromarray(SMOOTH).convert("YCbCr").save(tmp_path / "a.tif", compression="jpeg", quality=95)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].photometric == 6
    np.testing.assert_allclose(only(tmp_path / "a.tif").pixels.astype(int), SMOOTH, atol=6)


def test_old_style_jpeg_is_still_read(tmp_path):
    stream = io.BytesIO()
    PIL.Image.fromarray(SMOOTH).save(stream, "JPEG", quality=95, subsampling=0)
    page = tiff_writer.page(SMOOTH, 8, 6)
    page["strips"] = [stream.getvalue()]
    page["tags"] |= {259: ("H", [6]), 513: ("I", [8]), 514: ("I", [len(stream.getvalue())])}
    tiff_writer.write(tmp_path / "a.tif", page)
    np.testing.assert_allclose(only(tmp_path / "a.tif").pixels.astype(int), SMOOTH, atol=6)


def ycbcr(rgb):
    """Full-range BT.601, 4:4:4."""
    return np.asarray(PIL.Image.fromarray(rgb).convert("YCbCr"))


@pytest.mark.parametrize("compression", ["none", "lzw", "zip", "packbits"])
@pytest.mark.parametrize("layout", [{"rows": 16}, {"tile": (16, 32)}])
def test_ycbcr_without_jpeg(tmp_path, compression, layout):
    path = written(tmp_path / "a.tif", ycbcr(SMOOTH), 8, 6, compression, t530=("H", [1, 1]), **layout)
    np.testing.assert_allclose(only(path).pixels.astype(int), SMOOTH, atol=3)


def test_subsampled_ycbcr_without_compression(tmp_path):
    # TIFF 6.0 section 21: of 2 x 2 pixels four Y, then Cb, Cr.
    values = ycbcr(np.repeat(np.repeat(SMOOTH[:8, :12], 2, 0), 2, 1)).astype(np.uint8)
    blocks = values.reshape(8, 2, 12, 2, 3).transpose(0, 2, 1, 3, 4)
    coded = np.concatenate([blocks[..., 0].reshape(8, 12, 4), blocks[:, :, 0, 0, 1:]], axis=2)
    page = tiff_writer.page(values, 8, 6, t530=("H", [2, 2]))
    tiff_writer.write(tmp_path / "a.tif", {**page, "strips": [coded.tobytes()]})
    expected = np.repeat(np.repeat(SMOOTH[:8, :12], 2, 0), 2, 1)
    np.testing.assert_allclose(only(tmp_path / "a.tif").pixels.astype(int), expected, atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", ["none", "lzw", "jpeg"])
def test_orientation_is_applied_once(tmp_path, orientation, compression):
    plain = only(written(tmp_path / "plain.tif", SMOOTH[..., :1], 8, 1, compression)).pixels[..., 0]
    image = PIL.Image.fromarray(plain)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(PIL.ImageOps.exif_transpose(image))
    path = written(tmp_path / "a.tif", SMOOTH[..., :1], 8, 1, compression, t274=("H", [orientation]))
    np.testing.assert_array_equal(only(path).pixels[..., 0], expected)


@pytest.mark.parametrize(
    "samples, bits, photometric, options, words",
    [
        (noise(8, "u", 2), 8, 1, {"t338": ("H", [2]), "photometric": 0, "bits": 16}, "alpha channel is supported"),
        (noise(16, "i", 2), 16, 1, {"t338": ("H", [2])}, "alpha channel is supported with unsigned"),
        (noise(8, "u", 5), 8, 5, {"t338": ("H", [1])}, "alpha channel is supported"),
        (noise(8, "u", 5), 8, 2, {}, "5 samples a pixel, some of unspecified meaning, where RGB has 3"),
        (noise(8, "u", 3), 8, 1, {}, "3 samples a pixel, some of unspecified meaning, where gray has 1"),
        (noise(8, "u", 2), 8, 2, {}, "RGB needs 3 samples.*Received: 2 samples"),
        (noise(8, "u", 3), 8, 8, {}, "gray, RGB, palette, YCbCr or CMYK.*Received: cielab"),
        (noise(8, "u", 4), 8, 5, {"t332": ("H", [2])}, "must be CMYK .InkSet 1.*Received: InkSet 2"),
        (noise(8, "u", 1), 8, 3, {}, "palette TIFF without its ColorMap"),
        (noise(8, "i", 1), 8, 3, {}, "signed samples must be gray or RGB"),
        (noise(8, "u", 3), 8, 6, {"planar": True}, "YCbCr TIFF must have three interleaved samples"),
        (noise(16, "u", 3), 16, 6, {}, "YCbCr of 16 bits is not supported; save it as RGB"),
        (noise(8, "u", 1), 8, 1, {"t317": ("H", [2])}, "Predictor .317. 2 with NONE compression and 8 bits"),
        (noise(8, "u", 1), 8, 1, {"t259": ("H", [34712])}, "compression JPEG2000 is not supported; save it with LZW"),
        (noise(8, "u", 1), 8, 1, {"t259": ("H", [61234])}, "compression 61234 is not supported"),
        (noise(16, "u", 1), 16, 1, {"t259": ("H", [7])}, "JPEG compression of 1 samples of 16 bits"),
        (noise(8, "u", 1), 8, 1, {"t259": ("H", [4])}, "takes one sample of 1 bit"),
        (noise(8, "u", 1), 8, 1, {"t339": ("H", [3]), "t258": ("H", [16])}, "Received: float, 16 bits"),
        (noise(8, "u", 3), 8, 2, {"t258": ("H", [5, 6, 5])}, "integers of 8 or 16 bits.*5, 6, 5. bits"),
        (noise(8, "u", 3), 8, 2, {"t339": ("H", [1, 1, 3])}, "several SampleFormats"),
        (noise(8, "u", 1), 8, 1, {"t32997": ("I", [4])}, "must be a flat image"),
        (noise(8, "u", 1), 8, 1, {"t278": ("I", [10])}, "strips or tiles of the TIFF file are missing"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_reason(tmp_path, samples, bits, photometric, options, words):
    bits, photometric = options.pop("bits", bits), options.pop("photometric", photometric)
    samples = samples.astype(np.uint16) if bits == 16 and samples.dtype.itemsize == 1 else samples
    path = written(tmp_path / "a.tif", samples, bits, photometric, **options)
    with pytest.raises(InputError, match=words) as error:
        images.read_images(path)
    assert str(error.value).startswith(f"{path}: ") and str(error.value).count(str(path)) == 1


def test_no_photometric_interpretation_is_refused(tmp_path):
    page = tiff_writer.page(RGB8[..., :1], 8, 1)
    del page["tags"][262]
    tiff_writer.write(tmp_path / "a.tif", page)
    with pytest.raises(InputError, match="PhotometricInterpretation .262.: black and white are undefined"):
        images.read_images(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", ["none", "lzw", "packbits", "zip", "lzma", ZSTD, "webp", "jpeg"])
def test_cut_off_data_is_refused_never_filled(tmp_path, compression):
    page = tiff_writer.page(RGB8, 8, 2, compression)
    page["strips"] = [strip[: len(strip) // 2] for strip in page["strips"]]
    tiff_writer.write(tmp_path / "a.tif", page)
    with pytest.raises(InputError, match=r"a\.tif: the TIFF file is broken or truncated"):
        images.read_images(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", ["g3", "g4"])
def test_fax_beyond_the_end_of_the_file_is_refused(tmp_path, compression):
    page = tiff_writer.page(BILEVEL, 1, 1, compression)
    tiff_writer.write(tmp_path / "a.tif", page)
    counts = struct.pack("<2HI2I", 279, 4, 1, len(page["strips"][0]), 0)[:12]
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content.replace(counts, counts[:8] + struct.pack("<I", 10**6)))
    with pytest.raises(InputError, match="truncated"):
        images.read_images(tmp_path / "a.tif")


@pytest.mark.parametrize("metadata", [{"imagej": True}, {}])
def test_images_without_tags_of_their_own_are_not_left_out(tmp_path, metadata):
    # As ImageJ writes stacks above 4 GB: one directory, then all images.
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 8, 9), np.uint16), truncate=True, **metadata)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages) == 1
    with pytest.raises(InputError, match="5 contiguous images with tags for 1"):
        images.read_images(tmp_path / "a.tif")


def test_pixels_are_not_counted_by_their_bytes(tmp_path, monkeypatch):
    # Pillow refuses images of many pixels, and libtiff is handed bytes as pixels.
    path = written(tmp_path / "a.tif", noise(16, "u", 3), 16, 2, "lzw")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 37 * 41)
    assert only(path).pixels.shape == (37, 41, 3)


def test_strip_of_too_many_pixels_is_told(tmp_path, monkeypatch):
    def bomb(*args, **options):
        raise PIL.Image.DecompressionBombError

    monkeypatch.setattr(tiff_strips, "_by_libtiff", bomb)
    with pytest.raises(InputError, match="a strip of 37 rows is too large to decode; save in strips of fewer rows"):
        only(written(tmp_path / "a.tif", RGB8, 8, 2, "lzw"))


def test_large_pages_are_decoded_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_strips, "_CHUNK_BYTES", 1000)
    for layout in ({"rows": 3}, {"tile": (16, 16)}, {"rows": 3, "planar": True}):
        path = written(tmp_path / "a.tif", RGB8, 8, 2, "lzw", **layout)
        np.testing.assert_array_equal(only(path).pixels, RGB8)


@needs_libtiff
@pytest.mark.parametrize("options", [["lzw"], ["lzw:2"], ["zip:2"], ["zstd:2"], ["lzma"], ["packbits"], ["none"]])
@pytest.mark.parametrize("bits, kind", KINDS)
def test_what_tiffcp_compresses_is_what_was_there(tmp_path, options, bits, kind):
    if (bits < 8 and ":2" in options[0]) or not tiff_writer.knows(options[0].split(":")[0]):
        return
    samples = noise(bits, kind, 1)
    source = written(tmp_path / "a.tif", samples, bits, 1)
    for layout in (["-s", "-r", "7"], ["-t", "-w", "16", "-l", "16", "-B"], ["-8"]):
        command = ["tiffcp", "-c", *options, *layout, source, tmp_path / "b.tif"]
        subprocess.run(command, check=True, capture_output=True)
        np.testing.assert_array_equal(only(tmp_path / "b.tif").pixels, in_full(samples, bits), str(layout))


@needs_libtiff
@pytest.mark.parametrize("options", ["g3:1d", "g3:2d", "g3:2d:fill", "g4", "lzw"])
def test_fax_of_tiffcp(tmp_path, options):
    for photometric in (0, 1):
        source = written(tmp_path / "a.tif", BILEVEL, 1, photometric)
        for layout in (["-r", "7"], ["-f", "lsb2msb"], ["-t", "-w", "32", "-l", "16"]):
            command = ["tiffcp", "-c", options, *layout, source, tmp_path / "b.tif"]
            subprocess.run(command, check=True, capture_output=True)
            np.testing.assert_array_equal(only(tmp_path / "b.tif").pixels, only(source).pixels)


@needs_libtiff
@pytest.mark.parametrize("options", ["jpeg:90", "jpeg:r:90", "webp", "lzw", "none"])
def test_color_of_tiffcp_equals_tiff2rgba(tmp_path, options):
    source = written(tmp_path / "a.tif", SMOOTH, 8, 2)
    for layout in (["-r", "16"], ["-t", "-w", "32", "-l", "16"], ["-p", "separate"]):
        if layout[0] == "-p" and options != "lzw":
            continue
        command = ["tiffcp", "-c", options, *layout, source, tmp_path / "b.tif"]
        subprocess.run(command, check=True, capture_output=True)
        difference = np.abs(only(tmp_path / "b.tif").pixels - tiff2rgba(tmp_path / "b.tif"))
        assert difference.max() <= (2 if "jpeg" in options else 0)


@needs_libtiff
@pytest.mark.parametrize("compression", ["none", "lzw", "zip"])
@pytest.mark.parametrize(
    "photometric, channels, tags",
    [
        (0, 1, {}),
        (1, 1, {}),
        (1, 2, {"t338": ("H", [1])}),
        (2, 4, {"t338": ("H", [0])}),
        (2, 4, {"t338": ("H", [1])}),
        (2, 4, {"t338": ("H", [2])}),
        (2, 4, {}),
        (3, 1, {"t320": ("H", RNG.integers(0, 65536, 768))}),
        (5, 4, {}),
        (6, 3, {"t530": ("H", [1, 1])}),
        (6, 3, {"t530": ("H", [1, 1]), "t532": ("R", [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1])}),
    ],
)
def test_picture_equals_tiff2rgba(tmp_path, compression, photometric, channels, tags):
    samples = noise(8, "u", channels)
    path = written(tmp_path / "a.tif", samples, 8, photometric, compression, rows=10, **tags)
    assert np.abs(only(path).pixels - tiff2rgba(path)).max() <= 1


@needs_libtiff
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 1), (4, 4)])
@pytest.mark.parametrize("compression", ["none", "lzw"])
def test_subsampled_ycbcr_equals_tiff2rgba(tmp_path, subsampling, compression):
    across, down = subsampling
    coded = RNG.integers(0, 256, (48 // down) * (64 // across) * (across * down + 2), dtype=np.uint8)
    page = tiff_writer.page(SMOOTH, 8, 6, compression, t530=("H", subsampling))
    page["strips"] = [tiff_writer.compressed(coded[np.newaxis], compression)]
    tiff_writer.write(tmp_path / "a.tif", page)
    np.testing.assert_array_equal(only(tmp_path / "a.tif").pixels, tiff2rgba(tmp_path / "a.tif"))
