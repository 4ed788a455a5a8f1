"""The producer of a derived image: software, model and user options."""

import dataclasses
import hashlib
import re
import string
import uuid
from collections.abc import Iterable

from pydicom import uid

# uuid5(NAMESPACE_URL, "tfmisr"): 2.25 needs no registration (PS3.5 B.2).
NAMESPACE = uuid.UUID("09d70593-077f-5c21-9afa-dec1ec66f270")
IMPLEMENTATION_CLASS_UID = f"2.25.{NAMESPACE.int}"

CONVENTIONS = ("half_pixel", "top_left", "align_corners")
LOSSLESS = {
    "": uid.ExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg_ls": uid.JPEGLSLossless,
    "jpeg_2000": uid.JPEG2000Lossless,
}

NOT_TESTED = "not tested"  # value of `Product.applicability`
UNKNOWN = " Applicability not tested: whether the guarantee of the half-widths holds is not known."

# Options that change neither pixels nor Attributes are not part of the identity of an instance, nor are the
# intensities and the applicability of one slice part of the identity of its series.
_NOT_IN_KEY = ("intensities", "applicability", "lossless", "burned_in", "force", "mean_limit", "p99_limit")
_LATER = ("consistency", "uncertainty")  # fields that earlier releases did not have
_TEXT_LIMIT = 240  # so that Derivation Description keeps room for the source's own


