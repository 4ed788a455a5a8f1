"""Values of a `.tflite` tensor: quantization by scale and zero point, and pixel shuffle.

`tensor` is what LiteRT's `get_input_details` or `get_output_details` return.
"""

import numpy as np


def quantized(values: np.ndarray, tensor: dict) -> np.ndarray:
    """Returns float32 values in the type of a tensor, by its scale and zero point."""
    if tensor["dtype"] == np.float32:
        return np.ascontiguousarray(values, np.float32)
    step, zero = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.rint(values / np.float32(step)) + zero, limits.min, limits.max).astype(tensor["dtype"])


def dequantized(values: np.ndarray, tensor: dict) -> np.ndarray:
    """Returns the values of a tensor as float32; inverse of `quantized`."""
    if tensor["dtype"] == np.float32:
        return values
    step, zero = tensor["quantization"]
    return (values.astype(np.float32) - np.float32(zero)) * np.float32(step)


def depth_to_space(image: np.ndarray, scale: int) -> np.ndarray:
    """Rearranges channels into pixels (pixel shuffle), as `tf.nn.depth_to_space`: (h, w, s*s*c) to (s*h, s*w, c)."""
    if scale == 1:
        return image
    height, width, depth = image.shape
    parts = image.reshape(height, width, scale, scale, depth // scale**2)
    return parts.transpose(0, 2, 1, 3, 4).reshape(height * scale, width * scale, -1)
