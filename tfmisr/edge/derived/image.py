"""From a source image to a derived one, and into a file."""

import dataclasses
import datetime
import logging
import os
import pathlib

import pydicom

from tfmisr.edge import dicom, stored_values
from tfmisr.edge.derived import (
    admission,
    derivation,
    encoding,
    geometry,
    identity,
    overlays,
    reading,
    removed_attributes,
    verbatim,
)
from tfmisr.edge.derived.downsampling_consistency import Fidelity
from tfmisr.edge.derived.pixels import Pixels, Upscale, upscale_frames
from tfmisr.edge.derived.product import Product
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write
from tfmisr.edge.levels import ScaleChooser

_LOG = logging.getLogger("tfmisr.edge.derived")


@dataclasses.dataclass(frozen=True)
class Report:
    """What is worth knowing of a derived image and is not in it.

    Attributes:
        clipped: Number of samples that the upscaler had put outside the range that can be stored.
        fidelity: Difference to the source in stored units.
        remarks: Sentences on what was dropped or may be wrong.
    """

    clipped: int
    fidelity: Fidelity
    remarks: tuple[str, ...]


def derive(
    source: str | os.PathLike | pydicom.Dataset,
    upscale: Upscale,
    product: Product,
    when: datetime.datetime | None = None,
    begun: datetime.datetime | None = None,
    scale: ScaleChooser | None = None,
) -> pydicom.Dataset:
    """Returns the upscaled image as a new data set with its file meta group; the source is left as it is.

    Args:
        source: A file, or a data set with its `file_meta`.
        upscale: Maps a float32 array (rows, columns, 1 or 3) in [0, 1] to `product.scale` times as many rows and
            columns.
        product: Who makes the image, and how.
        when: Time of processing, with a time zone; by default the present.
        begun: Time when the processing of the series began, the same for all its slices; by default `when`. Without
            both the image has no Series Date and Time: they must be the same in a whole series, and one slice cannot
            know when the first was processed.
        scale: `levels.Scale` of the source's series (`tfmisr.edge.series`), so that all slices reach the network
            alike; by default the file's own. It counts where neither header nor modality fixes one. Where it is not
            the file's own, the UID differs and Derivation Description says it.

    Raises:
        InputError: The image is none, or is broken, or is one that must not be upscaled, or the result says
            something else than the source (D-07, D-31, D-39, D-44).
    """
    target, report = derive_with_report(source, upscale, product, when, begun, scale)
    for remark in report.remarks:
        _LOG.warning("%s", remark)
    return target


def derive_with_report(
    source: str | os.PathLike | pydicom.Dataset,
    upscale: Upscale,
    product: Product,
    when: datetime.datetime | None = None,
    begun: datetime.datetime | None = None,
    scale: ScaleChooser | None = None,
) -> tuple[pydicom.Dataset, Report]:
    """Returns what `derive` returns, and a report, whose remarks are not logged."""
    name = "the data set" if isinstance(source, pydicom.Dataset) else os.fspath(source)
    with reading.guarded(name):
        ds = reading.load(source)
        target = removed_attributes.kept(ds, product)  # before anything is decoded
        remarks = admission.admit(ds, product)
        image = stored_values.read(ds)
        ds = image.ds
        for element in image.corrections:
            target[element.tag] = element
    pixels = upscale_frames(image, upscale, product, name, scale)
    product = dataclasses.replace(product, intensities=pixels.intensities)
    with reading.guarded(name):
        if complaint := pixels.fidelity.complaint(product, _used(ds, pixels)):
            raise InputError(_explained(complaint, ds, pixels, product))
        dropped = _assemble(target, ds, pixels, product, when, begun)
    report = Report(pixels.clipped, pixels.fidelity, (*remarks, *image.remarks, *dropped))
    if pixels.clipped:
        _LOG.info("%d samples were clipped to the stored range", pixels.clipped)
    return target, report


def _explained(complaint: str, ds: pydicom.Dataset, pixels: Pixels, product: Product) -> str:
    """Adds what is unusual about an image whose result differs too much, and what can be done."""
    count = ds.Rows * ds.Columns * ds.SamplesPerPixel * int(ds.get("NumberOfFrames") or 1)
    share, facts = pixels.clipped / (count * product.scale**2), []
    if "ModalityLUTSequence" in ds:
        facts.append(f"it has a {label('ModalityLUTSequence')}, whose output the network does not get here")
    if share > 0.01:
        facts.append("many pixels are at the ends of the stored range, as in drawings and test charts")
    reason = f" (of this image: {'; '.join(facts)})" if facts else ""
    return f"{complaint}{reason}; write a .png or .tif instead, or use another model"


def _used(ds: pydicom.Dataset, pixels: Pixels) -> int:
    if dicom.hounsfield(ds, 0) is not None:
        return dicom.CT_MAX_VAL + 1
    return (pixels.largest or 0) - (pixels.smallest or 0) + 1


def _assemble(
    target: verbatim.Verbatim,
    ds: pydicom.Dataset,
    pixels: Pixels,
    product: Product,
    when: datetime.datetime | None,
    begun: datetime.datetime | None,
) -> list[str]:
    """Makes the derived image of a copy; the order matters where a step needs the source's values."""
    now = when or datetime.datetime.now(datetime.timezone.utc)
    remarks = removed_attributes.drop_bitmap_shutter(target)
    remarks += overlays.convert(target, product)
    geometry.relocate(target, product)
    derivation.record(target, product, now)
    identity.identify(target, product, now, begun or when)
    encoding.describe(target, ds, pixels)
    encoding.finish(target, product)
    return remarks


def write(ds: pydicom.Dataset, path: str | os.PathLike) -> None:
    """Writes a derived image: the whole file appears, or none (D-44).

    Raises:
        InputError: There is no such folder, or a value taken over from the source cannot be written.
    """
    if not pathlib.Path(path).parent.is_dir():
        raise InputError(f"the folder {pathlib.Path(path).parent} does not exist; make it first")
    with reading.guarded(os.fspath(path)), atomic_write(path) as temporary:
        verbatim.check_text(ds)
        ds.save_as(temporary, enforce_file_format=True)
