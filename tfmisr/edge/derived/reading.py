"""Errors of a DICOM file that name the file and never the patient."""

import contextlib
from collections.abc import Iterator

from tfmisr.edge import dicom_file
from tfmisr.edge.dicom_file import MAX_BYTES, load
from tfmisr.edge.errors import InputError

__all__ = ["MAX_BYTES", "guarded", "load"]


@contextlib.contextmanager
def guarded(name: str) -> Iterator[None]:
    """Turns whatever a broken file makes pydicom raise into an `InputError` that begins with `name`.

    pydicom's own messages, warnings and log quote values of the header, which may name the patient; none gets out.
    """
    try:
        with dicom_file.silent():
            yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) is not None:
            raise  # from the operating system; pydicom raises OSError too, and quotes the element
        raise InputError(f"{name}: broken or unsupported DICOM ({type(error).__name__})") from None
