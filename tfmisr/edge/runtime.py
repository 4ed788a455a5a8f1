"""Runs a `.tflite` model with its model card on images of any size, with NumPy, Pillow and LiteRT.

The network of a file with `skip: bicubic` outputs the residual to bicubic interpolation, and only the residual may be
quantized to 8 bits. The interpolation is computed here in full precision and added, which preserves 12 and 16 bits.
"""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
from numpy.typing import DTypeLike

from tfmisr.edge import card as model_card
from tfmisr.edge import dihedral, interpolation, stderr_filter, tiling
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import printable
from tfmisr.edge.interpolation import bicubic as bicubic
from tfmisr.edge.interpolation import low_contrast_gate as low_contrast_gate

TILE = 256  # side of a window for files whose card has no tile; larger where the receptive field needs it


def interpreter_class() -> type:
    """Returns LiteRT's interpreter class, or that of the older `tflite_runtime`.

    Raises:
        InputError: Neither package is installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ModuleNotFoundError as error:
            raise InputError(
                "a .tflite file needs LiteRT. Run: pip install ai-edge-litert "
                "(or tflite-runtime on a machine without a wheel of it, such as 32-bit ARM)"
            ) from error
    return Interpreter


class Model:
    """A `.tflite` model that upscales images. Not thread-safe: create one per thread.

    Args:
        path: The file, with the card that `python -m tfmisr.export` embeds.
        threads: Number of threads of the interpreter.
        tile: Side of all windows in low-resolution pixels; by default that of the card, if any. Use another value on
            CPUs only: accelerators may be compiled for one size.
        max_tile: Choose the windows for each image, evenly divided, with at most `max_tile * max_tile` low-resolution
            pixels; by default that of the card, if it has no `tile`. For CPUs only.
        self_ensemble: Average each window over the eight dihedral transforms.

    Attributes:
        card: The model card.
        name: Name in tables.
        scale: Upsampling factor.
        channels: 1 or 3.

    Raises:
        InputError: The file does not exist, has no card or a card of other weights, LiteRT is not installed, or both
            `tile` and `max_tile` are passed.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int = 1,
        tile: int | None = None,
        self_ensemble: bool = False,
        max_tile: int | None = None,
    ) -> None:
        self.path = pathlib.Path(path)
        if threads < 1:
            raise InputError(f"threads must be at least 1. Received: {threads}")
        self.card = model_card.read(self.path)
        self.name, self.scale, self.channels = printable(self.path.stem), self.card["scale"], self.card["channels"]
        self.overlap = self.card["overlap"]
        self.tile, self.max_tile = self._sizes(tile, max_tile)
        self._upscale_window = dihedral.self_ensemble(self.window) if self_ensemble else self.window
        self._open(threads)

    def _sizes(self, tile: int | None, max_tile: int | None) -> tuple[int | None, int | None]:
        """Returns the fixed side of windows, or the maximum side where windows are chosen for each image."""
        if tile and max_tile:
            raise InputError(f"expected tile or max_tile, not both. Received: tile={tile}, max_tile={max_tile}")
        if not tile and not max_tile:
            tile, max_tile = self.card["tile"], self.card["max_tile"]
        if not tile and not max_tile:
            tile = max(TILE, 4 * (self.overlap or 0))
        name, side = ("tile", tile) if tile else ("max_tile", max_tile)
        if self.overlap is not None and side <= 2 * self.overlap:
            raise InputError(f"{name} must be above {2 * self.overlap}, twice the overlap. Received: {side}")
        return (tile, None) if tile else (None, max_tile)

    def _open(self, threads: int) -> None:
        try:
            path = str(self.path)
            # LiteRT memory-maps a file, but takes only paths that are valid UTF-8.
            file = {"model_path": path} if printable(path) == path else {"model_content": self.path.read_bytes()}
            self._interpreter = interpreter_class()(**file, num_threads=threads)
            self._input, self._output = (
                details()[0] for details in (self._interpreter.get_input_details, self._interpreter.get_output_details)
            )
        except (ValueError, RuntimeError) as error:
            raise self._failed(error) from error
        self._shape: tuple[int, ...] | None = None

    def __call__(self, lr: np.ndarray, convert: Callable | None = None, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Upscales an image.

        Args:
            lr: float32 array (height, width, channels) in [0, 1].
            convert: Applied to each part of the result before it is stored, such as rounding to 16 bits.
            dtype: Type of the result.

        Returns:
            Array (scale * height, scale * width, channels), not clipped.
        """
        return self._collect(np.asarray(lr, np.float32), lambda window: window, convert or (lambda out: out), dtype)

    def upscale(self, pixels: np.ndarray, max_val: int, out: np.ndarray | None = None) -> np.ndarray:
        """Upscales an integer image, integer in, integer out; needs the memory of one window beside the two images.

        Args:
            pixels: uint8 or uint16 array (height, width, channels).
            max_val: Pixel value that maps to 1.0.
            out: Array to write to, such as a `numpy.memmap`; by default a new array.

        Returns:
            Array (scale * height, scale * width, channels) of the same dtype, clipped to [0, `max_val`].
        """
        full = np.float32(max_val)

        def to_integers(image: np.ndarray) -> np.ndarray:
            return np.rint(np.clip(image, 0.0, 1.0) * full).astype(pixels.dtype)

        return self._collect(pixels, lambda window: window.astype(np.float32) / full, to_integers, pixels.dtype, out)

    def _collect(
        self,
        image: np.ndarray,
        prepare: Callable[[np.ndarray], np.ndarray],
        finish: Callable[[np.ndarray], np.ndarray],
        dtype: DTypeLike,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        shape = (image.shape[0] * self.scale, image.shape[1] * self.scale, self.channels)
        out = np.empty(shape, dtype) if out is None else out
        for rows, columns, part in self._windows(image, prepare):
            window = out[rows, columns]
            for strip in interpolation.strips(len(part)):
                window[strip] = finish(part[strip])
            del part  # free it before the next window is computed
        return out

    def _windows(self, image: np.ndarray, prepare: Callable) -> Iterator[tuple[slice, slice, np.ndarray]]:
        if image.ndim != 3 or image.shape[-1] != self.channels or 0 in image.shape:
            raise InputError(
                f"{self.name} takes images (height, width, {self.channels}). Received: an array of shape {image.shape}"
            )
        s, (height, width) = self.scale, image.shape[:2]
        for (y0, y1, top, bottom), (x0, x1, left, right) in self.grid(height, width):
            part = self._upscale_window(prepare(image[y0:y1, x0:x1]))
            part = part[(top - y0) * s : (bottom - y0) * s, (left - x0) * s : (right - x0) * s]
            yield slice(top * s, bottom * s), slice(left * s, right * s), part
            del part

    def grid(self, height: int, width: int) -> Iterator[tuple]:
        """Yields the windows of an image; see `tfmisr.edge.tiling.grid`."""
        # A network whose receptive field is the whole image cannot be tiled.
        if self.overlap is None:
            return tiling.grid(height, width, (height, width), 0)
        if self.tile is None:
            tile = tiling.fit(height, width, self.overlap, cast(int, self.max_tile))
        else:
            tile = (self.tile - 2 * self.overlap, self.tile - 2 * self.overlap)
        return tiling.grid(height, width, tile, self.overlap)

    def window(self, lr: np.ndarray) -> np.ndarray:
        """Returns one window upscaled; its outermost `overlap` pixels are valid only at the borders of the image."""
        image = self.residual(lr)
        if self.card["skip"] == "none":
            return image
        weight = low_contrast_gate(lr, *self.card["gate"]) if self.card["gate"] else None
        padded = interpolation.pad_mirrored(lr)
        for rows in interpolation.strips(len(lr)):
            part = image[rows.start * self.scale : rows.stop * self.scale]
            if weight is not None:
                part *= interpolation.bilinear_rows(weight, rows, self.scale)
            part += interpolation.bicubic_rows(padded, rows, self.scale)
        return image

    def residual(self, lr: np.ndarray) -> np.ndarray:
        """Returns the output of the network for a float32 window (height, width, channels), as float32."""
        try:
            self._allocate((1, *lr.shape))
            self._interpreter.set_tensor(self._input["index"], _quantized(lr[None], self._input))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise self._failed(error) from error
        # A view into the interpreter's memory, not a copy: it must be released before the next window.
        out = self._interpreter.tensor(self._output["index"])()[0]
        image = depth_to_space(self._values(out), self.card["shuffle"])
        expected = (lr.shape[0] * self.scale, lr.shape[1] * self.scale, self.channels)
        if image.shape != expected:
            raise InputError(
                f"{self.path} returns the shape {image.shape}, expected {expected} by its card; export it again"
            )
        return image

    def _values(self, out: np.ndarray) -> np.ndarray:
        """Returns the output as float32; of a dual-range output the fine half where it is not saturated."""
        if out.dtype == np.float32:
            return out.copy()
        halves = 1 if self.card["magnified"] == 1 else 2
        values = np.empty((*out.shape[:-1], out.shape[-1] // halves), np.float32)
        for rows in interpolation.strips(len(out)):
            values[rows] = self._read(out[rows])
        return values

    def _read(self, out: np.ndarray) -> np.ndarray:
        values = _dequantized(out, self._output)
        if self.card["magnified"] == 1:
            return values
        half = out.shape[-1] // 2
        fine, limits = values[..., half:], np.iinfo(out.dtype)
        # The fine half saturates at -1 and 1, or at the ends of its integer type; 1 need not be a quantization level.
        ends = _dequantized(np.array([limits.min, limits.max], out.dtype), self._output)
        step = np.float32(self._output["quantization"][0])
        low, high = np.clip(ends, -1.0, 1.0) + np.array([step, -step], np.float32)
        inside = (fine > low) & (fine < high)
        return np.where(inside, fine / np.float32(self.card["magnified"]), values[..., :half])

    def _failed(self, error: Exception) -> InputError:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return InputError(f"LiteRT cannot run {self.path}: {first}; a newer ai-edge-litert may")

    def _allocate(self, shape: tuple[int, ...]) -> None:
        if shape == self._shape:
            return
        # An image smaller than the tile is not padded: the network has not seen padding in training.
        if self._shape is not None or tuple(self._input["shape"]) != shape:
            self._interpreter.resize_tensor_input(self._input["index"], shape, strict=False)
        with stderr_filter.filter_stderr() if self._shape is None else contextlib.nullcontext():
            self._interpreter.allocate_tensors()
        self._shape = shape


def _quantized(values: np.ndarray, tensor: dict) -> np.ndarray:
    if tensor["dtype"] == np.float32:
        return np.ascontiguousarray(values, np.float32)
    step, zero = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.rint(values / np.float32(step)) + zero, limits.min, limits.max).astype(tensor["dtype"])


def _dequantized(values: np.ndarray, tensor: dict) -> np.ndarray:
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


__getattr__ = renamed(__name__, gate="low_contrast_gate", shuffled="depth_to_space")
