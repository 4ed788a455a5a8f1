"""Pixel Data (7FE0,0010) as stored values: the one reader of training, viewing and derived images.

A codestream knows its samples better than the header beside it, which whoever compressed it may have left as it was.
Where the two disagree:

* Bits: values that need more than Bits Stored (0028,0101) are kept, and Bits Stored is raised to the precision of the
  codestream. Bits that an overlay group (60xx) declares as its own are cut off instead, and so are unused bits of
  native and run-length data, which nothing else describes (PS3.5 8.1.1).
* Sign: that of a JPEG 2000 codestream counts. One exception: an unsigned codestream of Bits Stored bits below a signed
  header holds two's complement, as scanners write it. JPEG and JPEG-LS have no sign: the header's counts.
* Color: the markers of a JPEG count, by libjpeg's rules; where there are none, Photometric Interpretation (0028,0004).
* Frames: other than Number of Frames (0028,0008) says are refused.
"""

import dataclasses
import io
from collections.abc import Iterator
from typing import Any, NoReturn

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
        ds: The data set; its description of the pixels agrees with the frames.
        frames: Integer arrays (rows, columns), or (rows, columns, 3) in RGB; a palette is not applied.
        remarks: Sentences on what had to be corrected.
        corrections: The elements that are not the given data set's.
    """

    ds: pydicom.Dataset
    frames: Frames
    remarks: tuple[str, ...] = ()
    corrections: tuple[pydicom.DataElement, ...] = ()


def read(ds: pydicom.Dataset) -> StoredImage:
    """Returns the stored values of a data set, which is left as it is.

    Args:
        ds: With its pixel data and file meta group; its transfer syntax and photometric interpretation are supported.

    Raises:
        InputError: Pixel data and header do not fit together, or pixels cannot be decoded. While frames are iterated
            over, too.
    """
    count = int(ds.get("NumberOfFrames") or 1)
    if "PixelData" not in ds or not ds.PixelData:
        raise InputError("Pixel Data (7FE0,0010) is missing: it cannot be decoded")
    syntax = ds.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        _check_length(ds, count)
        return StoredImage(ds, Frames(count, lambda: _plain(ds)))
    compressed = _Compressed(ds, count)
    if syntax == uid.RLELossless:
        return StoredImage(ds, Frames(count, lambda: _plain(ds)))
    return _described_by_codestream(ds, compressed)


def _check_length(ds: pydicom.Dataset, count: int) -> None:
    """Raises unless the length fits: some add a few bytes, a whole row more means that the header is wrong."""
    expected, row = get_expected_length(ds), ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8
    length = len(ds.PixelData)
    if expected <= length < expected + max(row, 2):
        return
    frame = expected // count
    if length > expected and frame and length // frame > count:
        _refuse_count(length // frame, count)
    raise InputError(f"Pixel Data (7FE0,0010) must have {expected} bytes, not {length}: it cannot be decoded")


def _refuse_count(found: int, count: int) -> NoReturn:
    frames = "frame" if found == 1 else "frames"
    raise InputError(
        f"Pixel Data (7FE0,0010) holds {found} {frames}, Number of Frames (0028,0008) says {count}; correct the file"
    )


def _plain(ds: pydicom.Dataset) -> Iterator[np.ndarray]:
    """Yields frames of native and run-length data, which the header alone describes."""
    decoder = get_decoder(ds.file_meta.TransferSyntaxUID)
    options: dict[str, Any] = {"decoding_plugin": "pydicom"} if ds.file_meta.TransferSyntaxUID.is_encapsulated else {}
    # Without Number of Frames pydicom takes one frame; it has been counted already.
    for frame, _ in _named(decoder.iter_array(ds, raw=True, allow_excess_frames=False, **options)):
        yield _as_rgb(frame, ds) if frame.ndim == 3 and ds.PhotometricInterpretation in _YBR else frame


def _named(frames: Iterator) -> Iterator:
    """Yields what an iterator yields; what a broken codestream makes a decoder raise becomes an `InputError`."""
    index = 0
    while True:
        index += 1
        try:
            frame = next(frames, None)
        except (InputError, MemoryError):
            raise
        except Exception as error:
            raise InputError(
                f"frame {index} of Pixel Data (7FE0,0010) cannot be decoded ({type(error).__name__})"
            ) from None
        if frame is None:
            return
        yield frame


def _as_rgb(frame: np.ndarray, ds: pydicom.Dataset) -> np.ndarray:
    if frame.dtype != np.uint8:
        kind = f"Photometric Interpretation (0028,0004) {ds.PhotometricInterpretation}"
        raise InputError(f"{kind} of more than 8 bits is not supported; save the image as RGB")
    return convert_color_space(frame, "YBR_FULL", "RGB")


class _Compressed:
    """The frames of encapsulated pixel data (PS3.5 A.4), told apart by their content."""

    def __init__(self, ds: pydicom.Dataset, count: int) -> None:
        self.ds, self.count, self.syntax = ds, count, ds.file_meta.TransferSyntaxUID
        self._starts = [codestreams.starts(fragment, self.syntax) for fragment in self._fragments()]
        self.headers: list[codestreams.Codestream] = []
        found = 0
        for frame in self:
            found += codestreams.images_in(frame, self.syntax)
            header = codestreams.check(frame, self.syntax, ds) if found <= count else None
            if header is not None and header not in self.headers:
                self.headers.append(header)
        if found != count:
            _refuse_count(found, count)

    def _fragments(self) -> Iterator[bytes]:
        buffer = io.BytesIO(self.ds.PixelData)
        parse_basic_offsets(buffer)
        return generate_fragments(buffer)

    def __iter__(self) -> Iterator[bytes]:
        if not self._starts or not self._starts[0]:  # a codestream with something in front
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
        """Yields frames as they are coded, gray or RGB."""
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
    meaning = codestream_values.Meaning(ds, precision, compressed.headers[0].signed, compressed.syntax)
    coded = Frames(compressed.count, lambda: _named(compressed.decoded()))
    if meaning.is_open:
        meaning = meaning.settled(coded)
    corrections = codestream_values.corrections(meaning)
    frames = Frames(compressed.count, lambda: map(meaning, coded))
    return StoredImage(_with(ds, corrections), frames, codestream_values.remarks(meaning), corrections)


def _with(ds: pydicom.Dataset, elements: tuple[pydicom.DataElement, ...]) -> pydicom.Dataset:
    """Returns a data set with other elements; the given one is left as it is."""
    if not elements:
        return ds
    changed = pydicom.Dataset(dict(ds._dict))
    changed.file_meta = ds.file_meta
    implicit, little = ds.original_encoding
    changed.set_original_encoding(implicit, little, ds.original_character_set)
    for element in elements:
        changed[element.tag] = element
    return changed
