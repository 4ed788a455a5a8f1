"""Networks whose features FID and KID compare: the standard Inception, or any network in a `.keras` file.

The standard one learned on photographs, which have little in common with radiographs. A network of one's own field,
such as RadImageNet's (see `tfmisr.losses.perceptual` for how its weights become a file), says more, and makes numbers
that can only be compared with others through the same file: its digest is part of the protocol.
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
    """A function from an image to a vector.

    Attributes:
        function: From `(height, width, channels)` in [0, 1] to `(features,)`.
        channels: What it takes; gray images are repeated to them.
        count: Number of features.
        description: What it is, for the protocol.
    """

    function: Callable[[np.ndarray], np.ndarray]
    channels: int
    count: int
    description: str

    def __call__(self, image: np.ndarray, max_val: float) -> np.ndarray:
        """Returns the features of an image `(height, width, channels)` of 8 or 16 bits.

        Raises:
            InputError: It has other channels than the network, and is not gray.
        """
        if image.shape[2] not in (1, self.channels):
            raise InputError(
                f"the network of --features takes images of {counted(self.channels, 'channel')}. "
                f"Received: {image.shape[2]}"
            )
        return self.function(np.broadcast_to(image / max_val, (*image.shape[:2], self.channels)))


def standard(folder: str | os.PathLike | None = None) -> Features:
    """Returns the Inception network of FID and KID with its published weights; see `weights.find`."""
    from tfmisr.metrics import inception, torch_file, weights

    name = "weights-inception-2015-12-05-6726825d.pth"
    network = inception.Inception(torch_file.read(weights.find(name, folder)))
    return Features(network, 3, 2048, "Inception v3 of 2015-12-05, 2048 features, resized as TensorFlow 1 did")


def from_file(path: str | os.PathLike, value_range: str = "unit") -> Features:
    """Returns the network of a `.keras` file, loaded in Keras's `safe_mode`.

    Its output is one vector, or a map, whose mean over height and width is taken. A network of one size has the
    images resized to it (bicubic, antialiased); any other sees them as they are.

    Args:
        path: The file, or a run's folder; the network takes `(batch, height, width, channels)`.
        value_range: What black and white are to it: `unit` 0 and 1, `signed` -1 and 1, `bytes` 0 and 255.

    Raises:
        InputError: The file holds no such network.
    """
    from tfmisr import models
    from tfmisr.metrics import weights

    path = pathlib.Path(path)
    path = path / "model.keras" if path.is_dir() else path
    network = models.load(path)
    shapes = [tensor.shape for tensor in (*network.inputs, *network.outputs)]
    if len(shapes) != 2 or len(shapes[0]) != 4 or len(shapes[1]) not in (2, 4) or shapes[1][-1] is None:
        raise InputError(f"expected a network from one image to one vector or map in {path}")
    size = shapes[0][1:3]
    scale, offset = VALUE_RANGES[value_range]

    def function(image):
        inputs = _resized(image, size) * scale + offset
        found = np.asarray(network(inputs[None].astype(np.float32), training=False), np.float64)[0]
        return found if found.ndim == 1 else found.mean(axis=(0, 1))

    seen = "images as they are" if None in size else f"resized to {size[0]}x{size[1]}"
    description = f"network {weights.sha256_of(path)[:12]}, {shapes[1][-1]} features, {value_range}, {seen}"
    return Features(function, shapes[0][-1], shapes[1][-1], description)


def _resized(image, size):
    from PIL import Image

    if None in size or image.shape[:2] == tuple(size):
        return image
    planes = (Image.fromarray(np.float32(plane)) for plane in np.moveaxis(image, 2, 0))
    return np.stack([plane.resize(size[::-1], Image.Resampling.BICUBIC) for plane in planes], axis=-1)
