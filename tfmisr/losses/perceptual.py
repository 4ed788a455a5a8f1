"""Perceptual losses: distances of a network's features, of VGG19 (Keras Applications) or any `.keras` file.

A network for radiographs, as an example: RadImageNet's ResNet50 (Mei et al., Radiology: Artificial Intelligence 2022,
https://doi.org/10.1148/ryai.210315) is published as weights for Keras Applications. Convert it once:

    network = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(None, None, 3))
    network.load_weights("RadImageNet-ResNet50_notop.h5")
    network.save("radimagenet.keras")

and then `--loss "mae + 0.01*perceptual(network=radimagenet.keras, layers=conv3_block4_out, value_range=signed)"`.
"""

import contextlib

import keras
import numpy as np
from keras import ops

from tfmisr import models
from tfmisr.edge.errors import InputError, check_name
from tfmisr.edge.text import counted
from tfmisr.losses._images import image_mean
from tfmisr.losses._loss import Choice, Loss, Text
from tfmisr.losses.expression import VALUE_RANGES

_BGR_MEANS = np.array([103.939, 116.779, 123.68], "float32")
_VGG19_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
)


class _Perceptual(keras.losses.Loss):
    """Mean distance of the features of one or more layers, equally weighted."""

    def __init__(self, distance, reduction, name, dtype):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.distance = distance

    def call(self, y_true, y_pred):
        pairs = zip(self._features(ops.stop_gradient(y_true)), self._features(y_pred), strict=True)
        return sum(self._distance(true, pred) for true, pred in pairs) / len(self.features.outputs)

    def _features(self, images):
        outputs = self.features(self._preprocess(images), training=False)
        return [ops.cast(x, "float32") for x in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]

    def _distance(self, true, pred):
        return image_mean(ops.square(pred - true) if self.distance == "l2" else ops.abs(pred - true))

    def _preprocess(self, images):
        channels = self.features.inputs[0].shape[-1]
        if images.shape[-1] == channels:
            return images
        if images.shape[-1] != 1:
            raise InputError(
                f"loss perceptual: the network takes images of {counted(channels, 'channel')}. "
                f"Received: {images.shape[-1]}"
            )
        return ops.repeat(images, channels, axis=-1)

    def get_config(self):
        return {**super().get_config(), "distance": self.distance}


@keras.saving.register_keras_serializable("tfmisr")
class VGG19Perceptual(_Perceptual):
    """Mean distance of VGG19's features, of a network trained on photographs.

    Gray images are repeated to three channels. ESRGAN's loss is the default; SRGAN's are
    `layers=conv5_4, activation=after, distance=l2` and the same with `conv2_2`.

    Args:
        layers: VGG19's convolutions, joined by "+", such as `conv2_2+conv5_4`.
        activation: `before` or `after` the ReLU: where the features are taken.
        distance: `l1`, the mean absolute difference, or `l2`, the mean squared one.
        weights: `.h5` file of the convolutions' weights; empty: Keras downloads them (80 MB) and checks their hash.

    Raises:
        InputError: There is no such layer, or the weights are not available.

    Reference:
        Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network (SRGAN),
        CVPR 2017, https://arxiv.org/abs/1609.04802
        Wang et al., ESRGAN, ECCV Workshops 2018, https://arxiv.org/abs/1809.00219
    """

    def __init__(
        self,
        layers: str = "conv5_4",
        activation: str = "before",
        distance: str = "l1",
        weights: str = "",
        reduction: str = "sum_over_batch_size",
        name: str = "perceptual",
        dtype: str | None = None,
    ):
        super().__init__(distance, reduction, name, dtype)
        self.layers, self.activation, self.weights = layers, activation, weights
        self.features = _vgg19(layers.split("+"), activation == "before", weights)

    def _preprocess(self, images):
        # As the network was trained: BGR, 0 to 255, minus the channel means of ImageNet.
        return ops.flip(super()._preprocess(images), axis=-1) * 255.0 - _BGR_MEANS

    def get_config(self):
        config = {"layers": self.layers, "activation": self.activation, "weights": self.weights}
        return {**super().get_config(), **config}


VGG19_LOSS = Loss(
    "perceptual",
    VGG19Perceptual,
    {
        "layers": Text("conv5_4"),
        "activation": Choice(("before", "after")),
        "distance": Choice(("l1", "l2")),
        "weights": Text(),
    },
    min_side=16,
    order=90,
)


