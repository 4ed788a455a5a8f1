"""What the measures are tried on, the same in the tests and in `tests/oracles/measures.py`: NumPy alone."""

import zlib

import numpy as np


def waves(height, width, channels, seed):
    """Returns an image of waves and squares, and a blurred and noisy copy, uint8."""
    rows, cols = np.mgrid[:height, :width].astype(float)
    planes = [
        127.5
        + 80 * np.sin(rows / (7 + c) + c) * np.cos(cols / (11 - c))
        + 40 * ((rows // 16 + cols // 24 + c) % 2)
        - 20
        for c in range(channels)
    ]
    y_true = np.stack(planes, -1)
    shifted = np.roll(y_true, 1, 0), np.roll(y_true, 1, 1), np.roll(y_true, (1, 1), (0, 1))
    noise = np.random.default_rng(seed).normal(0, 12, y_true.shape)
    y_pred = (y_true + sum(shifted)) / 4 + noise
    return tuple(np.rint(np.clip(image, 0, 255)).astype(np.uint8) for image in (y_true, y_pred))


def tensor(name: str, shape) -> np.ndarray:
    """Returns float32 weights that depend on their name alone, of a size that keeps a deep network's values moderate.

    Args:
        name: Name as in PyTorch.
        shape: Shape as in PyTorch: `(out, in, height, width)` of a convolution.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) == 4:
        values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    elif name.endswith(("bn.weight", "running_var")):
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.normal(0, 0.1, shape)
    return (np.abs(values) if name.startswith("lin") else values).astype(np.float32)


def features(count: int, size: int, shift: float, seed: int) -> np.ndarray:
    """Returns `(count, size)` features that depend on each other."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(0, 1, (size, size)) / np.sqrt(size)
    return shift + np.maximum(rng.normal(0, 1 + shift, (count, size)) @ mixing, -0.5)
