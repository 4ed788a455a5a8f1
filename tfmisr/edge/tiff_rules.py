"""Decides from the tags alone whether a TIFF page can be read, and gives the reason if not."""

import tifffile
from tifffile import PHOTOMETRIC

from tfmisr.edge import tiff_strips
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.levels import MAX_PIXELS

SIGNED, VOID = 2, 4  # SampleFormat (339); void data are read as unsigned (TIFF 6.0, section 19)
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2  # ExtraSamples (338)
GRAY = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK)

# Number of color samples by PhotometricInterpretation (262).
_COLORS: dict[int, int] = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.SEPARATED: 4,
    PHOTOMETRIC.YCBCR: 3,
}


def color_samples(page: tifffile.TiffPage) -> int:
    """Returns the number of color samples per pixel; the others are extra samples."""
    return _COLORS[page.photometric]


def extra_samples(page: tifffile.TiffPage) -> tuple[int, ...]:
    """Returns the types of the samples after the color; those that ExtraSamples (338) omits are unspecified."""
    count = page.samplesperpixel - color_samples(page)
    return (*page.extrasamples, *[UNSPECIFIED] * count)[:count]


def is_signed(page: tifffile.TiffPage) -> bool:
    """Returns whether the samples are signed integers."""
    return page.sampleformat == SIGNED


def bits(page: tifffile.TiffPage) -> int:
    """Returns 8 or 16: the bit depth in which a page is decoded."""
    return 16 if page.bitspersample == 16 else 8


def unsupported_reason(page: tifffile.TiffPage) -> str | None:
    """Returns why a page cannot be read and what to do, or `None` if it can."""
    return next((reason for check in _CHECKS if (reason := check(page))), None)


def _single(page: tifffile.TiffPage) -> str | None:
    for name in ("imagewidth", "imagelength", "imagedepth", "samplesperpixel", "photometric", "compression"):
        if not isinstance(getattr(page, name), int):
            return f"the TIFF file is broken: {name} has several values"
    return None


def _size(page: tifffile.TiffPage) -> str | None:
    height, width = page.imagelength, page.imagewidth
    if height * width > MAX_PIXELS:
        return f"{width} x {height} pixels are more than {MAX_PIXELS}"
    if page.imagedepth != 1 or not height * width:
        return f"a TIFF page must be a flat image. Received: {width} x {height} x {page.imagedepth} pixels"
    if page.is_tiled and not page.tilewidth * page.tilelength:
        return f"the TIFF file is broken: its tiles have {page.tilewidth} x {page.tilelength} pixels"
    return None


def _format(page: tifffile.TiffPage) -> str | None:
    depth, sample_format = page.bitspersample, page.sampleformat
    if sample_format not in (1, SIGNED, VOID) or depth not in (1, 2, 4, 8, 16):
        name = {1: "integer", SIGNED: "integer", 3: "float", VOID: "void"}.get(sample_format, "complex")
        return (
            "TIFF samples must be integers of 8 or 16 bits (or of 1, 2 or 4); convert and save it so. "
            f"Received: {name}, {depth} bits"
        )
    if is_signed(page) and (depth < 8 or page.photometric not in (*GRAY, PHOTOMETRIC.RGB)):
        return f"signed samples must be gray or RGB of 8 or 16 bits. Received: {_name(page)}, {depth} bits"
    return None


def _color(page: tifffile.TiffPage) -> str | None:
    if 262 not in page.tags:
        return "TIFF without PhotometricInterpretation (262): black and white are undefined"
    if page.photometric not in _COLORS:
        return f"TIFF must be gray, RGB, palette, YCbCr or CMYK; save it as one of these. Received: {_name(page)}"
    depths: dict[int, tuple[int, ...]] = {
        PHOTOMETRIC.PALETTE: (1, 2, 4, 8),
        PHOTOMETRIC.SEPARATED: (8, 16),
        PHOTOMETRIC.YCBCR: (8,),
    }
    if page.bitspersample not in depths.get(page.photometric, (page.bitspersample,)):
        return f"{_name(page)} of {page.bitspersample} bits is not supported; save it as RGB"
    ink = page.tags.valueof(332, 1)
    if page.photometric == PHOTOMETRIC.SEPARATED and ink != 1:
        return f"separated TIFF must be CMYK (InkSet 1); save it as RGB. Received: InkSet {ink}"
    if page.photometric == PHOTOMETRIC.PALETTE and 320 not in page.tags:
        return "palette TIFF without its ColorMap (320)"
    return None


