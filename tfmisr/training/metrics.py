"""Keras metrics computed in the graph to monitor training; reported metrics are those of `tfmisr.metrics`."""

import keras
from keras import ops


def _psnr(y_true, y_pred):
    difference = ops.cast(y_true, "float32") - ops.clip(ops.cast(y_pred, "float32"), 0.0, 1.0)
    error = ops.mean(ops.square(difference), axis=(1, 2, 3))
    return -10.0 * ops.log10(ops.maximum(error, 1e-10))


def psnr() -> keras.metrics.Metric:
    """Returns the mean over images of the peak signal-to-noise ratio in dB, for images in [0, 1]; at most 100 dB."""
    return keras.metrics.MeanMetricWrapper(_psnr, name="psnr")
