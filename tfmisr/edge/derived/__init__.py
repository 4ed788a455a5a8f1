"""Derived DICOM images: an upscaled image as a new SOP Instance in the study of its source.

    product = Product(name="tfmisr", version="0.1.0", model="resnet18", weights_sha256="9f86d0...", scale=2)
    write(derive("in.dcm", upscale, product), "out.dcm")

Stored values in, stored values out: Bits Stored, Pixel Representation, polarity, Modality LUT and VOI LUT of the source
are kept, so that windows and measurements keep their meaning. The modules document each Attribute that is changed,
recomputed or removed, with the number of the requirement in the conformance statement (D-01 to D-44).

References in other SOP Instances (Presentation States, Structured Reports, Segmentations, Key Object Selections) are to
the source instance and its pixel coordinates. They do not apply to the derived image (D-42).
"""

from tfmisr.edge.derived.half_width_map import HalfWidthStatement, derive_half_width, to_rescaled
from tfmisr.edge.derived.image import Report, derive, derive_with_report, write
from tfmisr.edge.derived.pixels import LevelUpscaler
from tfmisr.edge.derived.product import Product

__all__ = [
    "HalfWidthStatement",
    "LevelUpscaler",
    "Product",
    "Report",
    "derive",
    "derive_half_width",
    "derive_with_report",
    "to_rescaled",
    "write",
]
