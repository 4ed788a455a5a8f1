"""Decodes Pixel Data (7FE0,0010) to stored values, for training, viewing and derived images alike.

A codestream is more reliable than the Image Pixel Module, which software that compresses an image may leave unchanged.
Where the two disagree:

* Bits: values that need more than Bits Stored (0028,0101) are kept, and Bits Stored is raised to the precision of the
  codestream. Bits that embedded overlays (60xx) occupy are masked instead, as are unused bits of native and RLE data,
  which have no other description (PS3.5 8.1.1).
* Sign: that of a JPEG 2000 codestream is used, with one exception: an unsigned codestream with Bits Stored bits in a
  signed Data Set contains two's complement, as scanners write it. JPEG and JPEG-LS are unsigned: Pixel Representation
  (0028,0103) is used.
* Color: the markers of a JPEG are used, by libjpeg's rules, otherwise Photometric Interpretation (0028,0004).
* Frames: a number that differs from Number of Frames (0028,0008) is an error.
"""

import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import generate_fragments, generate_frames, parse_basic_offsets
from pydicom.pixels import convert_color_space, get_decoder
from pydicom.pixels.utils import get_expected_length

from tfmisr.edge import codestream_values, codestreams, decoders
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import Frames

_YBR = ("YBR_FULL", "YBR_FULL_422")


@dataclasses.dataclass(frozen=True)
class StoredImage:
    """The stored values of an image.

    Attributes:
        ds: The Data Set, with an Image Pixel Module that agrees with the frames.
        frames: Integer arrays (rows, columns), or (rows, columns, 3) in RGB; a palette is not applied.
        remarks: Sentences on what was corrected.
        corrections: The Data Elements that differ from those of the original Data Set.
    """

    ds: pydicom.Dataset
    frames: Frames
    remarks: tuple[str, ...] = ()
    corrections: tuple[pydicom.DataElement, ...] = ()


def read(ds: pydicom.Dataset) -> StoredImage:
    """Returns the stored values of a Data Set, which is not changed.

    Args:
        ds: With Pixel Data and `file_meta`; Transfer Syntax and Photometric Interpretation are supported.

    Raises:
        InputError: Pixel Data is inconsistent with the Data Set, or cannot be decoded; also raised while frames are
            iterated over.
    """
    count = int(ds.get("NumberOfFrames") or 1)
    if "PixelData" not in ds or not ds.PixelData:
        raise InputError("Pixel Data (7FE0,0010) is missing: it cannot be decoded")
    syntax = ds.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        if reason := length_mismatch(ds):
            raise InputError(reason)
        return StoredImage(ds, Frames(count, lambda: _decode_with_pydicom(ds)))
    compressed = _Compressed(ds, count)
    if syntax == uid.RLELossless:
        return StoredImage(ds, Frames(count, lambda: _decode_with_pydicom(ds)))
    return _described_by_codestream(ds, compressed)


