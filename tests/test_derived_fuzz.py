"""Broken DICOM files are refused, quickly and in little memory, and leave no output."""

import io
import struct
import time
import tracemalloc

import numpy as np
import pydicom
import pytest
from dicom_sources import WHEN, bicubic, ct, derive, enhanced_ct, product, secondary, smooth, us
from pydicom import uid
from pydicom.datadict import dictionary_description
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import Tag

from tfmisr import dicom_check
from tfmisr.edge import derived, images
from tfmisr.edge.errors import InputError

SECONDS, BYTES = 10, 2**29  # of one file; the largest frame here has 24 x 32 pixels
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x20, 0x5C)


def saved(ds, **options):
    file = io.BytesIO()
    ds.save_as(file, **{"enforce_file_format": True, **options})
    return file.getvalue()


def implicit():
    source = ct()
    source.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    return source


def deflated():
    source = ct()
    source.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    return source


def palette():
    names = ("Red", "Green", "Blue")
    fields = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in names}
    fields |= {f"{name}PaletteColorLookupTableData": np.arange(256, dtype="<u2").tobytes() for name in names}
    pixels = smooth(low=0, high=255, dtype=np.uint8)
    return secondary(pixels, PhotometricInterpretation="PALETTE COLOR", **fields)


def compressed(lossless):
    source = ct(smooth(40, 48))
    source.compress(derived.product.LOSSLESS[lossless], generate_instance_uid=False)
    return source


SEEDS = {
    "explicit": ct,
    "implicit": implicit,
    "deflated": deflated,
    "padding": lambda: ct(PixelPaddingValue=-900, PixelPaddingRangeLimit=-800),
    "color": us,
    "palette": palette,
    "enhanced": enhanced_ct,
    "rle": lambda: compressed("rle"),
    "jpeg_ls": lambda: compressed("jpeg_ls"),
    "jpeg_2000": lambda: compressed("jpeg_2000"),
    "no file meta": ct,
}


def seed_bytes(name):
    content = saved(SEEDS[name]())
    if name == "no file meta":
        length = struct.unpack("<I", content[140:144])[0]
        return content[144 + length :]
    return content


def mutated(content, random):
    """Cuts, flips, overwrites, repeats or removes some bytes; often in the header, where it hurts."""
    content = bytearray(content)
    for _ in range(random.integers(1, 4)):
        end = len(content) if random.random() < 0.4 else min(len(content), 2500)
        place, kind = int(random.integers(0, max(end, 1))), random.integers(0, 6)
        if kind == 0:
            content = content[:place]
        elif kind == 1 and content:
            content[place] ^= 1 << int(random.integers(0, 8))
        elif kind == 2 and content:
            content[place] = int(random.choice(INTERESTING))
        elif kind == 3:
            content[place : place + 4] = struct.pack("<I", int(random.choice([0, 1, 2**16 - 1, 2**31, 2**32 - 1])))
        elif kind == 4:
            content[place:place] = content[place : place + int(random.integers(1, 64))]
        else:
            del content[place : place + int(random.integers(1, 64))]
    return bytes(content)


def survives(content, folder):
    """Whether a file gives a derived image; anything but that or an `InputError` fails the test."""
    (folder / "source").write_bytes(content)
    target = folder / "sr"
    start = time.monotonic()
    tracemalloc.start()
    try:
        derived.write(derived.derive(folder / "source", bicubic(), product(), WHEN), target)
    except InputError as error:
        assert "\n" not in str(error) and "Doe" not in str(error)
        assert sorted(path.name for path in folder.iterdir()) == ["source"]
        return False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < BYTES
        assert time.monotonic() - start < SECONDS
    assert pydicom.dcmread(target).pixel_array is not None
    target.unlink()
    return True


def fuzz(name, folder, count, seed):
    content, random = seed_bytes(name), np.random.default_rng(seed)
    assert survives(content, folder)
    derived_count = sum(survives(mutated(content, random), folder) for _ in range(count))
    assert derived_count < count  # the mutations do bite


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("name", SEEDS)
def test_mutated_files_are_derived_or_refused(tmp_path, name):
    fuzz(name, tmp_path, 30, 1)


@pytest.mark.large
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("name", SEEDS)
def test_thousands_of_mutated_files_are_derived_or_refused(tmp_path, name):
    fuzz(name, tmp_path, 400, 2)


