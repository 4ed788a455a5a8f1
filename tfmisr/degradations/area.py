"""Larger detector elements without noise: the mean of `scale` x `scale` pixels (binning)."""

from tfmisr.degradations._steps import AreaMean


def steps(scale: int) -> tuple:
    """Returns the binning.

    Args:
        scale: Down-sampling factor.
    """
    return (AreaMean(scale),)
