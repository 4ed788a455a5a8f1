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

import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import generate_fragments, generate_frames, parse_basic_offsets
from pydicom.pixels import convert_color_space, get_decoder
from pydicom.pixels.utils import get_expected_length

from tfmisr.edge import codestreams, decoders
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import Frames

_YBR = ("YBR_FULL", "YBR_FULL_422")
_OF_PIXELS = ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue", "PixelPaddingRangeLimit")


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


def _check_length(ds, count):
    """Raises unless the length fits: some add a few bytes, a whole row more means that the header is wrong."""
    expected, row = get_expected_length(ds), ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8
    length = len(ds.PixelData)
    if expected <= length < expected + max(row, 2):
        return
    frame = expected // count
    if length > expected and frame and length // frame > count:
        _refuse_count(length // frame, count)
    raise InputError(f"Pixel Data (7FE0,0010) must have {expected} bytes, not {length}: it cannot be decoded")


def _refuse_count(found, count):
    frames = "frame" if found == 1 else "frames"
    raise InputError(
        f"Pixel Data (7FE0,0010) holds {found} {frames}, Number of Frames (0028,0008) says {count}; correct the file"
    )


def _plain(ds) -> Iterator[np.ndarray]:
    """Yields frames of native and run-length data, which the header alone describes."""
    decoder = get_decoder(ds.file_meta.TransferSyntaxUID)
    options = {"decoding_plugin": "pydicom"} if ds.file_meta.TransferSyntaxUID.is_encapsulated else {}
    # Without Number of Frames pydicom takes one frame; it has been counted already.
    for frame, _ in _named(decoder.iter_array(ds, raw=True, allow_excess_frames=False, **options)):
        yield _as_rgb(frame, ds) if frame.ndim == 3 and ds.PhotometricInterpretation in _YBR else frame


def _named(frames) -> Iterator:
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


def _as_rgb(frame, ds):
    if frame.dtype != np.uint8:
        kind = f"Photometric Interpretation (0028,0004) {ds.PhotometricInterpretation}"
        raise InputError(f"{kind} of more than 8 bits is not supported; save the image as RGB")
    return convert_color_space(frame, "YBR_FULL", "RGB")


class _Compressed:
    """The frames of encapsulated pixel data (PS3.5 A.4), told apart by their content."""

    def __init__(self, ds, count):
        self.ds, self.count, self.syntax = ds, count, ds.file_meta.TransferSyntaxUID
        self._starts = [codestreams.starts(fragment, self.syntax) for fragment in self._fragments()]
        self.headers = []
        found = 0
        for frame in self:
            found += codestreams.images_in(frame, self.syntax)
            header = codestreams.check(frame, self.syntax, ds) if found <= count else None
            if header is not None and header not in self.headers:
                self.headers.append(header)
        if found != count:
            _refuse_count(found, count)

    def _fragments(self):
        buffer = io.BytesIO(self.ds.PixelData)
        parse_basic_offsets(buffer)
        return generate_fragments(buffer)

    def __iter__(self) -> Iterator[bytes]:
        if not self._starts or not self._starts[0]:  # a codestream with something in front
            yield from generate_frames(self.ds.PixelData, number_of_frames=self.count)
            return
        parts = []
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

    def _is_ybr(self, frame, header):
        if header.color is not None:
            return header.color == "YBR"
        labelled = self.ds.PhotometricInterpretation in _YBR
        return labelled and not (self.syntax in decoders.JPEG_2000 and codestreams.is_color_transformed(frame))


def _described_by_codestream(ds, compressed):
    precision = max(header.precision for header in compressed.headers)
    if len({header.signed for header in compressed.headers}) > 1:
        raise InputError("frames of Pixel Data (7FE0,0010) differ in their sign")
    if compressed.headers[0].signed and compressed.headers[0].components == 3:
        raise InputError("the JPEG 2000 codestream in Pixel Data (7FE0,0010) has a sign: colors have none")
    meaning = _Meaning(ds, precision, compressed.headers[0].signed, compressed.syntax)
    frames = Frames(compressed.count, lambda: _named(compressed.decoded()))
    if meaning.is_open:
        meaning = meaning.settled(frames)
    remarks, corrections = _remarks(ds, meaning), _corrections(ds, meaning)
    frames = Frames(compressed.count, lambda found=frames: map(meaning, found))
    return StoredImage(_with(ds, corrections), frames, remarks, corrections)


@dataclasses.dataclass(frozen=True)
class _Meaning:
    """What the integers of a codestream stand for.

    Attributes:
        ds: The data set, whose header may be wrong.
        precision: Bits of a sample of the codestream.
        codestream_signed: Sign of a JPEG 2000 codestream, else `None`.
        bits: Bits that are stored: the header's, or more.
        signed: Sign of the values.
    """

    ds: pydicom.Dataset
    precision: int
    codestream_signed: bool | None
    syntax: uid.UID
    bits: int = 0
    signed: bool = False

    def __post_init__(self):
        object.__setattr__(self, "bits", self.bits or self.ds.BitsStored)
        object.__setattr__(self, "signed", self.signed or bool(self.ds.PixelRepresentation))

    @property
    def is_open(self) -> bool:
        """Whether only the values can tell whether the header is right."""
        unlabelled = bool(self.codestream_signed) and not self.ds.PixelRepresentation
        return self.precision > self.ds.BitsStored or unlabelled or self._is_ambiguous

    @property
    def _is_ambiguous(self):
        """JPEG-LS of fewer bits than a signed header: DCMTK reads positive values, pydicom two's complement."""
        return (
            self.precision < self.ds.BitsStored
            and bool(self.ds.PixelRepresentation)
            and self.syntax in uid.JPEGLSTransferSyntaxes
        )

    def settled(self, frames) -> "_Meaning":
        """Returns what all values agree with."""
        signed, deep = self.signed, False
        for frame in frames:
            values = frame.astype(np.int32) if self.codestream_signed else self._without_overlays(frame)
            if self.codestream_signed and not _overlay_bits(self.ds):
                signed |= int(values.min(initial=0)) < 0
                deep |= not _fits(values, self.ds.BitsStored, signed)
            elif self._is_ambiguous and int(values.max(initial=0)) >= 1 << (self.precision - 1):
                raise InputError(
                    f"the JPEG-LS codestream has {self.precision} bits without a sign, Bits Stored (0028,0101) says "
                    f"{self.ds.BitsStored}, signed: whether high values are negative cannot be told"
                )
            elif not _is_pattern(values, self.ds.BitsStored, self._width, signed):
                deep = True
        bits = self.precision if deep else self.ds.BitsStored
        return dataclasses.replace(self, bits=bits, signed=signed)

    @property
    def _width(self):
        """Bits of the pattern that a sample is decoded to."""
        return max(self.precision, self.ds.BitsAllocated if self.codestream_signed else self.ds.BitsStored)

    def _without_overlays(self, frame):
        return frame.astype(np.int64) & ((1 << self._width) - 1) & ~_overlay_bits(self.ds)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Returns stored values."""
        kind = np.dtype(f"{'i' if self.signed else 'u'}{1 if self.bits <= 8 else 2}")
        if not _overlay_bits(self.ds) and (self.codestream_signed or not self.signed):
            return frame.astype(kind, copy=False)
        values = self._without_overlays(frame)
        if self.signed and self.precision >= self.ds.BitsStored:  # two's complement, if it has the bits for it
            values = (values & ((1 << self.bits) - 1)) - ((values >> (self.bits - 1) & 1) << self.bits)
        return values.astype(kind)


def _overlay_bits(ds) -> int:
    """Returns the bits above the stored ones that overlay groups declare as theirs (PS3.3 C.9.2.1.1)."""
    groups = range(0x6000, 0x6020, 2)
    places = [ds[group, 0x0102].value for group in groups if (group, 0x0102) in ds]
    return sum({1 << place for place in places if isinstance(place, int) and ds.BitsStored <= place < 16})


def _fits(values, bits, signed):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return values.size == 0 or (low <= int(values.min()) and int(values.max()) <= high)


def _is_pattern(values, bits, width, signed):
    """Whether all values are `bits` bits, with zeros or, if they are signed, copies of the sign above them."""
    within = values < (1 << bits)
    if signed:
        within |= (values >> (bits - 1)) == (1 << (width - bits + 1)) - 1
    return bool(within.all())


def _remarks(ds, meaning):
    remarks = []
    if meaning.bits != ds.BitsStored:
        remarks.append(
            f"Bits Stored (0028,0101) {ds.BitsStored} raised to {meaning.bits}, the precision of the codestream, "
            "whose values need it"
        )
    if meaning.signed != bool(ds.PixelRepresentation):
        remarks.append("Pixel Representation (0028,0103) set to signed, as the JPEG 2000 codestream is")
    return tuple(remarks)


def _corrections(ds, meaning):
    """Returns the elements that have to say something else for the header to agree with the values."""
    wanted = {}
    if meaning.bits != ds.BitsStored:
        allocated = max(ds.BitsAllocated, 8 if meaning.bits <= 8 else 16)
        wanted |= {"BitsAllocated": allocated, "BitsStored": meaning.bits, "HighBit": meaning.bits - 1}
    elements = [pydicom.DataElement(keyword, "US", value) for keyword, value in wanted.items()]
    if meaning.signed != bool(ds.PixelRepresentation):
        elements.append(pydicom.DataElement("PixelRepresentation", "US", int(meaning.signed)))
        elements += _reinterpreted(ds)
    return tuple(elements)


def _reinterpreted(ds):
    """Returns elements whose VR follows Pixel Representation with the other one and the same bits (PS3.5 A.2)."""
    values = {keyword: ds.get(keyword) for keyword in _OF_PIXELS}
    return [
        pydicom.DataElement(keyword, "SS", value - 65536 if value > 32767 else value)
        for keyword, value in values.items()
        if isinstance(value, int)
    ]


def _with(ds, elements):
    """Returns a data set with other elements; the given one is left as it is."""
    if not elements:
        return ds
    changed = pydicom.Dataset(dict(ds._dict))
    changed.file_meta = ds.file_meta
    changed.set_original_encoding(*ds.original_encoding, ds.original_character_set)
    for element in elements:
        changed[element.tag] = element
    return changed
