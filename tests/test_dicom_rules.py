"""Headers that do not describe a picture: refused by the name of the element, for training and for derived images."""

import numpy as np
import pytest
from dicom_sources import WHEN, item, nearest, product, secondary
from pydicom import DataElement
from pydicom.sequence import Sequence

from tfmisr.edge import derived, images
from tfmisr.edge.errors import InputError


def gray(**attributes):
    return secondary(np.zeros((40, 48), np.uint8), **attributes)


def rgb(**attributes):
    return secondary(np.zeros((40, 48, 3), np.uint8), **attributes)


def with_rows_as_text():
    ds = gray()
    ds["Rows"] = DataElement("Rows", "DS", "40")
    return ds


def with_lut(**attributes):
    lut = item(**{"LUTDescriptor": [4, 0, 16], "LUTData": [1, 2, 3, 4], "ModalityLUTType": "US", **attributes})
    for keyword in ("LUTDescriptor", "LUTData"):
        if lut[keyword].value is None:
            del lut[keyword]
        else:
            lut[keyword].VR = "US"
    return gray(ModalityLUTSequence=Sequence([lut]))


WRONG = {
    r"Samples per Pixel \(0028,0002\) must be 1 .* MONOCHROME2, not 3": rgb(PhotometricInterpretation="MONOCHROME2"),
    r"Samples per Pixel \(0028,0002\) must be 3 .* RGB, not 1": gray(PhotometricInterpretation="RGB"),
    r"Samples per Pixel \(0028,0002\) must be 3 .* YBR_FULL, not 1": gray(PhotometricInterpretation="YBR_FULL"),
    r"Pixel Representation \(0028,0103\) must be 0 .* RGB: colors": rgb(PixelRepresentation=1),
    r"Pixel Representation \(0028,0103\) must be 0 or 1, not 2": gray(PixelRepresentation=2),
    r"Planar Configuration \(0028,0006\) must be 0 or 1": rgb(PlanarConfiguration=None),
    r"Rows \(0028,0010\) must be an integer of Value Representation US, not DS": with_rows_as_text(),
    r"Modality LUT Sequence \(0028,3000\) has no Item": gray(ModalityLUTSequence=Sequence([])),
    r"LUT Data \(0028,3006\) is missing in Modality LUT": with_lut(LUTData=None),
    r"LUT Descriptor \(0028,3002\) is missing in Modality LUT": with_lut(LUTDescriptor=None),
    r"LUT Data \(0028,3006\) in .* has 4 entries, expected 256": with_lut(LUTDescriptor=[256, 0, 16]),
    r"Red Palette .* \(0028,1101\) is missing": gray(PhotometricInterpretation="PALETTE COLOR"),
}


@pytest.mark.parametrize("words", WRONG)
def test_the_element_is_named_by_both_readers(tmp_path, words):
    path = tmp_path / "image.dcm"
    WRONG[words].save_as(path, enforce_file_format=True)
    for read in (images.read_header, images.read_images, lambda p: derived.derive(p, nearest(), product(2), WHEN)):
        with pytest.raises(InputError, match=words):
            read(path)
