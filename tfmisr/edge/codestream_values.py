"""Resolves conflicts between a compressed codestream and the Image Pixel Module about bit depth and sign.

`stored_values` states the rules.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
import pydicom
from pydicom import uid

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError

_PIXEL_VALUE_KEYWORDS = (
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
)


@dataclasses.dataclass(frozen=True)
class SampleInterpretation:
    """How the decoded integers of a codestream are to be interpreted.

    Attributes:
        ds: The Data Set, whose Image Pixel Module may be wrong.
        precision: Sample precision of the codestream in bits.
        codestream_signed: Whether a JPEG 2000 codestream is signed; `None` for other codestreams.
        syntax: Transfer Syntax UID.
        bits: Bits stored: those of Bits Stored (0028,0101), or more.
        signed: Whether the values are signed.
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
    def needs_pixel_values(self) -> bool:
        """Whether the pixel values are needed to decide if the Data Set describes them correctly."""
        unlabelled = bool(self.codestream_signed) and not self.ds.PixelRepresentation
        return self.precision > self.ds.BitsStored or unlabelled or self._is_ambiguous

    @property
    def _is_ambiguous(self) -> bool:
        """JPEG-LS with fewer bits than a signed Data Set: DCMTK decodes positive values, pydicom two's complement."""
        return (
            self.precision < self.ds.BitsStored
            and bool(self.ds.PixelRepresentation)
            and self.syntax in uid.JPEGLSTransferSyntaxes
        )

    def resolved(self, frames: Iterable[np.ndarray]) -> "SampleInterpretation":
        """Returns the interpretation that fits the values of all frames.

        Raises:
            InputError: The sign of a JPEG-LS codestream is ambiguous.
        """
        signed, exceeds = self.signed, False
        for frame in frames:
            values = frame.astype(np.int32) if self.codestream_signed else self._without_overlays(frame)
            if self.codestream_signed and not _overlay_bits(self.ds):
                signed |= int(values.min(initial=0)) < 0
                exceeds |= not _fits(values, self.ds.BitsStored, signed)
            elif self._is_ambiguous and int(values.max(initial=0)) >= 1 << (self.precision - 1):
                raise InputError(
                    f"the JPEG-LS codestream has {self.precision} bits without a sign, Bits Stored (0028,0101) is "
                    f"{self.ds.BitsStored}, signed: whether high values are negative is ambiguous"
                )
            elif not _is_extension(values, self.ds.BitsStored, self._width, signed):
                exceeds = True
        bits = self.precision if exceeds else self.ds.BitsStored
        return dataclasses.replace(self, bits=bits, signed=signed)

    @property
    def _width(self) -> int:
        """Number of bits of a decoded sample."""
        return max(self.precision, self.ds.BitsAllocated if self.codestream_signed else self.ds.BitsStored)

    def _without_overlays(self, frame: np.ndarray) -> np.ndarray:
        return frame.astype(np.int64) & ((1 << self._width) - 1) & ~_overlay_bits(self.ds)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Returns stored values."""
        dtype = np.dtype(f"{'i' if self.signed else 'u'}{1 if self.bits <= 8 else 2}")
        if not _overlay_bits(self.ds) and (self.codestream_signed or not self.signed):
            return frame.astype(dtype, copy=False)
        values = self._without_overlays(frame)
        if self.signed and self.precision >= self.ds.BitsStored:  # two's complement, if it has the bits for it
            values = (values & ((1 << self.bits) - 1)) - ((values >> (self.bits - 1) & 1) << self.bits)
        return values.astype(dtype)


def _overlay_bits(ds: pydicom.Dataset) -> int:
    """Returns a mask of the bits above Bits Stored that hold embedded overlays (60xx,0102) (PS3.3 C.9.2.1.1)."""
    groups = range(0x6000, 0x6020, 2)
    positions = [ds[group, 0x0102].value for group in groups if (group, 0x0102) in ds]
    return sum({1 << bit for bit in positions if isinstance(bit, int) and ds.BitsStored <= bit < 16})


def _fits(values: np.ndarray, bits: int, signed: bool) -> bool:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return values.size == 0 or (low <= int(values.min()) and int(values.max()) <= high)


def _is_extension(values: np.ndarray, bits: int, width: int, signed: bool) -> bool:
    """Whether all values have `bits` bits, zero-extended or, if signed, sign-extended to `width` bits."""
    extended = values < (1 << bits)
    if signed:
        extended |= (values >> (bits - 1)) == (1 << (width - bits + 1)) - 1
    return bool(extended.all())


def remarks(interpretation: SampleInterpretation) -> tuple[str, ...]:
    """Returns a sentence for each Attribute that disagrees with the codestream."""
    ds, sentences = interpretation.ds, []
    if interpretation.bits != ds.BitsStored:
        sentences.append(
            f"Bits Stored (0028,0101) {ds.BitsStored} raised to {interpretation.bits}, the precision of the "
            "codestream, whose values need it"
        )
    if interpretation.signed != bool(ds.PixelRepresentation):
        sentences.append("Pixel Representation (0028,0103) set to signed, as the JPEG 2000 codestream is")
    return tuple(sentences)


def corrections(interpretation: SampleInterpretation) -> tuple[pydicom.DataElement, ...]:
    """Returns the Data Elements that must change so that the Image Pixel Module agrees with the values."""
    ds = interpretation.ds
    changes: dict[str, int] = {}
    if interpretation.bits != ds.BitsStored:
        allocated = max(ds.BitsAllocated, 8 if interpretation.bits <= 8 else 16)
        changes |= {"BitsAllocated": allocated, "BitsStored": interpretation.bits, "HighBit": interpretation.bits - 1}
    elements = [pydicom.DataElement(keyword, "US", value) for keyword, value in changes.items()]
    if interpretation.signed != bool(ds.PixelRepresentation):
        elements.append(pydicom.DataElement("PixelRepresentation", "US", int(interpretation.signed)))
        elements += _reinterpreted(ds)
    return tuple(elements)


def _reinterpreted(ds: pydicom.Dataset) -> list[pydicom.DataElement]:
    """Returns the Data Elements whose VR depends on Pixel Representation, as SS with the same bits (PS3.5 A.2)."""
    values = {keyword: ds.get(keyword) for keyword in _PIXEL_VALUE_KEYWORDS}
    return [
        pydicom.DataElement(keyword, "SS", value - 65536 if value > 32767 else value)
        for keyword, value in values.items()
        if isinstance(value, int)
    ]


__getattr__ = renamed(__name__, Meaning="SampleInterpretation")
