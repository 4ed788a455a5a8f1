"""DICOM decoded inside a TensorFlow graph by tensorflow-io, for the files that it decodes correctly.

`tfio.image.decode_dicom_image` renders, by DCMTK, rather than reads: measured with tensorflow-io
0.37.1, it scales what a rescale or a signed representation gives to the next power of two, inverts
MONOCHROME1 with an error of 1, applies palettes, and paints overlays into the image. Windows (VOI) and
pixel padding leave its values alone at its default `scale="preserve"`. Its values equal those of
`pydicom.pixels.pixel_array` exactly where `mismatch` returns `None`; no other file is decoded.

tensorflow-io loads with TensorFlow 2.16 and 2.17 only: `pip install 'tfmisr[train,tfio]'`, which takes
those, on Python 3.10 to 3.12. Elsewhere, and for all other files, use `tfmisr.edge.images`.
"""

import os
import typing
from collections.abc import Iterable

import pydicom
from pydicom import uid

from tfmisr.edge import dicom
from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    import tensorflow as tf

# Lossless transfer syntaxes, each of which was compared. Lossy ones depend on the rounding of the decoder.
SYNTAXES = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLosslessSV1,
    uid.JPEG2000Lossless,
)


def mismatch(ds: pydicom.Dataset) -> str | None:
    """Returns why tensorflow-io's values differ from pydicom's, or may; `None` where they are equal.

    Args:
        ds: Header of a DICOM image with its file meta information.
    """
    syntax = ds.file_meta.get("TransferSyntaxUID", uid.UID(""))
    photometric = ds.get("PhotometricInterpretation")
    identity = float(ds.get("RescaleSlope") or 1) == 1 and not float(ds.get("RescaleIntercept") or 0)
    found = {
        f"transfer syntax {syntax.name}": syntax not in SYNTAXES,
        f"Photometric Interpretation {photometric}": photometric not in ("MONOCHROME2", "RGB"),
        f"Bits Allocated {ds.get('BitsAllocated')}": ds.get("BitsAllocated") not in (8, 16),
        "High Bit above Bits Stored": ds.get("HighBit") != ds.get("BitsStored", 0) - 1,
        "signed pixels": ds.get("PixelRepresentation") != 0,
        "Rescale Slope or Intercept": not identity,
        "Modality LUT Sequence": "ModalityLUTSequence" in ds,
        "functional groups": "SharedFunctionalGroupsSequence" in ds,
        "Presentation LUT": ds.get("PresentationLUTShape", "IDENTITY") != "IDENTITY" or "PresentationLUTSequence" in ds,
        "overlay": any(tag.group & 0xFF00 == 0x6000 for tag in ds.keys()),
    }
    return next((reason for reason, holds in found.items() if holds), None)


def matches(ds: pydicom.Dataset) -> bool:
    """Returns whether tensorflow-io gives exactly the values of pydicom."""
    return mismatch(ds) is None


def dataset(paths: Iterable[str | os.PathLike]) -> "tf.data.Dataset":
    """Returns a `tf.data.Dataset` that decodes DICOM files in the graph.

    Args:
        paths: Files; the header of each is read at once.

    Returns:
        One uint16 tensor of shape (frames, rows, columns, samples) a file, in the given order.

    Raises:
        InputError: The values of a file would differ from pydicom's, or tensorflow-io does not load.
    """
    import tensorflow as tf

    _tensorflow_io()
    paths = [os.fspath(path) for path in paths]
    for path in paths:
        if reason := mismatch(dicom.read_header(path)):
            raise InputError(
                f"{path}: tensorflow-io would change the values ({reason}); read it with tfmisr.edge.images"
            )
    files = tf.data.Dataset.from_tensor_slices(tf.constant(paths, tf.string))
    return files.map(lambda path: _decode(tf.io.read_file(path)), num_parallel_calls=tf.data.AUTOTUNE)


def _tensorflow_io():
    try:
        import tensorflow_io
    except (ImportError, NotImplementedError) as error:
        raise InputError(
            "expected tensorflow-io, which does not load here (it needs TensorFlow 2.16 or 2.17). Run, in a "
            "separate environment: pip install 'tfmisr[train,tfio]'; or read DICOM with tfmisr.edge.images"
        ) from error
    return tensorflow_io


def _decode(contents):
    import tensorflow as tf

    # Any other on_error gives an empty tensor for what cannot be decoded.
    return _tensorflow_io().image.decode_dicom_image(contents, on_error="strict", dtype=tf.uint16)
