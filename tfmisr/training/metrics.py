"""Measures in the graph, to watch a run by; `tfmisr.metrics` holds those that are reported."""

import keras
from keras import ops


def _psnr(y_true, y_pred):
    difference = ops.cast(y_true, "float32") - ops.clip(ops.cast(y_pred, "float32"), 0.0, 1.0)
    error = ops.mean(ops.square(difference), axis=(1, 2, 3))
    return -10.0 * ops.log10(ops.maximum(error, 1e-10))


def psnr() -> keras.metrics.Metric:
    """Returns the mean over images of the peak signal-to-noise ratio in dB, images in [0, 1], 100 dB at most."""
    return keras.metrics.MeanMetricWrapper(_psnr, name="psnr")
