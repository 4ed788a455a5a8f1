"""What the integers of a codestream stand for, where the header beside it says something else.

The rules on bits and sign are those of `stored_values`.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
import pydicom
from pydicom import uid

from tfmisr.edge.errors import InputError

_OF_PIXELS = ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue", "PixelPaddingRangeLimit")


@dataclasses.dataclass(frozen=True)
class Meaning:
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", self.bits or self.ds.BitsStored)
        object.__setattr__(self, "signed", self.signed or bool(self.ds.PixelRepresentation))

    @property
    def is_open(self) -> bool:
        """Whether only the values can tell whether the header is right."""
        unlabelled = bool(self.codestream_signed) and not self.ds.PixelRepresentation
        return self.precision > self.ds.BitsStored or unlabelled or self._is_ambiguous

    @property
    def _is_ambiguous(self) -> bool:
        """JPEG-LS of fewer bits than a signed header: DCMTK reads positive values, pydicom two's complement."""
        return (
            self.precision < self.ds.BitsStored
            and bool(self.ds.PixelRepresentation)
            and self.syntax in uid.JPEGLSTransferSyntaxes
        )

    def settled(self, frames: Iterable[np.ndarray]) -> "Meaning":
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
    def _width(self) -> int:
        """Bits of the pattern that a sample is decoded to."""
        return max(self.precision, self.ds.BitsAllocated if self.codestream_signed else self.ds.BitsStored)

    def _without_overlays(self, frame: np.ndarray) -> np.ndarray:
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


def _overlay_bits(ds: pydicom.Dataset) -> int:
    """Returns the bits above the stored ones that overlay groups declare as theirs (PS3.3 C.9.2.1.1)."""
    groups = range(0x6000, 0x6020, 2)
    places = [ds[group, 0x0102].value for group in groups if (group, 0x0102) in ds]
    return sum({1 << place for place in places if isinstance(place, int) and ds.BitsStored <= place < 16})


def _fits(values: np.ndarray, bits: int, signed: bool) -> bool:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return values.size == 0 or (low <= int(values.min()) and int(values.max()) <= high)


def _is_pattern(values: np.ndarray, bits: int, width: int, signed: bool) -> bool:
    """Whether all values are `bits` bits, with zeros or, if they are signed, copies of the sign above them."""
    within = values < (1 << bits)
    if signed:
        within |= (values >> (bits - 1)) == (1 << (width - bits + 1)) - 1
    return bool(within.all())


def remarks(meaning: Meaning) -> tuple[str, ...]:
    """Returns sentences on what the header says wrongly."""
    ds, found = meaning.ds, []
    if meaning.bits != ds.BitsStored:
        found.append(
            f"Bits Stored (0028,0101) {ds.BitsStored} raised to {meaning.bits}, the precision of the codestream, "
            "whose values need it"
        )
    if meaning.signed != bool(ds.PixelRepresentation):
        found.append("Pixel Representation (0028,0103) set to signed, as the JPEG 2000 codestream is")
    return tuple(found)


def corrections(meaning: Meaning) -> tuple[pydicom.DataElement, ...]:
    """Returns the elements that have to say something else for the header to agree with the values."""
    ds = meaning.ds
    changes: dict[str, int] = {}
    if meaning.bits != ds.BitsStored:
        allocated = max(ds.BitsAllocated, 8 if meaning.bits <= 8 else 16)
        changes |= {"BitsAllocated": allocated, "BitsStored": meaning.bits, "HighBit": meaning.bits - 1}
    elements = [pydicom.DataElement(keyword, "US", value) for keyword, value in changes.items()]
    if meaning.signed != bool(ds.PixelRepresentation):
        elements.append(pydicom.DataElement("PixelRepresentation", "US", int(meaning.signed)))
        elements += _reinterpreted(ds)
    return tuple(elements)


def _reinterpreted(ds: pydicom.Dataset) -> list[pydicom.DataElement]:
    """Returns elements whose VR follows Pixel Representation with the other one and the same bits (PS3.5 A.2)."""
    values = {keyword: ds.get(keyword) for keyword in _OF_PIXELS}
    return [
        pydicom.DataElement(keyword, "SS", value - 65536 if value > 32767 else value)
        for keyword, value in values.items()
        if isinstance(value, int)
    ]