def length_mismatch(ds: pydicom.Dataset) -> str | None:
    """Returns why the length of native Pixel Data does not fit the Image Pixel Module, `None` if it does.

    Some vendors append a few bytes; an additional row or more means that the Attributes are wrong.
    """
    count = int(ds.get("NumberOfFrames") or 1)
    expected, row = get_expected_length(ds), ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8
    length = len(ds.PixelData)
    if expected <= length < expected + max(row, 2):
        return None
    size = f"{ds.Columns} Columns (0028,0011) and {ds.Rows} Rows (0028,0010)"
    frame = expected // count
    if length > expected and frame and length // frame > count:
        return _count_mismatch(length // frame, count, f" of {size}")
    return f"Pixel Data (7FE0,0010) must have {int(expected)} bytes for {size}, not {length}: it cannot be decoded"


def _count_mismatch(stored: int, count: int, size: str = "") -> str:
    frames = "frame" if stored == 1 else "frames"
    stated = f"Number of Frames (0028,0008) is {count}"
    return f"Pixel Data (7FE0,0010) holds {stored} {frames}{size}, but {stated}; correct the file"


def _decode_with_pydicom(ds: pydicom.Dataset) -> Iterator[np.ndarray]:
    """Yields frames of native and RLE data, which only the Image Pixel Module describes."""
    decoder = get_decoder(ds.file_meta.TransferSyntaxUID)
    options: dict[str, Any] = {"decoding_plugin": "pydicom"} if ds.file_meta.TransferSyntaxUID.is_encapsulated else {}
    # Without Number of Frames pydicom decodes one frame; the number has been checked already.
    for frame, _ in _with_input_errors(decoder.iter_array(ds, raw=True, allow_excess_frames=False, **options)):
        yield _as_rgb(frame, ds) if frame.ndim == 3 and ds.PhotometricInterpretation in _YBR else frame


def _with_input_errors(frames: Iterator) -> Iterator:
    """Yields frames; turns any exception of a decoder into an `InputError` that names the frame."""
    index = 0
    while True:
        index += 1
        try:
            frame = next(frames, None)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001
            raise InputError(
                f"frame {index} of Pixel Data (7FE0,0010) cannot be decoded ({type(error).__name__})"
            ) from None
        if frame is None:
            return
        yield frame


def _as_rgb(frame: np.ndarray, ds: pydicom.Dataset) -> np.ndarray:
    if frame.dtype != np.uint8:
        name = f"Photometric Interpretation (0028,0004) {ds.PhotometricInterpretation}"
        raise InputError(f"{name} of more than 8 bits is not supported; save the image as RGB")
    return convert_color_space(frame, "YBR_FULL", "RGB")


class _Compressed:
    """The frames of encapsulated Pixel Data (PS3.5 A.4), delimited by their content."""

    def __init__(self, ds: pydicom.Dataset, count: int) -> None:
        self.ds, self.count, self.syntax = ds, count, ds.file_meta.TransferSyntaxUID
        self._starts = [codestreams.starts_frame(fragment, self.syntax) for fragment in self._fragments()]
        self.headers: list[codestreams.Codestream] = []
        images = 0
        for frame in self:
            images += codestreams.count_images(frame, self.syntax)
            header = codestreams.check(frame, self.syntax, ds) if images <= count else None
            if header is not None and header not in self.headers:
                self.headers.append(header)
        if images != count:
            raise InputError(_count_mismatch(images, count))

    def _fragments(self) -> Iterator[bytes]:
        buffer = io.BytesIO(self.ds.PixelData)
        parse_basic_offsets(buffer)
        return generate_fragments(buffer)

    def __iter__(self) -> Iterator[bytes]:
        if not self._starts or not self._starts[0]:  # the codestream is preceded by other bytes
            yield from generate_frames(self.ds.PixelData, number_of_frames=self.count)
            return
        parts: list[bytes] = []
        for fragment, first in zip(self._fragments(), self._starts, strict=True):
            if first and parts:
                yield b"".join(parts)
                parts = []
            parts.append(fragment)
        yield b"".join(parts)

    def decoded(self) -> Iterator[np.ndarray]:
        """Yields decoded frames, gray or RGB."""
        for frame in self:
            header = codestreams.parse(frame, self.syntax)
            pixels = decoders.decode(frame, self.syntax, header)
            if header.components == 3 and self._is_ybr(frame, header):
                pixels = _as_rgb(pixels, self.ds)
            yield pixels

    def _is_ybr(self, frame: bytes, header: codestreams.Codestream) -> bool:
        if header.color is not None:
            return header.color == "YBR"
        labelled = self.ds.PhotometricInterpretation in _YBR
        return labelled and not (self.syntax in decoders.JPEG_2000 and codestreams.is_color_transformed(frame))


def _described_by_codestream(ds: pydicom.Dataset, compressed: _Compressed) -> StoredImage:
    precision = max(header.precision for header in compressed.headers)
    if len({header.signed for header in compressed.headers}) > 1:
        raise InputError("frames of Pixel Data (7FE0,0010) differ in their sign")
    if compressed.headers[0].signed and compressed.headers[0].components == 3:
        raise InputError("the JPEG 2000 codestream in Pixel Data (7FE0,0010) has a sign: colors have none")
    signed, syntax = compressed.headers[0].signed, compressed.syntax
    interpretation = codestream_values.SampleInterpretation(ds, precision, signed, syntax)
    coded = Frames(compressed.count, lambda: _with_input_errors(compressed.decoded()))
    if interpretation.needs_pixel_values:
        interpretation = interpretation.resolved(coded)
    corrections = codestream_values.corrections(interpretation)
    frames = Frames(compressed.count, lambda: map(interpretation, coded))
    return StoredImage(_with(ds, corrections), frames, codestream_values.remarks(interpretation), corrections)


def _with(ds: pydicom.Dataset, elements: tuple[pydicom.DataElement, ...]) -> pydicom.Dataset:
    """Returns a shallow copy of a Data Set with some Data Elements replaced."""
    if not elements:
        return ds
    changed = pydicom.Dataset(dict(ds._dict))
    changed.file_meta = ds.file_meta
    implicit, little = ds.original_encoding
    changed.set_original_encoding(implicit, little, ds.original_character_set)
    for element in elements:
        changed[element.tag] = element
    return changed
