"""Decodes compressed frames: one fixed library per Transfer Syntax, so that results do not depend on what is installed.

The base install decodes everything except JPEG Lossless (Process 14) and 12-bit JPEG Extended (Process 4), for which
the extra `[dicom]` installs imagecodecs (BSD). python-gdcm, if installed, also decodes JPEG Lossless.
"""

import functools
import importlib.util
import io
from typing import Any

import numpy as np
import PIL.Image
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

from tfmisr.edge.codestreams import Codestream
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError

JPEG_LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
COMPRESSED = (
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    *JPEG_LOSSLESS,
    *uid.JPEGLSTransferSyntaxes,
    *JPEG_2000,
)
NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)


@functools.cache
def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def unavailable_reason(syntax: uid.UID, bits_stored: int) -> str | None:
    """Returns why images of a Transfer Syntax cannot be decoded, and what to do; `None` if they can.

    Args:
        syntax: Transfer Syntax UID (0002,0010).
        bits_stored: Bits Stored (0028,0101); the codestream of a JPEG may have another precision.
    """
    name = syntax.name if syntax in uid.UID_dictionary else "of this file"
    if syntax not in (*NATIVE, *COMPRESSED):
        return f"Transfer Syntax {name} is not supported; export the images uncompressed"
    lossless, deep = syntax in JPEG_LOSSLESS, syntax == uid.JPEGExtended12Bit and bits_stored > 8
    if _has("imagecodecs") or not (lossless or deep) or (lossless and _has("gdcm")):
        return None
    return (
        f"Transfer Syntax {name} needs a decoder that the base install does not include; run: "
        "pip install 'tfmisr[dicom]', or decompress the file with DCMTK's dcmdjpeg"
    )


def decode(frame: bytes, syntax: uid.UID, header: Codestream) -> np.ndarray:
    """Decodes one JPEG, JPEG-LS or JPEG 2000 frame.

    Args:
        frame: The codestream.
        syntax: Its Transfer Syntax UID.
        header: Its header from `codestreams.parse`.

    Returns:
        The components without color conversion: (rows, columns) or (rows, columns, 3), unsigned unless a JPEG 2000
        codestream is signed. JPEG 2000's multiple component transformation is inverted.

    Raises:
        InputError: No decoder for this frame is installed.
    """
    if syntax in JPEG_2000:
        return _jpeg_2000(frame)
    if syntax in uid.JPEGLSTransferSyntaxes:
        return _jpeg_ls(frame, header)
    if syntax in JPEG_LOSSLESS:
        return _imagecodecs(frame, header) if _has("imagecodecs") else _gdcm(frame, syntax, header)
    if header.precision == 8:
        return _pillow(frame, header)
    if reason := unavailable_reason(uid.JPEGExtended12Bit, header.precision):
        raise InputError(reason)
    return _imagecodecs(frame, header)


def _jpeg_2000(frame: bytes) -> np.ndarray:
    import openjpeg

    return openjpeg.decode(frame)


def _jpeg_ls(frame: bytes, header: Codestream) -> np.ndarray:
    import jpeg_ls

    buffer, info = jpeg_ls.decode_pixel_data(frame)
    pixels = np.frombuffer(buffer, np.uint8 if header.precision <= 8 else "<u2")
    if header.components == 1:
        return pixels.reshape(header.rows, header.columns)
    if info["interleave_mode"] == 0:  # non-interleaved components (ITU-T T.87 A.1)
        return np.moveaxis(pixels.reshape(header.components, header.rows, header.columns), 0, -1)
    return pixels.reshape(header.rows, header.columns, header.components)


def _pillow(frame: bytes, header: Codestream) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(frame), formats=("JPEG",)) as image:
        if header.converted_from == "YBR":
            image.draft("YCbCr", image.size)  # no color conversion
        return np.asarray(image)


def _imagecodecs(frame: bytes, header: Codestream) -> np.ndarray:
    import imagecodecs

    if header.components == 1:
        return imagecodecs.jpeg8_decode(frame)
    # Equal input and output color spaces: no conversion.
    return imagecodecs.jpeg8_decode(frame, colorspace="RGB", outcolorspace="RGB")


def _gdcm(frame: bytes, syntax: uid.UID, header: Codestream) -> np.ndarray:
    """Decodes a lossless JPEG of gray values or RGB with pydicom's GDCM plugin."""
    bits = 8 if header.precision <= 8 else 16
    options: dict[str, Any] = {
        "rows": header.rows,
        "columns": header.columns,
        "samples_per_pixel": header.components,
        "photometric_interpretation": "MONOCHROME2" if header.components == 1 else "RGB",
        "planar_configuration": 0,
        "pixel_representation": 0,
        "bits_allocated": bits,
        "bits_stored": header.precision,
        "number_of_frames": 1,
        "correct_unused_bits": False,
    }
    decoder = get_decoder(syntax)
    pixels, _ = decoder.as_array(
        encapsulate([frame]), index=0, raw=True, decoding_plugin="gdcm", validate=False, **options
    )
    return pixels


__getattr__ = renamed(__name__, hindrance="unavailable_reason")
