"""Palettes: the colors of DCMTK's dcm2pnm, whatever the depth, byte order and length of the tables."""

import shutil
import subprocess

import numpy as np
import PIL.Image
import pytest
from dicom_sources import WHEN, nearest, product, secondary, values
from pydicom import uid

from tfmisr.edge import derived, images, palette
from tfmisr.edge.errors import InputError

NAMES = ("Red", "Green", "Blue")


def with_palette(pixels, entries, bits, first=0, big_endian=False):
    """A Secondary Capture whose tables rise at three rates; 16-bit entries use both bytes."""
    order = ">" if big_endian else "<"
    ds = secondary(pixels, SamplesPerPixel=1, PhotometricInterpretation="PALETTE COLOR", PlanarConfiguration=None)
    for color, (name, step) in enumerate(zip(NAMES, (1, 3, 7), strict=True)):
        table = (np.linspace(0, (1 << bits) - 1, entries).astype(int) * step + 11 * color) % (1 << bits)
        data = table.astype(f"{order}u{bits // 8}").tobytes()
        ds.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [entries % 65536, first, bits])
        ds.add_new(f"{name}PaletteColorLookupTableData", "OW", data + b"\0" * (len(data) % 2))
    if big_endian:
        ds.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
        ds["PixelData"].value = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    return ds


def dcmtk(path):
    """8-bit RGB."""
    if not shutil.which("dcm2pnm"):
        pytest.skip("needs DCMTK (dcm2pnm)")
    subprocess.run(["dcm2pnm", "--write-png", path, path.with_suffix(".png")], check=True, capture_output=True)
    return np.asarray(PIL.Image.open(path.with_suffix(".png")).convert("RGB"))


PALETTES = {
    "8 bits": (256, 8, np.uint8),
    "8 bits, an odd number": (253, 8, np.uint8),
    "8 bits for 12-bit pixels": (4096, 8, np.uint16),
    "16 bits": (256, 16, np.uint8),
    "16 bits for 16-bit pixels": (65536, 16, np.uint16),
}


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("name", PALETTES)
def test_colors_are_those_of_dcmtk(tmp_path, name, big_endian):
    entries, bits, kind = PALETTES[name]
    pixels = np.linspace(0, entries - 1, 40 * 48).round().astype(kind).reshape(40, 48)
    path = tmp_path / "palette.dcm"
    with_palette(pixels, entries, bits, big_endian=big_endian).save_as(path, enforce_file_format=True)
    (image,) = images.read_images(path)
    shown = image.pixels if bits == 8 else image.pixels >> 8
    np.testing.assert_allclose(shown.astype(int), dcmtk(path), atol=bits // 16)  # dcm2pnm rounds 16 bits to 8
    limits = {"mean_limit": None, "p99_limit": None}
    result = derived.derive(path, nearest(), product(2, **limits), WHEN)
    np.testing.assert_array_equal(values(result)[0, ::2, ::2], image.pixels)


def test_pixels_outside_the_table_get_its_ends(tmp_path):
    path = tmp_path / "palette.dcm"
    ds = with_palette(np.arange(40 * 48, dtype=np.uint16).reshape(40, 48), 1000, 8, first=500)
    ds.save_as(path, enforce_file_format=True)
    np.testing.assert_array_equal(images.read_images(path)[0].pixels, dcmtk(path))


def test_tables_that_lack_entries_are_refused_by_name(tmp_path):
    ds = with_palette(np.zeros((40, 48), np.uint8), 256, 16)
    ds.GreenPaletteColorLookupTableData = bytes(6)
    ds.save_as(tmp_path / "palette.dcm", enforce_file_format=True)
    for read in (images.read_images, lambda path: derived.derive(path, nearest(), product(2), WHEN)):
        with pytest.raises(InputError, match=r"Green Palette Color Lookup Table Data \(0028,1202\) has 6 bytes"):
            read(tmp_path / "palette.dcm")


def test_a_segment_that_rises_fills_the_table():
    # PS3.3 C.7.9.2: a discrete segment of one entry, a linear one of 255 to 255
    ds = with_palette(np.arange(256, dtype=np.uint8).reshape(16, 16), 256, 8)
    for name in NAMES:
        del ds[f"{name}PaletteColorLookupTableData"]
        ds.add_new(f"Segmented{name}PaletteColorLookupTableData", "OW", bytes([0, 1, 0, 1, 255, 255]))
    np.testing.assert_array_equal(palette.apply(np.arange(256), ds), np.arange(256)[:, None].repeat(3, axis=1))