@pytest.mark.parametrize("part", [0, 1, 100, 132, 140, 300, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["explicit", "rle", "enhanced"])
def test_truncated_files_are_refused(tmp_path, name, part):
    content = seed_bytes(name)
    assert not survives(content[: part if isinstance(part, int) else int(part * len(content))], tmp_path)


ABSURD = {
    "Rows": [0, 1, 65535],
    "Columns": [0, 65535],
    "NumberOfFrames": [-1, 2, 2**31 - 1],
    "BitsAllocated": [0, 1, 8, 12, 64],
    "BitsStored": [0, 17, 65535],
    "SamplesPerPixel": [0, 2, 3, 65535],
    "PixelRepresentation": [2, 65535],
    "PixelSpacing": [[0.5], [1, 2, 3]],
    "ImageOrientationPatient": [[1, 0, 0]],
    "ImagePositionPatient": [[0, 0]],
    "PhotometricInterpretation": ["RGB", "YBR_FULL", "PALETTE COLOR", "MONOCHROME9"],
}


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("keyword, value", [(keyword, value) for keyword in ABSURD for value in ABSURD[keyword]])
def test_absurd_sizes_and_descriptions_are_refused(tmp_path, keyword, value):
    source = ct()
    setattr(source, keyword, value)
    message = refusal(saved(source), tmp_path)
    if value == 0 and keyword in ("Rows", "Columns"):
        assert "has no image" in message
    else:
        expected = "BitsStored" if (keyword, value) == ("BitsAllocated", 8) else keyword
        tag = Tag(expected)
        assert f"{dictionary_description(tag)} ({tag.group:04X},{tag.element:04X})" in message
    assert not survives(saved(source), tmp_path)


@pytest.mark.parametrize("syntax", ["rle", "jpeg_ls", "jpeg_2000"])
def test_a_small_compressed_file_that_claims_a_large_image_is_refused(tmp_path, syntax):
    source = compressed(syntax)
    source.Rows = source.Columns = 11000
    assert not survives(saved(source), tmp_path)


def with_frame(syntax, change):
    source = compressed(syntax)
    frame = change(next(generate_frames(source.PixelData, number_of_frames=1)))
    source["PixelData"].value = encapsulate([frame])
    return saved(source)


def refusal(content, folder):
    (folder / "source").write_bytes(content)
    with pytest.raises(InputError) as caught:
        derived.derive(folder / "source", bicubic(), product(), WHEN)
    return str(caught.value)


def test_runs_that_are_longer_than_the_image_are_refused(tmp_path):
    runs = b"\x81\0" * 300_000  # 128 bytes for two
    bomb = struct.pack("<16I", 2, 64, 64 + len(runs), *[0] * 13) + 2 * runs
    assert "longer than the image" in refusal(with_frame("rle", lambda frame: bomb), tmp_path)


@pytest.mark.parametrize("syntax", ["jpeg_ls", "jpeg_2000"])
def test_frame_larger_than_the_header_is_refused_by_reader_and_checker(tmp_path, syntax):
    source = compressed(syntax)
    source.Rows -= 1
    (tmp_path / "source").write_bytes(saved(source))
    for read in (lambda path: images.read_images(path), lambda path: dicom_check.violations(path, path)):
        with pytest.raises(InputError, match="40 rows and 48 columns, the header 39 and 48"):
            read(tmp_path / "source")


def test_jpeg_2000_in_boxes_cannot_hide_its_size(tmp_path):
    def boxed(frame):
        large = frame[:8] + struct.pack(">2I", 20000, 20000) + frame[16:]
        return bytes(5000) + frame[:40] + large

    assert "20000 rows and 20000 columns" in refusal(with_frame("jpeg_2000", boxed), tmp_path)


def test_compressed_frame_that_does_not_tell_its_size_is_refused(tmp_path):
    for syntax in ("jpeg_ls", "jpeg_2000"):
        content = with_frame(syntax, lambda frame: frame[:2] + bytes(2) + frame[2:])
        assert "does not state its size" in refusal(content, tmp_path)


def test_jpeg_ls_frame_that_was_cut_off_is_refused_at_once(tmp_path):
    for share in (0.3, 0.7, 0.99):
        content = with_frame("jpeg_ls", lambda frame, share=share: frame[: int(len(frame) * share)])
        start = time.monotonic()
        assert "is truncated" in refusal(content, tmp_path)  # CharLS looks for its end through 2**31 bits
        assert time.monotonic() - start < 1


def test_jpeg_ls_frame_may_be_padded(tmp_path):
    for end in (b"\0", b"\xff", bytes(6)):  # some writers pad by FF
        assert survives(with_frame("jpeg_ls", lambda frame, end=end: frame + end), tmp_path)


def test_elements_longer_than_the_file_are_refused(tmp_path):
    content = seed_bytes("explicit")
    place = content.index(struct.pack("<HH", 0x7FE0, 0x10) + b"OW")
    for length in (2**31, 2**32 - 2, 2**32 - 1):
        assert not survives(content[: place + 8] + struct.pack("<I", length) + content[place + 12 :], tmp_path)


def test_a_compressed_file_that_was_cut_off_is_called_so(tmp_path):
    content = saved(compressed("jpeg_ls"))
    for lost in (8, 9, 200):  # the delimiter, more than it, a part of the frame
        assert "truncated" in refusal(content[:-lost], tmp_path)


def test_a_delimiter_too_many_is_left_out(tmp_path):
    assert survives(saved(compressed("jpeg_ls")) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), tmp_path)


def test_sequences_within_sequences_without_end_are_refused(tmp_path):
    content = seed_bytes("explicit")
    place = content.index(struct.pack("<HH", 0x0028, 0x0002))
    opened = struct.pack("<HH", 0x0008, 0x1140) + b"SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    assert not survives(content[:place] + 20000 * opened + content[place:], tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 200, b"DICM", bytes(128) + b"DICM", b"%PDF-1.7 not an image", bytes(5000)]
)
def test_what_is_no_dicom_file_is_refused(tmp_path, content):
    assert not survives(content, tmp_path)


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InputError, match="found no file"):
            derived.derive(path, bicubic(), product())


def test_a_broken_private_element_hinders_nothing(tmp_path):
    source = ct()
    source.private_block(0x0029, "ACME", create=True).add_new(0x10, "DS", "1")
    content = saved(source)
    place = content.index(struct.pack("<HH", 0x0029, 0x1010) + b"DS")
    assert survives(content[: place + 8] + b"??" + content[place + 10 :], tmp_path)


def test_a_data_set_without_file_meta_is_refused():
    source = ct()
    del source.file_meta
    with pytest.raises(InputError, match="Transfer Syntax"):
        derive(source)


def test_elements_without_value_are_taken_over(tmp_path):
    source = ct(WindowCenter=None, PatientName="", SliceThickness="")
    source.add_new(Tag(0x0018, 0x0022), "CS", "")
    assert survives(saved(source), tmp_path)
