"""The VOI LUT functions beside pydicom's and by hand."""

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_windowing

from tfmisr.reader_study.windowing import FUNCTIONS, LINEAR, LINEAR_EXACT, SIGMOID, Window, apply, to_screen


#
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("center,width", [(32768, 65536), (2048, 4096), (100.5, 37.25), (40, 1), (-7, 2), (50000, 300)])
def test_windows_are_those_of_pydicom(function, center, width):
    if function == LINEAR_EXACT and width < 2:
        width = 0.75
    ds = pydicom.Dataset()
    ds.PhotometricInterpretation, ds.BitsStored, ds.PixelRepresentation = "MONOCHROME2", 16, 0
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = center, width, function
    values = np.arange(65536, dtype=np.uint16)
    with np.errstate(over="ignore"):
        expected = apply_windowing(values, ds)
    np.testing.assert_allclose(apply(values, Window(center, width, function), 65535.0), expected, rtol=1e-9, atol=1e-6)


#
@pytest.mark.parametrize(
    "window,value,expected",
    [
        # C.11.2.1.2: c 2048, w 4096 takes 0 to 4095 onto the whole range.
        (Window(2048, 4096), 0, 0),
        (Window(2048, 4096), 4095, 255),
        (Window(2048, 1), 2047, 0),
        (Window(2048, 1), 2048, 255),
        (Window(0, 100, LINEAR_EXACT), -50, 0),
        (Window(0, 100, LINEAR_EXACT), 0, 127.5),
        (Window(0, 100, LINEAR_EXACT), 50, 255),
        (Window(10, 5, SIGMOID), 10, 127.5),
        (Window(10, 5, SIGMOID), -5000, 0),
    ],
)
def test_windows_by_hand(window, value, expected):
    assert apply(np.array([value]), window)[0] == pytest.approx(expected, abs=1e-9)


#
def test_inverted_image_is_the_negative_and_padding_is_black_in_both():
    values, window = np.array([0, 100, 255, 7]), Window(128, 256, LINEAR)
    padding = np.array([False, False, False, True])
    assert to_screen(values, window, False, padding).tolist() == [0, 100, 255, 0]
    assert to_screen(values, window, True, padding).tolist() == [255, 155, 0, 0]
