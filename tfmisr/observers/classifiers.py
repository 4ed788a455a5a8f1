"""Loads a frozen classifier as an observer: a Keras network, a LiteRT model, or a function of the user.

`tfmisr.edge.runtime` runs super-resolution models with a model card; a classifier has no card, so what it expects is
declared: size, value range and polarity.
"""

import dataclasses
import hashlib
import importlib
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from tfmisr.edge import resize, runtime, stderr_filter
from tfmisr.edge.errors import InputError

POLARITIES = ("stored", "inverted")


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What a classifier expects.

    Attributes:
        size: Height and width of its input in pixels.
        value_range: Values of a stored 0 and of the full scale.
        polarity: `stored`: as the dataset stores images; `inverted`: the full scale minus that.
    """

    size: tuple[int, int]
    value_range: tuple[float, float]
    polarity: str

    def prepare(self, image: np.ndarray, max_val: int) -> np.ndarray:
        """Returns an image for the classifier, float32 `(height, width, 1)`, resized (antialiased bicubic), clipped.

        Args:
            image: Levels `(height, width)`.
            max_val: Full-scale value.
        """
        values = image[..., None].astype(np.float32) / max_val
        values = 1 - values if self.polarity == "inverted" else values
        if values.shape[:2] != self.size:
            values = np.clip(resize.resize(values, self.size), 0, 1)
        low, high = self.value_range
        return np.float32(low) + values * np.float32(high - low)


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A classifier of gray images.

    Attributes:
        name: Name of its file without the folder, or `module:function`.
        sha256: Of the file; empty for a function, whose code may be anywhere.
        size: Height and width that a file is made for; `None`: any.
        function: Maps float32 `(images, height, width, 1)` to probabilities `(images, labels)`.
    """

    name: str
    sha256: str
    size: tuple[int, int] | None
    function: Callable[[np.ndarray], np.ndarray]

    def __call__(self, images: np.ndarray, labels: Sequence[str]) -> np.ndarray:
        """Returns probabilities `(images, labels)`, float64.

        Args:
            images: float32 `(images, height, width, 1)`.
            labels: Names of the outputs.

        Raises:
            InputError: The classifier returns something else, or fails.
        """
        try:
            found = np.asarray(self.function(images), np.float64)
        except InputError:
            raise
        except Exception as error:  # of a user's function or file, of any type
            raise InputError(f"classifier {self.name} failed: {type(error).__name__}: {error}") from error
        found = found[:, None] if found.ndim == 1 else found
        if found.shape != (len(images), len(labels)):
            raise InputError(
                f"expected {len(labels)} outputs for each image from classifier {self.name}, one for each label; "
                f"received an array of shape {found.shape} for {len(images)} images"
            )
        if not (np.isfinite(found).all() and found.min() >= -1e-6 and found.max() <= 1 + 1e-6):
            raise InputError(
                f"expected probabilities of 0 to 1 from classifier {self.name}, received {found.min():g} to "
                f"{found.max():g}; end it with a sigmoid"
            )
        return np.clip(found, 0, 1)


def load(name: str) -> Classifier:
    """Loads a classifier.

    Args:
        name: `.keras` or `.tflite` file, or `module:function`, which imports the module: it runs the user's code.

    Raises:
        InputError: There is none, it cannot be loaded safely, or its input is no gray or RGB image.
    """
    path = pathlib.Path(name).expanduser()
    if path.suffix in (".keras", ".tflite"):
        if not path.is_file():
            raise InputError(f"expected a classifier at {path}, found none")
        read = _keras if path.suffix == ".keras" else _tflite
        size, function = read(path)
        return Classifier(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), size, function)
    module, separator, attribute = name.partition(":")
    if not separator or not module or not attribute:
        raise InputError(f"classifier must be a .keras or .tflite file, or module:function. Received: {name}")
    return Classifier(name, "", None, _function(module, attribute))


def _function(module, attribute):
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"expected a function {attribute} in an importable module {module}: {error}") from error
    if not callable(function):
        raise InputError(f"expected a function. Received: {module}:{attribute}, a {type(function).__name__}")
    return function


def _keras(path):
    from tfmisr import models

    network = models.load(path)
    shape = network.input_shape
    channels = _channels(path, shape)
    size = None if None in shape[1:3] else tuple(shape[1:3])
    return size, lambda images: network.predict_on_batch(np.repeat(images, channels, axis=-1))


def _channels(path, shape):
    if not isinstance(shape, (tuple, list)) or len(shape) != 4 or shape[-1] not in (1, 3):
        raise InputError(f"expected a classifier of gray or RGB images (batch, height, width, channels) at {path}")
    return int(shape[-1])


def _tflite(path):
    try:
        interpreter = runtime.interpreter_class()(model_content=path.read_bytes(), num_threads=1)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path} is no .tflite file that LiteRT can run: {error}") from error
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(f"expected one input and one output in {path}. Received: {len(inputs)} and {len(outputs)}")
    channels = _channels(path, [int(n) for n in inputs[0]["shape"]])
    fixed = [int(n) for n in inputs[0].get("shape_signature", inputs[0]["shape"])[1:3]]

    def apply(image):
        interpreter.set_tensor(inputs[0]["index"], _quantized(image, inputs[0]))
        interpreter.invoke()
        return _dequantized(interpreter.get_tensor(outputs[0]["index"]), outputs[0])[0]

    def function(images):
        images = np.repeat(images, channels, axis=-1)
        with stderr_filter.filter_stderr():
            interpreter.resize_tensor_input(inputs[0]["index"], images[:1].shape)
            interpreter.allocate_tensors()
        return np.stack([apply(image[None]) for image in images])

    return (tuple(fixed) if min(fixed) > 0 else None), function


def _quantized(image, details):
    if details["dtype"] == np.float32:
        return image
    scale, zero = details["quantization"]
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(image / scale + zero), limits.min, limits.max).astype(details["dtype"])


def _dequantized(values, details):
    if values.dtype == np.float32:
        return values
    scale, zero = details["quantization"]
    return (values.astype(np.float64) - zero) * scale
