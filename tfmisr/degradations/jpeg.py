"""Bicubic reduction, then lossy compression, as of teaching files and of archives that compress.

An image with Lossy Image Compression (0028,2110) "01" has such a history (PS3.3 C.7.6.1.1.5).
"""

from tfmisr.degradations._postprocessing import Jpeg
from tfmisr.degradations._steps import Bicubic
from tfmisr.edge.errors import InputError


def steps(scale: int, quality: float = 90) -> tuple:
    """Returns reduction and compression.

    Args:
        scale: Down-sampling factor.
        quality: Pillow's quality, a whole number from 1 to 95.

    Raises:
        InputError: `quality` is out of range.
    """
    if not 1 <= quality <= 95 or quality != int(quality):
        raise InputError(f"jpeg needs quality, a whole number from 1 to 95. Received: {quality:g}")
    return (Bicubic(scale), Jpeg(int(quality)))
