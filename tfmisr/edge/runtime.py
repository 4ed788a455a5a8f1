"""Runs a `.tflite` model with its model card on images of any size, with NumPy, Pillow and LiteRT.

The network of a file with `skip: bicubic` outputs the residual to bicubic interpolation, and only the residual may be
quantized to 8 bits. The interpolation is computed here in full precision and added, which preserves 12 and 16 bits.
"""

import os
import pathlib
from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
from numpy.typing import DTypeLike

from tfmisr.edge import card as model_card
from tfmisr.edge import dihedral, interpolation, litert, tensors, tiling
from tfmisr.edge.consistency import Consistency, Operator
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import printable
from tfmisr.edge.interpolation import bicubic as bicubic
from tfmisr.edge.interpolation import low_contrast_gate as low_contrast_gate
from tfmisr.edge.litert import interpreter_class as interpreter_class
from tfmisr.edge.tensors import depth_to_space as depth_to_space

TILE = 256  # side of a window for files whose card has no tile; larger where the receptive field needs it


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
        consistency: Correct the result to agree with the input, as the card's field `consistency` describes.

    Attributes:
        card: The model card.
        consistency: The `tfmisr.edge.consistency.Consistency` that is applied; `None` without.
        operator: The degradation of the training images, without noise; `None` where the card does not state it.
        name: Name in tables.
        scale: Upsampling factor.
        channels: 1 or 3.

    Raises:
        InputError: The file does not exist, has no card or a card of other weights, LiteRT is not installed, or both
            `tile` and `max_tile` are passed.
    """

    kind: str | None = None  # of the card; see `tfmisr.edge.card.check`

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int = 1,
        tile: int | None = None,
        self_ensemble: bool = False,
        max_tile: int | None = None,
        consistency: bool = True,
    ) -> None:
        self.path = pathlib.Path(path)
        if threads < 1:
            raise InputError(f"threads must be at least 1. Received: {threads}")
        self.card = model_card.read(self.path, self.kind)
        self.name, self.scale, self.channels = printable(self.path.stem), self.card["scale"], self.card["channels"]
        self.overlap, fields = self.card["overlap"], self.card["consistency"]
        self.consistency = Consistency.from_card(fields, self.scale) if consistency and fields else None
        self.operator = Operator.of(fields["operator"], self.scale) if fields else None
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
            raise litert.failed(self.path, error) from error
        self._shape: tuple | None = None

    def __call__(
        self,
        lr: np.ndarray,
        convert: Callable | None = None,
        dtype: DTypeLike = np.float32,
        max_val: float | None = None,
    ) -> np.ndarray:
        """Upscales an image.

        Args:
            lr: float32 array (height, width, channels) in [0, 1].
            convert: Applied to each part of the result before it is stored, such as rounding to 16 bits.
            dtype: Type of the result.
            max_val: Full-scale value of the stored levels of `lr`, whose rounding the consistency allows for; `None`
                if unknown, then that of 8 bits.

        Returns:
            Array (scale * height, scale * width, channels), clipped to [0, 1] only where consistency is applied.
        """
        lr, convert = np.asarray(lr, np.float32), convert or (lambda out: out)
        return self._collect(lr, lambda window: window, convert, dtype, max_val)

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

        def prepare(window: np.ndarray) -> np.ndarray:
            return window.astype(np.float32) / full

        def to_integers(image: np.ndarray) -> np.ndarray:
            return np.rint(np.clip(image, 0.0, 1.0) * full).astype(pixels.dtype)

        return self._collect(pixels, prepare, to_integers, pixels.dtype, max_val, out)

    def _collect(
        self,
        image: np.ndarray,
        prepare: Callable[[np.ndarray], np.ndarray],
        finish: Callable[[np.ndarray], np.ndarray],
        dtype: DTypeLike,
        max_val: float | None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        self._check_shape(image)
        shape = (image.shape[0] * self.scale, image.shape[1] * self.scale, self.channels)
        out = np.empty(shape, dtype) if out is None else out
        parts = self._corrected(image, prepare, max_val) if self.consistency else self._windows(image, prepare)
        for rows, columns, part in parts:
            window = out[rows, columns]
            for strip in interpolation.strips(len(part)):
                window[strip] = finish(part[strip])
            del part  # free it before the next window is computed
        return out

    def _check_shape(self, image: np.ndarray) -> None:
        if image.ndim != 3 or image.shape[-1] != self.channels or 0 in image.shape:
            raise InputError(
                f"{self.name} takes images (height, width, {self.channels}). Received: an array of shape {image.shape}"
            )

    def _windows(self, image: np.ndarray, prepare: Callable) -> Iterator[tuple[slice, slice, np.ndarray]]:
        for rows, columns in self.grid(*image.shape[:2]):
            part = self._upscale_window(prepare(image[rows[0] : rows[1], columns[0] : columns[1]]))
            yield tiling.kept(part, rows, columns, self.scale)
            del part

    def _corrected(self, image: np.ndarray, prepare: Callable, max_val: float | None) -> Iterator[tuple]:
        """Yields the same for windows of `Consistency.grid`, each assembled from the network's and then corrected."""
        consistency = cast(Consistency, self.consistency)
        height, width, channels = image.shape
        for rows, columns in consistency.grid(height, width, channels, self.overlap):
            part = image[rows[0] : rows[1], columns[0] : columns[1]]
            sr = np.empty((part.shape[0] * self.scale, part.shape[1] * self.scale, self.channels), np.float32)
            for *place, window in self._windows(part, prepare):
                sr[tuple(place)] = window
                del window
            yield tiling.kept(consistency.correct(sr, prepare(part), max_val), rows, columns, self.scale)
            del sr

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
        thresholds = self.card["gating_thresholds"]
        weight = low_contrast_gate(lr, *thresholds) if thresholds else None
        padded = interpolation.pad_mirrored(lr)
        for rows in interpolation.strips(len(lr)):
            part = image[rows.start * self.scale : rows.stop * self.scale]
            if weight is not None:
                part *= interpolation.bilinear_rows(weight, rows, self.scale)
            part += interpolation.bicubic_rows(padded, rows, self.scale)
        return image

    def residual(self, lr: np.ndarray) -> np.ndarray:
        """Returns the output of the network for a float32 window (height, width, channels), as float32."""
        shape = (1, *lr.shape)
        try:
            self._shape = litert.resize_input(self._interpreter, self._input, shape, self._shape)
            self._interpreter.set_tensor(self._input["index"], tensors.quantized(lr[None], self._input))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise litert.failed(self.path, error) from error
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
        halves = 1 if self.card["fine_scale"] == 1 else 2
        values = np.empty((*out.shape[:-1], out.shape[-1] // halves), np.float32)
        for rows in interpolation.strips(len(out)):
            values[rows] = self._read(out[rows])
        return values

    def _read(self, out: np.ndarray) -> np.ndarray:
        values = tensors.dequantized(out, self._output)
        if self.card["fine_scale"] == 1:
            return values
        half = out.shape[-1] // 2
        fine, limits = values[..., half:], np.iinfo(out.dtype)
        # The fine half saturates at -1 and 1, or at the ends of its integer type; 1 need not be a quantization level.
        ends = tensors.dequantized(np.array([limits.min, limits.max], out.dtype), self._output)
        step = np.float32(self._output["quantization"][0])
        low, high = np.clip(ends, -1.0, 1.0) + np.array([step, -step], np.float32)
        inside = (fine > low) & (fine < high)
        return np.where(inside, fine / np.float32(self.card["fine_scale"]), values[..., :half])


__getattr__ = renamed(__name__, gate="low_contrast_gate", shuffled="depth_to_space")
