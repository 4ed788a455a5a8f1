"""The uncertainty head: how wrong each pixel of an upscaled image may be, before calibration.

A small network beside the main one (`NAME.uncertainty.tflite` beside `NAME.tflite`) that sees the input and the
difference of the final image to bicubic interpolation, and no feature of the main network, so that it serves any model.
It was trained by quantile regression (pinball loss) on the absolute error of training images. Its output `s` is a
shape, not a guarantee: `tfmisr.edge.half_width` multiplies it by calibrated factors.

A first pass over the image gathers its statistics, a second applies the network tile by tile (a whole-image branch in
bounded memory); see `tfmisr.edge.uncertainty_inputs`.

Reference:
    Koenker and Bassett, Regression Quantiles, Econometrica 1978; Angelopoulos et al., Image-to-Image Regression with
    Distribution-Free Uncertainty Quantification and Applications in Imaging, ICML 2022
"""

import os
import pathlib
from collections.abc import Iterator

import numpy as np

from tfmisr.edge import card as model_card
from tfmisr.edge import head_card, litert, tensors, tiling
from tfmisr.edge import uncertainty_inputs as inputs
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import printable

SUFFIX = ".uncertainty.tflite"
CONTEXT = "context"  # name of the network's second input
_MAX_TILE = 256


def beside(model_path: str | os.PathLike) -> pathlib.Path:
    """Returns the path that the head of a model has: `NAME.uncertainty.tflite` beside `NAME.tflite`."""
    return pathlib.Path(model_path).with_suffix(SUFFIX)


def find(model_path: str | os.PathLike) -> pathlib.Path | None:
    """Returns the path of the head beside a `.tflite` model, `None` where there is none."""
    path = beside(model_path)
    return path if path.is_file() else None


def of(model_path: str | os.PathLike, threads: int = 1) -> "Head | None":
    """Returns the head of a `.tflite` model, `None` where there is none beside it.

    Args:
        model_path: The model's file.
        threads: Number of threads of the interpreter.

    Raises:
        InputError: The head belongs to another model, or the model's card names another head.
    """
    path = find(model_path)
    if path is None:
        return None
    head, model = Head(path, threads), model_card.read(model_path)
    if head.card["model_sha256"] != model["weights_sha256"]:
        raise InputError(f"{path} belongs to another model than {model_path}: the sha256 differs; copy both again")
    named = (model["uncertainty"] or {}).get("head", head.card)
    if named["weights_sha256"] != head.card["weights_sha256"]:
        raise InputError(f"the card of {model_path} names another head than {path}; copy both again")
    return head


