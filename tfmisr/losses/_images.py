"""Reductions and reshapings of image batches that several losses share."""

from keras import KerasTensor, ops


def image_mean(values: KerasTensor) -> KerasTensor:
    """Returns the mean over all axes but the first: one value per image, shape `(batch,)`."""
    return ops.mean(values, axis=tuple(range(1, len(values.shape))))


def planes(images: KerasTensor) -> KerasTensor:
    """Returns `(batch, height, width, channels)` as `(batch * channels, height, width, 1)`.

    An ordinary convolution then filters all channels alike; a depthwise one has no deterministic gradient on GPUs.
    """
    _, height, width, _ = ops.shape(images)
    return ops.reshape(ops.transpose(images, (0, 3, 1, 2)), (-1, height, width, 1))
