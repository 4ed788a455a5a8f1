"""What `tfmisr.load` returns: an upscaler of arrays of any type, and of image files."""

import dataclasses
import os

import numpy as np

from tfmisr.edge import arrays
from tfmisr.edge.images import Image, read_images
from tfmisr.edge.upscaler import Upscaler


class ArrayUpscaler:
    """A network or interpolation at one scale: called with an image, returns it enlarged.

    It wraps `tfmisr.edge.upscaler.Upscaler`, which takes float32 images alone and returns what the network computed.

    Args:
        upscaler: What enlarges.
        scale: The factor, the upscaler's own where it has one.

    Attributes:
        name: What tables call it.
        scale: Upsampling factor.
        channels: 1 or 3, which the network was made for; `None`: either.
        parameters: Number of its weights.
        config: Fields of the run that made it; empty where unknown.
    """

    def __init__(self, upscaler: Upscaler, scale: int):
        self._upscaler, self.scale = upscaler, scale
        self.name, self.channels = upscaler.name, upscaler.channels
        self.parameters, self.config = upscaler.parameters, upscaler.config

    def __call__(self, image, max_val: int | None = None):
        """Returns the image enlarged.

        Args:
            image: Array of shape (height, width), (height, width, 1) or (height, width, 3), uint8, uint16, or float in
                [0, 1]; or the path of a PNG, JPEG, TIFF or DICOM file.
            max_val: Pixel value of a uint8 or uint16 array that is full scale (white). Default: 255 of uint8; of uint16
                the smallest `2**k - 1`, 255 or more, that holds the array's values, as `tfmisr.edge.images` has it for
                files. Give it for slices of one scan.

        Returns:
            Array with the same type and axes, `scale` times as high and wide: whole numbers up to `max_val`, or floats
            in [0, 1] (computed in float32). Of a path: a list of `tfmisr.edge.images.Image`, one for each frame as
            `tfmisr.edge.images.read_images` returns them, with `pixels` and `max_val`. A derived DICOM image is
            written by `python -m tfmisr.upscale`.

        Raises:
            InputError: Another type, shape or range, or another number of channels than the network's.
        """
        if isinstance(image, (str, os.PathLike)):
            return self._file(image, max_val)
        lr, full = arrays.to_unit(image, max_val)
        sr = self._upscaler(lr, self.scale, full)
        return arrays.match_type(np.clip(sr, 0, 1) if full is None else sr, image)

    def _file(self, path, max_val) -> list[Image]:
        if max_val is not None:
            raise arrays.InputError("max_val is for arrays; a file says its own")
        frames = read_images(path)
        return [dataclasses.replace(frame, pixels=self(frame.pixels, frame.max_val)) for frame in frames]

    def __repr__(self):
        channels = self.channels or "any"
        return f"<upscaler {self.name}: scale {self.scale}, channels {channels}, {self.parameters:,} parameters>"
