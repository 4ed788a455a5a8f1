"""Derived DICOM images: an upscaled image as a new instance of its source's study.

    product = Product(name="tfmisr", version="0.1.0", model="resnet18", weights_sha256="9f86d0...", scale=2)
    write(derive("in.dcm", upscale, product), "out.dcm")

Stored values come in and stored values go out: bits, sign, polarity, Modality LUT and VOI LUT of the source stay as
they are, so windows and measurements mean the same. What is changed, recomputed or dropped is said per attribute in
the modules, with the number of the requirement in our conformance statement (D-01 to D-44).

References of other objects (presentation states, structured reports, segmentations, key object selections) name the
source instance and its pixel coordinates. They do not apply to the derived image (D-42).
"""

from tfmisr.edge.derived.image import Report, derive, derive_with_report, write
from tfmisr.edge.derived.product import Product

__all__ = ["Product", "Report", "derive", "derive_with_report", "write"]
