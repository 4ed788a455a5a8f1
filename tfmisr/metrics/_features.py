"""Feature networks of the set-level metrics FID and KID: the standard Inception v3, or any network in a `.keras` file.

The standard network was trained on photographs, which have little in common with radiographs. A network trained on
medical images, such as RadImageNet's (see `tfmisr.losses.perceptual` for how to convert its weights), is more
meaningful; its numbers are comparable only with those of the same file, whose digest is part of the protocol.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.losses.expression import VALUE_RANGES


@dataclasses.dataclass(frozen=True)
class Features:
    """A function from an image to a feature vector.

    Attributes:
        function: From `(height, width, channels)` in [0, 1] to `(features,)`.
        channels: Number of input channels; gray images are repeated to them.
        count: Number of features.
        description: Description of the network, for the protocol.
    """

    function: Callable[[np.ndarray], np.ndarray]
    channels: int
    count: int
    description: str

    def __call__(self, image: np.ndarray, max_val: float) -> np.ndarray:
        """Returns the features of an image `(height, width, channels)` of 8 or 16 bits.

        Raises:
            InputError: It is not gray and has another number of channels than the network.
        """
        if image.shape[2] not in (1, self.channels):
            raise InputError(
                f"the network of --features takes images of {counted(self.channels, 'channel')}. "
                f"Received: {image.shape[2]}"
            )
        return self.function(np.broadcast_to(image / max_val, (*image.shape[:2], self.channels)))


def standard(folder: str | os.PathLike | None = None) -> Features:
    """Returns the Inception network of FID and KID with its published weights; see `_weights.find`."""
    from tfmisr.metrics import _inception, _torch_file, _weights

    name = "weights-inception-2015-12-05-6726825d.pth"
    network = _inception.Inception(_torch_file.read(_weights.find(name, folder)))
    return Features(network, 3, 2048, "Inception v3 of 2015-12-05, 2048 features, resized as TensorFlow 1 did")


def from_file(path: str | os.PathLike, value_range: str = "unit") -> Features:
    """Returns the network of a `.keras` file, loaded in Keras's `safe_mode`.

    Its output is a vector, or a feature map that is averaged over height and width. For a network of a fixed input
    size the images are resized (bicubic, antialiased); otherwise they are used unchanged.

    Args:
        path: The file, or a run's folder; the network takes `(batch, height, width, channels)`.
        value_range: Value range of its input: `unit` [0, 1], `signed` [-1, 1], `bytes` [0, 255].

    Raises:
        InputError: The file is not such a network.
    """
    from tfmisr import models
    from tfmisr.metrics import _weights

    path = pathlib.Path(path)
    path = path / "model.keras" if path.is_dir() else path
    network = models.load(path)
    shapes = [tensor.shape for tensor in (*network.inputs, *network.outputs)]
    if len(shapes) != 2 or len(shapes[0]) != 4 or len(shapes[1]) not in (2, 4) or shapes[1][-1] is None:
        raise InputError(f"expected a network from one image to one vector or map in {path}")
    size = shapes[0][1:3]
    scale, offset = VALUE_RANGES[value_range]

    def function(image):
        inputs = _resize(image, size) * scale + offset
        output = np.asarray(network(inputs[None].astype(np.float32), training=False), np.float64)[0]
        return output if output.ndim == 1 else output.mean(axis=(0, 1))

    resizing = "images as they are" if None in size else f"resized to {size[0]}x{size[1]}"
    description = f"network {_weights.sha256_of(path)[:12]}, {shapes[1][-1]} features, {value_range}, {resizing}"
    return Features(function, shapes[0][-1], shapes[1][-1], description)


def _resize(image, size):
    from PIL import Image

    if None in size or image.shape[:2] == tuple(size):
        return image
    planes = (Image.fromarray(np.float32(plane)) for plane in np.moveaxis(image, 2, 0))
    return np.stack([plane.resize(size[::-1], Image.Resampling.BICUBIC) for plane in planes], axis=-1)
