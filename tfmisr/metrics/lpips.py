"""LPIPS: distance of the features of a network trained on photographs, weighted to match human judgments.

Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018,
https://arxiv.org/abs/1801.03924. Version 0.1 with its authors' weights, the networks AlexNet and VGG16 as torchvision
publishes them.
"""

import functools
import os

import keras
import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.metrics import _metric, _torch_file
from tfmisr.metrics._metric import Metric
from tfmisr.metrics._region import pair

_SHIFT, _SCALE = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
# Stages, each with the pooling (size, stride) before it and its convolutions (number in torchvision's `features`,
# filters, kernel, stride); the features are taken after each stage.
_ALEX = (
    (None, [(0, 64, 11, 4)]),
    ((3, 2), [(3, 192, 5, 1)]),
    ((3, 2), [(6, 384, 3, 1)]),
    (None, [(8, 256, 3, 1)]),
    (None, [(10, 256, 3, 1)]),
)
_VGG = (
    (None, [(0, 64, 3, 1), (2, 64, 3, 1)]),
    ((2, 2), [(5, 128, 3, 1), (7, 128, 3, 1)]),
    ((2, 2), [(10, 256, 3, 1), (12, 256, 3, 1), (14, 256, 3, 1)]),
    ((2, 2), [(17, 512, 3, 1), (19, 512, 3, 1), (21, 512, 3, 1)]),
    ((2, 2), [(24, 512, 3, 1), (26, 512, 3, 1), (28, 512, 3, 1)]),
)
# Name to stages and smallest side of an image.
_NETWORKS = {"lpips_alex": (_ALEX, 31), "lpips_vgg": (_VGG, 16)}


class LPIPS:
    """Learned perceptual image patch similarity, 0 and above; 0 for identical images, lower is better.

    Called like the functions in `tfmisr.metrics`, with `(y_true, y_pred, max_val)`. Gray images are repeated to three
    channels; nan where a side is too short for the network.

    Args:
        name: `lpips_alex` or `lpips_vgg`.
        trunk: Tensors of the network by torchvision's names; others are ignored.
        linear: Tensors `lin0.model.1.weight` to `lin4.model.1.weight`.

    Raises:
        InputError: The tensors are those of another network.
    """

    def __init__(self, name: str, trunk: dict[str, np.ndarray], linear: dict[str, np.ndarray]):
        stages, self.min_side = _NETWORKS[name]
        try:
            self.network = _network(stages, trunk)
            self.factors = [linear[f"lin{i}.model.1.weight"].astype(np.float64).ravel() for i in range(len(stages))]
        except (KeyError, ValueError) as error:
            raise InputError(f"expected weights of {name}, found others: {error}") from error
        if [len(f) for f in self.factors] != [output.shape[-1] for output in self.network.outputs]:
            raise InputError(f"expected weights of {name}, found others: factors of other features")

    def __call__(self, y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
        y_true, y_pred = pair(y_true, y_pred, max_val)
        if y_true.shape[2] not in (1, 3):
            raise ValueError(f"LPIPS needs 1 or 3 channels. Received: shape {y_true.shape}")
        if min(y_true.shape[:2]) < self.min_side:
            return float("nan")
        true, pred = (self._features(image / max_val) for image in (y_true, y_pred))
        return float(sum(np.mean(((a - b) ** 2) @ f) for a, b, f in zip(true, pred, self.factors, strict=True)))

    def _features(self, image):
        inputs = (2 * np.broadcast_to(image, (*image.shape[:2], 3)) - 1 - _SHIFT) / _SCALE
        outputs = (np.asarray(x[0], np.float64) for x in self.network(inputs[None].astype(np.float32), training=False))
        return [x / (np.sqrt(np.sum(x**2, axis=-1, keepdims=True)) + 1e-10) for x in outputs]


def load(name: str, folder: str | os.PathLike | None = None) -> LPIPS:
    """Returns the metric `lpips_alex` or `lpips_vgg` with its published weights; see `_weights.find`.

    Raises:
        InputError: They cannot be downloaded, or a file is not the published one.
    """
    return _metric.get(name).load(folder)


def _from_files(name, trunk, linear):
    return LPIPS(name, _torch_file.read(trunk), _torch_file.read(linear))


LPIPS_ALEX = Metric(
    "lpips_alex",
    functools.partial(_from_files, "lpips_alex"),
    "LPIPS v0.1 AlexNet (Zhang 2018)",
    "LPIPS AlexNet",
    ".4f",
    "lower",
    ideal=0.0,
    weights=("alexnet-owt-7be5be79.pth", "lpips-v0.1-alex.pth"),
    order=300,
)
LPIPS_VGG = Metric(
    "lpips_vgg",
    functools.partial(_from_files, "lpips_vgg"),
    "LPIPS v0.1 VGG16 (Zhang 2018)",
    "LPIPS VGG",
    ".4f",
    "lower",
    ideal=0.0,
    weights=("vgg16-397923af.pth", "lpips-v0.1-vgg.pth"),
    order=310,
)


def _network(stages, tensors):
    x = inputs = keras.Input((None, None, 3))
    outputs, numbers = [], []
    for pooling, convolutions in stages:
        if pooling:
            x = keras.layers.MaxPooling2D(*pooling, dtype="float32")(x)
        for number, filters, kernel, stride in convolutions:
            # AlexNet's first convolution pads two pixels, less than half of its kernel.
            x = keras.layers.ZeroPadding2D(2 if stride > 1 else kernel // 2, dtype="float32")(x)
            x = keras.layers.Conv2D(filters, kernel, stride, activation="relu", dtype="float32")(x)
            numbers.append(number)
        outputs.append(x)
    network = keras.Model(inputs, outputs)
    values = []
    for number in numbers:
        values += [np.transpose(tensors[f"features.{number}.weight"], (2, 3, 1, 0)), tensors[f"features.{number}.bias"]]
    network.set_weights(values)
    return network