class Head:
    """An uncertainty head of a `.tflite` model. Not thread-safe: create one per thread.

    Args:
        path: The head's file, as `python -m tfmisr.export` writes it.
        threads: Number of threads of the interpreter.
        max_tile: Windows have at most `max_tile * max_tile` low-resolution pixels.

    Attributes:
        card: The head's card: `kind`, `scale`, `channels`, `overlap`, `model_sha256` and others.
        scale: Upsampling factor.
        channels: 1 or 3.

    Raises:
        InputError: The file does not exist, is no head, has a card of other weights, or LiteRT is not installed.
    """

    _shape: tuple | None

    def __init__(self, path: str | os.PathLike, threads: int = 1, max_tile: int = _MAX_TILE) -> None:
        self.path = pathlib.Path(path)
        if threads < 1:
            raise InputError(f"threads must be at least 1. Received: {threads}")
        self.card = model_card.read(self.path, head_card.KIND)
        self.scale, self.channels, self.overlap = (self.card[key] for key in ("scale", "channels", "overlap"))
        if max_tile <= 2 * self.overlap:
            raise InputError(f"max_tile must be above {2 * self.overlap}, twice the overlap. Received: {max_tile}")
        self.max_tile = max_tile
        self._open(threads)
        low, high = self.card["log_range"]
        codes = tensors.dequantized(np.arange(256, dtype=np.uint8).view(np.int8), self._output)
        self._scales = np.exp(low + (np.clip(codes, -1, 1) + 1) / 2 * (high - low)).astype(np.float32)

    def scale_map(self, lr: np.ndarray, sr: np.ndarray, max_val: float = 1.0) -> np.ndarray:
        """Returns the expected size of the error of each pixel, up to the calibrated factor.

        Args:
            lr: Array (height, width, channels) in [0, `max_val`], of integers or float32.
            sr: The final upscaled image, (scale * height, scale * width, channels) in [0, `max_val`]: after the
                consistency correction, and rounded to stored levels as it is stored.
            max_val: Full-scale value of both.

        Returns:
            float32 array of the shape of `sr`, above 0, as a fraction of the full scale.

        Raises:
            InputError: The shapes do not belong to this head.
        """
        self._check(lr, sr)
        windows = list(self.windows(*lr.shape[:2]))
        # A second pass over one window would only repeat the interpolation.
        first = self._residual(lr, sr, max_val, *windows[0]) if len(windows) == 1 else None
        context = self._standardized(inputs.statistics(lr, sr, self.scale, max_val, first[1] if first else None))
        out = np.empty(sr.shape, np.float32)
        for rows, columns in windows:
            part = self._window(*(first or self._residual(lr, sr, max_val, rows, columns)), context)
            vertical, horizontal, kept = tiling.kept(part, rows, columns, self.scale)
            out[vertical, horizontal] = kept
        return out

    def windows(self, height: int, width: int) -> Iterator[tuple]:
        """Yields the windows of an image; see `tfmisr.edge.tiling.grid`."""
        tile = tiling.fit(height, width, self.overlap, self.max_tile)
        return tiling.grid(height, width, tile, self.overlap)

    def _standardized(self, statistics: np.ndarray) -> np.ndarray:
        return inputs.standardized(statistics, self.card["context"]["mean"], self.card["context"]["deviation"])

    def _residual(
        self, lr: np.ndarray, sr: np.ndarray, max_val: float, rows: tuple, columns: tuple
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns a window of the input in [0, 1] and its residual."""
        full, scale = np.float32(max_val), self.scale
        low = lr[rows[0] : rows[1], columns[0] : columns[1]].astype(np.float32) / full
        high = sr[rows[0] * scale : rows[1] * scale, columns[0] * scale : columns[1] * scale]
        return low, inputs.residual(low, high.astype(np.float32) / full, scale)

    def _check(self, lr: np.ndarray, sr: np.ndarray) -> None:
        expected = (lr.shape[0] * self.scale, lr.shape[1] * self.scale, self.channels)
        if lr.ndim != 3 or 0 in lr.shape or lr.shape[-1] != self.channels or sr.shape != expected:
            raise InputError(
                f"{printable(self.path.name)} takes an image (height, width, {self.channels}) and the same upscaled by "
                f"{self.scale}. Received: arrays of shape {lr.shape} and {sr.shape}"
            )

    def _window(self, lr: np.ndarray, residual: np.ndarray, context: np.ndarray) -> np.ndarray:
        """Returns the map of one window; its outermost `overlap` pixels are valid only at the image's borders."""
        codes = inputs.quantized_input(lr, residual, self.scale, self._input)
        shape = (1, *codes.shape)
        try:
            self._shape = litert.resize_input(self._interpreter, self._input, shape, self._shape)
            self._interpreter.set_tensor(self._input["index"], codes[None])
            quantized = tensors.quantized(context[None, None, None], self._context)
            self._interpreter.set_tensor(self._context["index"], quantized)
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise litert.failed(self.path, error) from error
        codes = self._interpreter.get_tensor(self._output["index"])[0]
        # One of 256 values for each code: exp of the float32 map would take longer than the network.
        return self._scales[np.ascontiguousarray(tensors.depth_to_space(codes, self.scale)).view(np.uint8)]

    def _open(self, threads: int) -> None:
        try:
            self._interpreter = litert.interpreter_class()(model_content=self.path.read_bytes(), num_threads=threads)
            details = self._interpreter.get_input_details()
            self._output = self._interpreter.get_output_details()[0]
        except (ValueError, RuntimeError) as error:
            raise litert.failed(self.path, error) from error
        named = {CONTEXT in tensor["name"]: tensor for tensor in details}
        if len(details) != 2 or len(named) != 2 or self._output["dtype"] != np.int8:
            raise InputError(f"{self.path} is no int8 head of two inputs; export it again")
        self._input, self._context = named[False], named[True]
        self._shape = None
