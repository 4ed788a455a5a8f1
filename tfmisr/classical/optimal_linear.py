"""Least-squares linear filters, one for each sub-pixel position of the upscaled image (RAISR without classes).

The filters are the closed-form solution of the normal equations over training images. The result is a Keras network of
one convolution and a pixel shuffle with a global bicubic residual, so it runs in tiles and exports like any other.

Romano, Isidoro and Milanfar, RAISR: Rapid and Accurate Image Super Resolution, IEEE TCI 2017,
https://arxiv.org/abs/1606.01299

Departures: one class of pixels, where RAISR hashes them by their gradient; the filters work on the low-resolution
grid and on all channels.
"""

import pathlib
import typing

import numpy as np

from tfmisr.data import pipeline
from tfmisr.degradations import Degradation
from tfmisr.edge import resize
from tfmisr.edge.files import atomic_write

if typing.TYPE_CHECKING:
    import keras

KERNEL_SIZE = 11  # low-resolution pixels
RIDGE = 1e-6  # relative to the mean square of an input
SETTINGS = {"kernel_size": KERNEL_SIZE, "ridge": RIDGE, "images": 256, "positions": 2**20}


def fit(cache: pipeline.PixelCache, scale: int, degradation: Degradation, seed: int) -> np.ndarray:
    """Fits the filters that predict the residual of bicubic interpolation.

    Args:
        cache: `tfmisr.data.pipeline.PixelCache` of training images.
        scale: Upsampling factor.
        degradation: Degradation model of the low-resolution images.
        seed: Random seed of the sampled positions and of the degradation's noise.

    Returns:
        float32 array (11, 11, channels, scale**2 * channels), a convolution's kernel.
    """
    rng = np.random.default_rng([seed, 4])
    indices = np.unique(np.linspace(0, len(cache) - 1, SETTINGS["images"]).astype(int))
    gram, cross = 0.0, 0.0
    for _, _, max_val, lr, hr in pipeline.pairs(cache, scale, degradation, indices, seed):
        x, y = samples(lr, hr.astype(np.float32) / max_val, scale, SETTINGS["positions"] // len(indices), rng)
        gram, cross = gram + x.T @ x, cross + x.T @ y
    return solve(gram, cross, cache.channels)


def samples(
    lr: np.ndarray, hr: np.ndarray, scale: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns low-resolution windows and the residual of bicubic interpolation at their centers.

    Args:
        lr: float32 array (height, width, channels).
        hr: Ground truth, float32, `scale` times as large.
        scale: Upsampling factor.
        count: Maximum number of positions.
        rng: Draws the positions, without replacement.

    Returns:
        float64 arrays (positions, channels * 121) and (positions, scale**2 * channels), ordered by
        sub-pixel position.
    """
    height, width, channels = lr.shape
    margin = KERNEL_SIZE // 2
    padded = np.pad(lr, ((margin, margin), (margin, margin), (0, 0)), "symmetric")
    # Mirrored as in the network's interpolation; Pillow handles edges differently.
    bicubic = resize.upscale(padded, scale)[margin * scale : -margin * scale, margin * scale : -margin * scale]
    residual = (hr - bicubic).reshape(height, scale, width, scale, channels).transpose(0, 2, 1, 3, 4)
    positions = rng.choice(height * width, min(count, height * width), replace=False)
    rows, columns = np.divmod(positions, width)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (KERNEL_SIZE, KERNEL_SIZE), (0, 1))
    x, y = windows[rows, columns], residual[rows, columns]
    return x.reshape(len(positions), -1).astype(np.float64), y.reshape(len(positions), -1).astype(np.float64)


def solve(gram: np.ndarray, cross: np.ndarray, channels: int) -> np.ndarray:
    """Solves the normal equations `gram @ kernel = cross` with ridge regularization.

    For undetermined directions, as on a constant image, the ridge gives zero: bicubic interpolation unchanged.

    Args:
        gram: float64 array (channels * 121, channels * 121).
        cross: float64 array (channels * 121, scale**2 * channels).
        channels: Number of image channels.

    Returns:
        float32 array (11, 11, channels, scale**2 * channels), a convolution's kernel.
    """
    from scipy import linalg

    ridge = RIDGE * np.trace(gram) / len(gram) or 1.0
    weights = linalg.solve(gram + ridge * np.eye(len(gram)), cross, assume_a="pos")
    kernel = weights.reshape(channels, KERNEL_SIZE, KERNEL_SIZE, -1).transpose(1, 2, 0, 3)
    return np.ascontiguousarray(kernel, np.float32)


def build(kernel: np.ndarray) -> "keras.Model":
    """Returns the network with the given filters.

    Args:
        kernel: float32 array (size, size, channels, scale**2 * channels).

    Returns:
        Functional `keras.Model` from `(batch, height, width, channels)` to
        `(batch, scale * height, scale * width, channels)`, both in [0, 1]; images of at least 5x5 pixels.
    """
    import keras

    from tfmisr import layers

    size, _, channels, outputs = kernel.shape
    scale = round((outputs // channels) ** 0.5)
    low_res = keras.Input((None, None, channels), name="low_res")
    x = layers.SymmetricPadding(size // 2, name="mirror")(low_res)
    x = keras.layers.Conv2D(outputs, size, use_bias=False, name="filters")(x)
    x = layers.DepthToSpace(scale, name="output_shuffle")(x)
    upsampled = layers.BicubicUpsampling(scale, name="bicubic")(low_res)
    super_res = keras.layers.Add(name="super_res")([upsampled, x])
    network = keras.Model(low_res, super_res, name="optimal_linear")
    network.get_layer("filters").set_weights([kernel])
    return network


def write(path: pathlib.Path, kernel: np.ndarray) -> None:
    """Writes the network as a `.keras` file, atomically."""
    with atomic_write(path) as temporary:
        build(kernel).save(temporary)