@keras.saving.register_keras_serializable("tfmisr")
class NetworkPerceptual(_Perceptual):
    """Mean distance of the features of a network in a `.keras` file, loaded in Keras's `safe_mode`.

    Args:
        network: Path of the file; the network takes images `(batch, height, width, channels)`. Gray images are
            repeated to its channels.
        layers: Names of its layers, joined by "+"; empty: its output.
        value_range: Value range of its input: `unit` [0, 1], `signed` [-1, 1], `bytes` [0, 255].
        distance: `l1`, the mean absolute difference, or `l2`, the mean squared one.

    Raises:
        InputError: The file is not such a network.
    """

    def __init__(
        self,
        network: str,
        layers: str = "",
        value_range: str = "unit",
        distance: str = "l1",
        reduction: str = "sum_over_batch_size",
        name: str = "perceptual",
        dtype: str | None = None,
    ):
        super().__init__(distance, reduction, name, dtype)
        self.network, self.layers, self.value_range = network, layers, value_range
        self.features = _from_file(network, [layer for layer in layers.split("+") if layer])

    def _preprocess(self, images):
        factor, offset = VALUE_RANGES[self.value_range]
        return super()._preprocess(images) * factor + offset

    def get_config(self):
        config = {"network": self.network, "layers": self.layers, "value_range": self.value_range}
        return {**super().get_config(), **config}


# The smallest image depends on the network, which is not loaded before training.
NETWORK_LOSS = Loss(
    "perceptual",
    NetworkPerceptual,
    {
        "network": Text(),
        "layers": Text(),
        "value_range": Choice(("unit", "signed", "bytes")),
        "distance": Choice(("l1", "l2")),
    },
    selected_by="network",
    order=91,
)


@contextlib.contextmanager
def _in_float32():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _vgg19(layers, before_activation, weights):
    layers = [layer.strip() for layer in layers]
    network = _vgg19_with(weights)
    convolutions = (layer for layer in network.layers if "conv" in layer.name)
    known = {layer.name.replace("block", "conv").replace("_conv", "_"): layer for layer in convolutions}
    for name in layers:
        check_name("layer of VGG19", name, list(known))
    selected = {known[name].name for name in layers}
    x, outputs = network.inputs[0], {}
    with _in_float32():
        for layer in network.layers[1:]:
            if layer.name in selected and before_activation:
                layer.activation = keras.activations.linear
                outputs[layer.name] = layer(x)
                x = keras.layers.ReLU(name=f"{layer.name}_relu")(outputs[layer.name])
            else:
                x = layer(x)
                if layer.name in selected:
                    outputs[layer.name] = x
            if len(outputs) == len(selected):
                break
        return _frozen(keras.Model(network.inputs[0], [outputs[known[name].name] for name in layers]))


def _vgg19_with(weights):
    try:
        with _in_float32():
            shape = (None, None, 3)
            return keras.applications.VGG19(include_top=False, weights=weights or "imagenet", input_shape=shape)
    except Exception as error:  # Keras raises a plain Exception where a download fails
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if weights:
            raise InputError(f"{weights} does not hold the weights of VGG19's convolutions: {reason}") from error
        raise InputError(
            f"VGG19's weights could not be downloaded ({reason}); download {_VGG19_URL} elsewhere and use "
            "perceptual(weights=FILE.h5), or choose another loss"
        ) from error


def _from_file(path, layers):
    network = models.load(path)
    if len(network.inputs) != 1 or len(network.inputs[0].shape) != 4:
        raise InputError(f"expected a network of one image (batch, height, width, channels) in {path}")
    names = [layer.name for layer in network.layers]
    for name in layers:
        check_name(f"layer of {path}", name, names)
    outputs = [network.get_layer(name).output for name in layers] or network.outputs
    with _in_float32():
        return _frozen(_any_size(keras.Model(network.inputs[0], outputs), path))


def _any_size(network, path):
    _batch, height, width, channels = network.inputs[0].shape
    if height is None and width is None:
        return network
    try:
        resizable = keras.models.clone_model(network, input_tensors=keras.Input((None, None, channels)))
    except Exception as error:  # such as for a dense layer after Flatten, whose weights fit one size
        raise InputError(
            f"{path} takes only images of {height}x{width}; choose layers before the first that depends on the size"
        ) from error
    resizable.set_weights(network.get_weights())
    return resizable


def _frozen(network):
    network.trainable = False
    return network