def _extra(page: tifffile.TiffPage) -> str | None:
    count = page.samplesperpixel - color_samples(page)
    if count < 0 or len(page.extrasamples) > count:
        return (
            f"{_name(page)} needs {color_samples(page)} samples a pixel beside the ExtraSamples (338). "
            f"Received: {page.samplesperpixel} samples, {len(page.extrasamples)} extra"
        )
    if extra_samples(page).count(UNSPECIFIED) > 1:
        return (
            f"{page.samplesperpixel} samples a pixel, some of unspecified meaning, where {_name(page)} has "
            f"{color_samples(page)}; save the channels as gray pages or as RGB"
        )
    return None


def _coding(page: tifffile.TiffPage) -> str | None:
    compression, name = page.compression, getattr(page.compression, "name", page.compression)
    if compression not in (*tiff_strips.READABLE, tiff_strips.OLD_JPEG):
        return f"TIFF compression {name} is not supported; save it with LZW, Deflate or no compression"
    planes = 1 if page.planarconfig == 2 else page.samplesperpixel
    allowed = {tiff_strips.JPEG: (1, 3, 4), tiff_strips.WEBP: (3, 4)}.get(compression, (planes,))
    if compression in tiff_strips.IMAGE_COMPRESSIONS and (page.bitspersample != 8 or planes not in allowed):
        return f"{name} compression of {planes} samples of {page.bitspersample} bits is not supported; save with LZW"
    if compression in tiff_strips.FAX and (page.bitspersample != 1 or planes != 1):
        return f"{name} compression takes one sample of 1 bit. Received: {planes} of {page.bitspersample} bits"
    return None


def _predictor(page: tifffile.TiffPage) -> str | None:
    if page.predictor == 1:
        return None
    is_supported = page.compression in tiff_strips.PREDICTED and page.bitspersample in (8, 16)
    if page.predictor != 2 or not is_supported:
        name = getattr(page.compression, "name", page.compression)
        return (
            f"Predictor (317) {int(page.predictor)} with {name} compression and {page.bitspersample} bits has no "
            "defined meaning; save it without a predictor"
        )
    return None


def _luminance(page: tifffile.TiffPage) -> str | None:
    if page.photometric == PHOTOMETRIC.YCBCR and (page.samplesperpixel != 3 or page.planarconfig != 1):
        return "YCbCr TIFF must have three interleaved samples; save it as RGB"
    return None


def _old_jpeg(page: tifffile.TiffPage) -> str | None:
    is_supported = page.samplesperpixel in (1, 3) and page.bitspersample == 8 and not is_signed(page)
    is_supported = is_supported and page.photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.YCBCR)
    if page.compression == tiff_strips.OLD_JPEG and not is_supported:
        return "old-style JPEG TIFF must be min-is-black or YCbCr of 8 bits; save it with LZW"
    return None


def _name(page: tifffile.TiffPage) -> str:
    known: dict[int, str] = {PHOTOMETRIC.SEPARATED: "CMYK", PHOTOMETRIC.YCBCR: "YCbCr", PHOTOMETRIC.RGB: "RGB"}
    if page.photometric in GRAY:
        return "gray"
    return known.get(page.photometric) or getattr(page.photometric, "name", str(page.photometric)).lower()


_CHECKS = (_single, _size, _format, _color, _extra, _coding, _predictor, _luminance, _old_jpeg)


__getattr__ = renamed(__name__, refusal="unsupported_reason")
