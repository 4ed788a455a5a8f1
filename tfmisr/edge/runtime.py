"""Runs a `.tflite` file with its model card on images of any size: NumPy, Pillow and LiteRT, no TensorFlow.

The network of a file with `skip: bicubic` gives what the bicubic interpolation misses, and only that may be in 8 bits:
the interpolation is worked out here from the pixels in full precision and added, so 12 and 16 bits stay what they are.
"""

import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from tfmisr.edge import card as model_card
from tfmisr.edge import orientations, resize, tiling
from tfmisr.edge.errors import InputError

TILE = 256  # side of a window for an earlier file without a tile of its own, more where the network sees far
_BICUBIC_RADIUS = 2
_REACH = 3  # low-resolution pixels around an edge in which the interpolation rings and the network mends it
_STRIP = 64  # rows
GATE_RADIUS = _REACH + 3  # bend, reach, closing, and the bilinear interpolation


def interpreter_class():
    """Returns LiteRT's interpreter, or that of the older `tflite_runtime` where there is no other.

    Raises:
        InputError: Neither is installed.
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
    """A `.tflite` file, ready to enlarge images. Not to be shared between threads; each takes its own.

    Args:
        path: The file; it must hold the card that `python -m tfmisr.export` put in.
        threads: Threads of one window.
        tile: Side of all windows in low-resolution pixels; by default the card's, where it has one. Another one than
            the card's is for processors, not for accelerators that are bound to one size.
        max_tile: Windows are chosen for each image, evenly divided, of at most `max_tile * max_tile` low-resolution
            pixels; by default the card's, where it has no `tile`. For processors alone.
        self_ensemble: Enlarge each window in eight orientations and take the mean.

    Attributes:
        card: The model card.
        name: What tables call it.
        scale: Upsampling factor.
        channels: 1 or 3.

    Raises:
        InputError: No such file, no card, a card of other weights, no LiteRT, or both `tile` and `max_tile`.
    """

    def __init__(
        self,
        path,
        threads: int = 1,
        tile: int | None = None,
        self_ensemble: bool = False,
        max_tile: int | None = None,
    ):
        self.path = pathlib.Path(path)
        if threads < 1:
            raise InputError(f"threads must be at least 1. Received: {threads}")
        self.card = model_card.read(self.path)
        self.name, self.scale, self.channels = self.path.stem, self.card["scale"], self.card["channels"]
        self.overlap = self.card["overlap"]
        self.tile, self.max_tile = self._sizes(tile, max_tile)
        self._enlarge = orientations.self_ensemble(self.window) if self_ensemble else self.window
        self._open(threads)

    def _sizes(self, tile, max_tile):
        """Returns the side of fixed windows and the bound of those that are chosen for each image: one is `None`."""
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

    def _open(self, threads):
        try:
            self._interpreter = interpreter_class()(model_path=str(self.path), num_threads=threads)
            self._input, self._output = (
                details()[0] for details in (self._interpreter.get_input_details, self._interpreter.get_output_details)
            )
        except (ValueError, RuntimeError) as error:
            raise self._failed(error) from error
        self._shape = None

    def __call__(self, lr: np.ndarray, convert: Callable | None = None, dtype=np.float32) -> np.ndarray:
        """Enlarges an image.

        Args:
            lr: float32 array (height, width, channels) in [0, 1].
            convert: Applied to each part of it before it is stored, such as rounding to 16 bits.
            dtype: Type of the result.

        Returns:
            Array (scale * height, scale * width, channels), not clipped.
        """
        return self._collect(np.asarray(lr, np.float32), lambda window: window, convert or (lambda out: out), dtype)

    def upscale(self, pixels: np.ndarray, max_val: int, out: np.ndarray | None = None) -> np.ndarray:
        """Enlarges an image of 8 to 16 bits; beside the two images it takes the memory of one window.

        Args:
            pixels: uint8 or uint16 array (height, width, channels).
            max_val: Pixel value that is 1.0 to the network.
            out: Array to write to, such as a `numpy.memmap`; a new one by default.

        Returns:
            Array (scale * height, scale * width, channels) of the same type, at most `max_val`.
        """
        full = np.float32(max_val)

        def levels(image):
            return np.rint(np.clip(image, 0.0, 1.0) * full).astype(pixels.dtype)

        return self._collect(pixels, lambda window: window.astype(np.float32) / full, levels, pixels.dtype, out)

    def _collect(self, image, prepare, finish, dtype, out=None):
        shape = (image.shape[0] * self.scale, image.shape[1] * self.scale, self.channels)
        out = np.empty(shape, dtype) if out is None else out
        for rows, columns, part in self._windows(image, prepare):
            window = out[rows, columns]
            for strip in _strips(len(part)):
                window[strip] = finish(part[strip])
        return out

    def _windows(self, image, prepare: Callable) -> Iterator[tuple[slice, slice, np.ndarray]]:
        if image.ndim != 3 or image.shape[-1] != self.channels or 0 in image.shape:
            raise InputError(
                f"{self.name} takes images (height, width, {self.channels}). Received: an array of shape {image.shape}"
            )
        s, (height, width) = self.scale, image.shape[:2]
        for (y0, y1, top, bottom), (x0, x1, left, right) in self.grid(height, width):
            part = self._enlarge(prepare(image[y0:y1, x0:x1]))
            part = part[(top - y0) * s : (bottom - y0) * s, (left - x0) * s : (right - x0) * s]
            yield slice(top * s, bottom * s), slice(left * s, right * s), part

    def grid(self, height: int, width: int) -> Iterator[tuple]:
        """Returns the windows of an image, as `tfmisr.edge.tiling.grid` yields them."""
        # A network that sees the whole image at once cannot be cut into windows.
        if self.overlap is None:
            return tiling.grid(height, width, (height, width), 0)
        if self.tile is None:
            tile = tiling.fit(height, width, self.overlap, self.max_tile)
        else:
            tile = (self.tile - 2 * self.overlap,) * 2
        return tiling.grid(height, width, tile, self.overlap)

    def window(self, lr: np.ndarray) -> np.ndarray:
        """Returns one window enlarged; its outermost `overlap` pixels are right only at the image's own edge."""
        image = self.residual(lr)
        if self.card["skip"] == "none":
            return image
        trust = gate(lr, *self.card["gate"]) if self.card["gate"] else None
        padded = _mirrored(lr)
        for rows in _strips(len(lr)):
            part = image[rows.start * self.scale : rows.stop * self.scale]
            if trust is not None:
                part *= _bilinear_rows(trust, rows, self.scale)
            part += _bicubic_rows(padded, rows, self.scale)
        return image

    def residual(self, lr: np.ndarray) -> np.ndarray:
        """Returns what the network itself says of a float32 window (height, width, channels), as float32."""
        try:
            self._allocate((1, *lr.shape))
            self._interpreter.set_tensor(self._input["index"], _quantized(lr[None], self._input))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise self._failed(error) from error
        out = self._interpreter.get_tensor(self._output["index"])[0]
        image = shuffled(self._values(out), self.card["shuffle"])
        expected = (lr.shape[0] * self.scale, lr.shape[1] * self.scale, self.channels)
        if image.shape != expected:
            raise InputError(f"{self.path} makes {image.shape} where its card promises {expected}; export it again")
        return image

    def _values(self, out):
        """Returns the output as float32, from its finer half where that is not saturated."""
        if out.dtype == np.float32:
            return out
        halves = 1 if self.card["magnified"] == 1 else 2
        values = np.empty((*out.shape[:-1], out.shape[-1] // halves), np.float32)
        for rows in _strips(len(out)):
            values[rows] = self._read(out[rows])
        return values

    def _read(self, out):
        values = _dequantized(out, self._output)
        if self.card["magnified"] == 1:
            return values
        half = out.shape[-1] // 2
        fine, limits = values[..., half:], np.iinfo(out.dtype)
        # It is cut at -1 and 1, or where its integers end; 1 need not lie on a level.
        ends = _dequantized(np.array([limits.min, limits.max], out.dtype), self._output)
        step = np.float32(self._output["quantization"][0])
        low, high = np.clip(ends, -1.0, 1.0) + np.array([step, -step], np.float32)
        inside = (fine > low) & (fine < high)
        return np.where(inside, fine / np.float32(self.card["magnified"]), values[..., :half])

    def _failed(self, error):
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return InputError(f"LiteRT cannot run {self.path}: {first}; a newer ai-edge-litert may")

    def _allocate(self, shape):
        if shape == self._shape:
            return
        # An image smaller than the tile is given as it is: padding would not be what the network saw in training.
        if self._shape is not None or tuple(self._input["shape"]) != shape:
            self._interpreter.resize_tensor_input(self._input["index"], shape, strict=False)
        self._interpreter.allocate_tensors()
        self._shape = shape


def _quantized(values, tensor):
    if tensor["dtype"] == np.float32:
        return np.ascontiguousarray(values, np.float32)
    step, zero = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.rint(values / np.float32(step)) + zero, limits.min, limits.max).astype(tensor["dtype"])


def _dequantized(values, tensor):
    if tensor["dtype"] == np.float32:
        return values
    step, zero = tensor["quantization"]
    return (values.astype(np.float32) - np.float32(zero)) * np.float32(step)


def shuffled(image: np.ndarray, scale: int) -> np.ndarray:
    """Returns channels made into pixels, as TensorFlow's `depth_to_space` does: (h, w, s*s*c) to (s*h, s*w, c)."""
    if scale == 1:
        return image
    height, width, depth = image.shape
    parts = image.reshape(height, width, scale, scale, depth // scale**2)
    return parts.transpose(0, 2, 1, 3, 4).reshape(height * scale, width * scale, -1)


def bicubic(lr: np.ndarray, scale: int) -> np.ndarray:
    """Returns the bicubic interpolation with a mirrored border, as `tfmisr.layers.BicubicUpsampling` works it out."""
    return _bicubic_rows(_mirrored(lr), slice(0, len(lr)), scale)


def _mirrored(lr):
    margin = (_BICUBIC_RADIUS, _BICUBIC_RADIUS)
    return np.pad(lr, (margin, margin, (0, 0)), "symmetric")


def _bicubic_rows(padded, rows, scale):
    """Returns the interpolation of some rows of an image, given what `_mirrored` makes of the image."""
    cut = slice(_BICUBIC_RADIUS * scale, -_BICUBIC_RADIUS * scale)
    return resize.upscale(padded[rows.start : rows.stop + 2 * _BICUBIC_RADIUS], scale)[cut, cut]


def _bilinear_rows(image, rows, scale):
    first = max(rows.start - 1, 0)
    found = resize.upscale(image[first : rows.stop + 1], scale, "bilinear")
    return found[(rows.start - first) * scale :][: (rows.stop - rows.start) * scale]


def _strips(length):
    """Returns slices of some rows each: what is worked out beside a window takes the memory of one of them."""
    return [slice(first, min(first + _STRIP, length)) for first in range(0, length, _STRIP)]


def gate(lr: np.ndarray, closed: float, opened: float) -> np.ndarray:
    """Returns by how much an integer network is to be believed at each pixel, from 0 to 1.

    Its input has 256 levels. Where the image bends by less than one of them, the network cannot see the
    image but only the steps that rounding made, and would add them to the interpolation as bands.

    Args:
        lr: float32 array (height, width, channels).
        closed: Second difference up to which a place counts as smooth, where none within three pixels is above: 0.
        opened: Second difference from which the network is believed: 1.

    Returns:
        float32 array (height, width, channels). Next to a closed pixel there is none above 0, so that bilinear
        interpolation keeps all that belongs to it at 0.
    """
    # A straight continuation over the border, where mirroring would make a ridge.
    padded = np.pad(lr, ((1, 1), (1, 1), (0, 0)), "edge")
    for axis in (0, 1) if min(lr.shape[:2]) > 1 else ():
        line = np.moveaxis(padded, axis, 0)
        line[0], line[-1] = 2 * line[1] - line[2], 2 * line[-2] - line[-3]
    inner = slice(1, -1)
    bend_y = np.abs(padded[:-2, inner] + padded[2:, inner] - 2 * lr)
    bend_x = np.abs(padded[inner, :-2] + padded[inner, 2:] - 2 * lr)
    bend = np.maximum(bend_y, bend_x)
    for _ in range(_REACH):
        bend = _neighbours(bend, np.maximum)
    bend = _neighbours(bend, np.minimum)
    return np.clip((bend - np.float32(closed)) / np.float32(opened - closed), 0.0, 1.0)


def _neighbours(image, choose):
    """Returns the largest or smallest of each pixel's 3 x 3 neighbours."""
    for axis in (0, 1):
        line = np.moveaxis(image, axis, 0)
        padded = np.concatenate([line[:1], line, line[-1:]])
        image = np.moveaxis(choose(choose(padded[:-2], padded[1:-1]), padded[2:]), 0, axis)
    return image
