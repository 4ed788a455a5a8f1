"""The linear filters, one for each phase of the enlarged image, that are nearest to the truth on training images.

The least-squares problem has a closed form; nothing is trained by gradients. What comes out is a Keras network of one
convolution and a shuffle, added to the bicubic interpolation, so it runs in tiles and exports as any other.

Romano, Isidoro and Milanfar, RAISR: Rapid and Accurate Image Super Resolution, IEEE TCI 2017,
https://arxiv.org/abs/1606.01299

Departures: one class of pixels, where RAISR sorts them by their gradient; the filters work on the low-resolution
grid and see all channels.
"""

import pathlib

import numpy as np

from tfmisr.data import pipeline
from tfmisr.edge import resize
from tfmisr.edge.files import atomic_write

KERNEL_SIZE = 11  # low-resolution pixels
RIDGE = 1e-6  # of the mean square of an input
SETTINGS = {"kernel_size": KERNEL_SIZE, "ridge": RIDGE, "images": 256, "positions": 2**20}


def fit(cache, scale: int, degradation, seed: int) -> np.ndarray:
    """Returns the filters, to be added to the bicubic interpolation.

    Args:
        cache: `tfmisr.data.pipeline.PixelCache` of training images.
        scale: Upsampling factor.
        degradation: `tfmisr.degradations.Degradation` that makes low resolution.
        seed: Of the choice of positions, and of the degradation's noise.

    Returns:
        float32 array (11, 11, channels, scale**2 * channels), a convolution's kernel.
    """
    rng = np.random.default_rng([seed, 4])
    chosen = np.unique(np.linspace(0, len(cache) - 1, SETTINGS["images"]).astype(int))
    gram, cross = 0.0, 0.0
    for _, _, max_val, lr, hr in pipeline.pairs(cache, scale, degradation, chosen, seed):
        x, y = samples(lr, hr.astype(np.float32) / max_val, scale, SETTINGS["positions"] // len(chosen), rng)
        gram, cross = gram + x.T @ x, cross + x.T @ y
    return solve(gram, cross, cache.channels)


def samples(lr: np.ndarray, hr: np.ndarray, scale: int, count: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Returns low-resolution windows and what the interpolation lacks at their centres.

    Args:
        lr: float32 array (height, width, channels).
        hr: The truth, float32, `scale` times as large.
        scale: Upsampling factor.
        count: Number of positions at most.
        rng: Draws them, each at most once.

    Returns:
        float64 arrays (positions, channels * 121) and (positions, scale**2 * channels), phase by phase.
    """
    height, width, channels = lr.shape
    margin = KERNEL_SIZE // 2
    padded = np.pad(lr, ((margin, margin), (margin, margin), (0, 0)), "symmetric")
    # Mirrored as in the network's interpolation, where Pillow's own edge differs.
    bicubic = resize.upscale(padded, scale)[margin * scale : -margin * scale, margin * scale : -margin * scale]
    lacking = (hr - bicubic).reshape(height, scale, width, scale, channels).transpose(0, 2, 1, 3, 4)
    places = rng.choice(height * width, min(count, height * width), replace=False)
    rows, columns = np.divmod(places, width)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (KERNEL_SIZE, KERNEL_SIZE), (0, 1))
    x, y = windows[rows, columns], lacking[rows, columns]
    return x.reshape(len(places), -1).astype(np.float64), y.reshape(len(places), -1).astype(np.float64)


def solve(gram: np.ndarray, cross: np.ndarray, channels: int) -> np.ndarray:
    """Returns the convolution's kernel that solves the normal equations `gram @ kernel = cross`, with a ridge.

    Where the data do not decide, as on a constant image, the ridge leaves the interpolation as it is.
    """
    from scipy import linalg

    ridge = RIDGE * np.trace(gram) / len(gram) or 1.0
    weights = linalg.solve(gram + ridge * np.eye(len(gram)), cross, assume_a="pos")
    kernel = weights.reshape(channels, KERNEL_SIZE, KERNEL_SIZE, -1).transpose(1, 2, 0, 3)
    return np.ascontiguousarray(kernel, np.float32)


def build(kernel: np.ndarray):
    """Returns the network with these filters.

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
    """Writes the network as a `.keras` file, whole or not at all."""
    with atomic_write(path) as temporary:
        build(kernel).save(temporary)
