"""Bicubic reduction, then unsharp masking, as consoles sharpen images for presentation.

Reference:
    Loo, Doi and Metz, Investigation of basic imaging properties in digital radiography 4: Effect of unsharp masking on
    the detectability of simple patterns, Medical Physics 1985, https://doi.org/10.1118/1.595700
"""

from tfmisr.degradations._postprocessing import UnsharpMask
from tfmisr.degradations._steps import Bicubic
from tfmisr.edge.errors import InputError


def steps(scale: int, amount: float = 0.5, sigma: float = 1.0) -> tuple:
    """Returns reduction and sharpening.

    Args:
        scale: Down-sampling factor.
        amount: Gain of the difference to the blurred image.
        sigma: Standard deviation of the blur, in low-resolution pixels, above 0.

    Raises:
        InputError: `sigma` is 0.
    """
    if not sigma > 0:
        raise InputError(f"unsharp needs sigma above 0. Received: {sigma:g}")
    return (Bicubic(scale), UnsharpMask(amount, sigma))