@dataclasses.dataclass(frozen=True)
class Product:
    """The producer of derived images and its options.

    Attributes:
        name: Name of the software, at most 16 characters.
        version: Version of the software, at most 16 characters.
        model: Name of the network or interpolation, at most 47 characters.
        weights_sha256: SHA-256 of the weights in hexadecimal digits; empty for an interpolation.
        scale: Upsampling factor.
        convention: Sampling grid of the result (D-25), a property of the model: `half_pixel` (the edges of the image
            are fixed), `top_left` (the center of the first pixel is fixed, spacing is divided by the scale) or
            `align_corners` (the centers of the outermost pixels are fixed).
        manufacturer: Manufacturer (0008,0070) of the derived image.
        ai: Whether a network computed the pixels; stated in Series Description and Image Type.
        runtime: Name of the hardware or runtime, if it affects pixels (D-02).
        lossless: Compression of Pixel Data: none if empty, `rle`, `jpeg_ls` or `jpeg_2000`.
        keep_manufacturer: Keep the scanner in the General Equipment Module (D-17).
        overlays: `drop`, or `nearest` to upscale them (D-36).
        burned_in: `warn`, `refuse` or `ignore` where text may be part of the pixels (D-39).
        series_number_offset: Added to Series Number (0020,0011) (D-05).
        force: Upscale images that have already been upscaled (D-07).
        keep_private: Private Data Elements to keep as (group, private creator, last byte of the element), such as
            (0x2005, "Philips MR Imaging DD 001", 0x0E), the scale slope (D-40).
        uid_root: Root of all new UIDs; 2.25 needs no registration.
        research: Set Content Qualification (0018,9004) to RESEARCH (D-18).
        mean_limit: Maximum difference between the means of result and source (D-31), in stored values; for images that
            use more than 12 bits, in 1/4096 of the range used. `None` disables the check.
        p99_limit: Maximum 99th percentile of the difference between the source and the downsampled result, as a
            fraction of the source's range from the 1st to the 99th percentile (D-31). `None` disables the check.
        consistency: Correction that makes the result agree with its source, such as "bicubic, 3 iterations, dead zone
            0.25 levels" (`tfmisr.edge.consistency`); empty without. It changes pixels, and so the identity (D-02).
        intensities: Stored values that map to 0 and 1 for the network, such as "0 to 2047", where they are those of a
            series and not the image's own; set by `derive`. Part of the identity of the instance only (D-02).
        uncertainty: What the half-widths of the result's intervals guarantee, such as `HalfWidthStatement.text`; empty
            without (T-22). Derivation Description states it, and so it is part of the identity (D-02).
        applicability: Why these statements do not apply to the image, such as "unusual: JPEG blocks" or "out of scope,
            forced", or `NOT_TESTED`; empty for an image in scope (T-31). Part of the identity of the instance only
            (D-02, D-04).
    """

    name: str
    version: str
    model: str
    weights_sha256: str
    scale: int
    convention: str = "half_pixel"
    manufacturer: str = "tfmisr"
    ai: bool = True
    runtime: str = ""
    lossless: str = ""
    keep_manufacturer: bool = False
    overlays: str = "drop"
    burned_in: str = "warn"
    series_number_offset: int = 1000
    force: bool = False
    keep_private: tuple[tuple[int, str, int], ...] = ()
    uid_root: str = "2.25"
    research: bool = False
    mean_limit: float | None = 0.5
    p99_limit: float | None = 0.2
    intensities: str = ""
    consistency: str = ""
    uncertainty: str = ""
    applicability: str = ""

    def __post_init__(self) -> None:
        self._check_scale()
        for field, limit in {"name": 16, "version": 16, "model": 47, "manufacturer": 64}.items():
            _check_text(field, getattr(self, field), limit)
        for field in ("uncertainty", "applicability"):
            check_sentence(field, getattr(self, field))
        _check_choice("convention", self.convention, CONVENTIONS)
        _check_choice("lossless", self.lossless, LOSSLESS)
        _check_choice("overlays", self.overlays, ("drop", "nearest"))
        _check_choice("burned_in", self.burned_in, ("warn", "refuse", "ignore"))
        if set(self.weights_sha256) - set(string.hexdigits) or len(self.weights_sha256) > 64:
            raise ValueError(f"`weights_sha256` must be hexadecimal. Received: {self.weights_sha256!r}")
        if not re.fullmatch(uid.RE_VALID_UID, self.uid_root) or len(self.uid_root) > 40:
            raise ValueError(f"`uid_root` must be a UID of at most 40 characters. Received: {self.uid_root!r}")

    def _check_scale(self) -> None:
        if not isinstance(self.scale, int) or not 2 <= self.scale <= 16:
            raise ValueError(f"`scale` must be from 2 to 16. Received: scale={self.scale}")

    @property
    def key(self) -> str:
        """SHA-256 of all fields that determine a derived image, apart from its source (D-02)."""
        fields = {k: v for k, v in dataclasses.asdict(self).items() if k not in _NOT_IN_KEY}
        for field in _LATER:
            if not fields[field]:  # UIDs of earlier releases stay
                del fields[field]
        return hashlib.sha256(repr(sorted(fields.items())).encode()).hexdigest()

    @property
    def marker(self) -> str:
        """Value of Image Type (0008,0008) that states the processing (D-11)."""
        return "AI_SR" if self.ai else "INTERPOLATED"

    @property
    def label(self) -> str:
        """Suffix of Series Description (0008,103E), for readers (D-05, D-18)."""
        return f" SRx{self.scale} AI" if self.ai else f" SRx{self.scale}"

    @property
    def description(self) -> str:
        """Sentence for Derivation Description (0008,2111) (D-13)."""
        weights = f", weights sha256 {self.weights_sha256[:12]}" if self.weights_sha256 else ""
        corrected = f" Corrected to agree with the source ({self.consistency})." if self.consistency else ""
        series = f" Intensity scale of the series: {self.intensities}." if self.intensities else ""
        uncertain = f" Half-widths: {self.uncertainty}." if self.uncertainty else ""
        return (
            f"Super-resolution x{self.scale} by {self.name} {self.version}, model {self.model}{weights}; "
            f"pixels are estimated, not acquired.{corrected}{series}{uncertain}{self._applicable}"
        )

    @property
    def _applicable(self) -> str:
        if self.applicability == NOT_TESTED:
            return UNKNOWN if self.uncertainty else ""
        void = " The guarantee of the half-widths is not applicable." if self.uncertainty else ""
        return f" Applicability: {self.applicability}.{void}" if self.applicability else ""


def _check_text(field: str, value: str, limit: int) -> None:
    # These characters are the same in every Specific Character Set (0008,0005).
    plain = set(string.ascii_letters + string.digits + " ._-+():/")
    if not value or len(value) > limit or set(value) - plain:
        raise ValueError(f"`{field}` must be 1 to {limit} letters, digits or . _ - + ( ) : /. Received: {value!r}")


def check_sentence(field: str, value: str) -> None:
    """Raises `ValueError` where a text does not fit Derivation Description in every character set."""
    # Backslash and tilde are other characters in ISO_IR 13; the backslash separates values.
    if len(value) > _TEXT_LIMIT or any(not " " <= character < "~" or character == "\\" for character in value):
        raise ValueError(f"`{field}` must be at most {_TEXT_LIMIT} characters of ASCII, without \\ and ~")


def _check_choice(field: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ValueError(f"`{field}` must be one of {tuple(choices)}. Received: {field}={value!r}")
