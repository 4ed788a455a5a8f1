"""Plug-and-play restoration: the acquisition is inverted, and a denoiser says what images look like.

Zhang, Zuo, Gu and Zhang, Learning Deep CNN Denoiser Prior for Image Restoration, CVPR 2017 (IRCNN),
https://arxiv.org/abs/1704.03264

Half-quadratic splitting: in turn, the image nearest to the denoised one whose reduction agrees with the data (by
conjugate gradients, with the exact adjoint of the run's own degradation), and the denoiser, each time for less noise.
Departures: as in FFDNet (Zhang et al., IEEE TIP 2018, https://arxiv.org/abs/1710.04026), one denoiser is told the
noise level, where IRCNN trains one for each of 25 levels, and sees the image as four of half the size; 32 filters and
no batch normalisation, so that it learns in minutes and runs in seconds without a GPU; 8 iterations for 30; the weight
of the denoiser follows from the noise level, as in the authors' DPIR (https://arxiv.org/abs/2008.13751).
"""

from collections.abc import Callable

import numpy as np

from tfmisr.classical import operators
from tfmisr.edge import dihedral, resize, tiling
from tfmisr.edge.errors import InputError

DILATIONS = (1, 2, 3, 4, 3, 2, 1)
SETTINGS = {"filters": 32, "steps": 800, "batch": 16, "patch": 48, "learning_rate": 1.5e-3, "levels": [1, 50]}
ITERATIONS = 8
_RADIUS = sum(DILATIONS)  # pixels of the four halves that the denoiser sees on each side
_TILE = 256  # likewise
_TRUST = 0.23  # DPIR's lambda
_GRADIENT_STEPS = 30  # of conjugate gradients, at most
_LEAST_NOISE = 1 / 255  # that the data are trusted to, rounding included


def denoiser(channels: int, filters: int):
    """Returns the untrained network: it estimates the noise, in units of its level, which is to be taken off.

    Told so, it learns all levels alike, and does no harm where there is little noise.

    Args:
        channels: 1 or 3.
        filters: Of each hidden convolution.

    Returns:
        `keras.Model` from `(batch, height, width, 4 * channels + 1)`, what `halved` makes of the image and its noise
        level, a standard deviation as a fraction of the range, to `(batch, height, width, 4 * channels)`.
    """
    import keras

    noisy = keras.Input((None, None, 4 * channels + 1), name="noisy_and_level")
    # Around 0, where it learns sooner.
    x = keras.layers.Rescaling(1.0, offset=-0.5, name="centred")(noisy)
    for i, dilation in enumerate(DILATIONS, 1):
        last = i == len(DILATIONS)
        x = keras.layers.Conv2D(
            4 * channels if last else filters,
            3,
            padding="same",
            dilation_rate=dilation,
            activation=None if last else "relu",
            name=f"conv{i}",
        )(x)
    return keras.Model(noisy, x, name="denoiser")


def halved(image: np.ndarray) -> np.ndarray:
    """Returns an image as four of half its height and width: (..., height, width, channels), both even."""
    *rest, height, width, channels = image.shape
    parts = image.reshape(*rest, height // 2, 2, width // 2, 2, channels).swapaxes(-3, -4)
    return parts.reshape(*rest, height // 2, width // 2, 4 * channels)


def joined(parts: np.ndarray) -> np.ndarray:
    """Returns the image that `halved` has taken apart."""
    height, width, channels = parts.shape
    parts = parts.reshape(height, width, 2, 2, channels // 4).swapaxes(1, 2)
    return parts.reshape(2 * height, 2 * width, channels // 4)


def fit(cache, scale: int, degradation, seed: int) -> dict[str, np.ndarray]:
    """Trains the denoiser on patches of training images; the same for every scale and degradation.

    Args:
        cache: `tfmisr.data.pipeline.PixelCache` of training images.
        scale: Upsampling factor, on which nothing here depends.
        degradation: How low resolution is made; likewise.
        seed: Of the weights, the patches and the noise.

    Returns:
        float32 arrays, the network's weights by number.
    """
    import keras
    import tensorflow as tf

    from tfmisr.progress import bar

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    network = denoiser(cache.channels, SETTINGS["filters"])
    warm = SETTINGS["steps"] // 10
    # Without a gentle start the first steps leave it dead.
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, SETTINGS["steps"] - warm, warmup_target=SETTINGS["learning_rate"], warmup_steps=warm
    )
    network.compile(keras.optimizers.Adam(schedule), "mse")
    for step in bar(range(SETTINGS["steps"]), desc="training the denoiser", unit=" steps", leave=False):
        network.train_on_batch(*batch(cache, seed, step))
    return {f"weight{i:02d}": weight for i, weight in enumerate(network.get_weights())}


def batch(cache, seed: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns noisy patches with their level, and the noise in units of it: a pure function of the seed and the step.

    Images smaller than a patch are mirrored at their edges.

    Returns:
        float32 arrays, input and output of the denoiser.
    """
    rng = np.random.default_rng([seed, 6, step])
    side = SETTINGS["patch"]
    clean = np.stack([_patch(cache, side, rng) for _ in range(SETTINGS["batch"])])
    level = np.exp(rng.uniform(*np.log(SETTINGS["levels"]), (len(clean), 1, 1, 1))).astype(np.float32) / 255
    noise = rng.standard_normal(clean.shape, np.float32)
    return _told(halved(clean + level * noise), level), halved(noise)


def _told(parts, level):
    return np.concatenate([parts, np.broadcast_to(np.float32(level), (*parts.shape[:3], 1))], axis=-1)


def _patch(cache, side, rng):
    i = int(rng.integers(len(cache)))
    image = cache[i]
    y, x = (int(rng.integers(max(length - side, 0) + 1)) for length in image.shape[:2])
    patch = image[y : y + side, x : x + side].astype(np.float32) / np.float32(cache.max_vals[i])
    patch = np.pad(patch, [(0, side - length) for length in patch.shape[:2]] + [(0, 0)], "symmetric")
    return dihedral.apply_dihedral(patch, int(rng.integers(8)))


def network_of(fitted: dict[str, np.ndarray]):
    """Returns the trained denoiser, a Keras network.

    Raises:
        InputError: These are not its weights.
    """
    weights = [fitted[name] for name in sorted(fitted)]
    try:
        network = denoiser(weights[-1].shape[0] // 4, weights[0].shape[-1])
        network.set_weights(weights)
    except (IndexError, ValueError) as error:
        raise InputError("expected the weights of a denoiser with seven convolutions, found others") from error
    return network


def upscaler(fitted: dict[str, np.ndarray], scale: int, degradation) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from float32 (height, width, channels) in [0, 1] to the enlarged image, not clipped.

    Args:
        fitted: What `fit` returned.
        scale: Upsampling factor.
        degradation: `tfmisr.degradations.Degradation` that made the low-resolution image; its noise counts as
            white, of the strength that it has on middle gray.

    Raises:
        InputError: By the function: a step of the degradation has no adjoint; see `operators.linearised`.
    """
    denoise = _applied(network_of(fitted))
    quiet = operators.without_noise(degradation)
    noise = max(operators.noise_of(degradation), _LEAST_NOISE)

    def upscale(lr):
        x = resize.upscale(lr, scale)
        for level in levels(scale, noise):
            x = denoise(x, level)
            x = nearest(*operators.linearised(quiet, x), x, lr, _TRUST * (noise / level) ** 2)
        return x

    return upscale


def _applied(network):
    """Returns the denoiser as a function of an image and a level, in bounded memory, mirrored at the edge."""
    import tensorflow as tf

    signature = [tf.TensorSpec((1, None, None, network.input_shape[-1]), tf.float32)]
    apply = tf.function(lambda x: network(x, training=False), input_signature=signature)

    def denoise(image, level):
        height, width = image.shape[:2]
        margin = 2 * _RADIUS
        padded = np.pad(image, ((margin, margin + height % 2), (margin, margin + width % 2), (0, 0)), "symmetric")
        noise = tiling.upscale(lambda x: apply(_told(x, level)).numpy(), halved(padded), 1, _TILE, _RADIUS)
        return image - np.float32(level) * joined(noise)[margin : margin + height, margin : margin + width]

    return denoise


def levels(scale: int, noise: float) -> np.ndarray:
    """Returns the noise levels that the denoiser is told, falling evenly in the logarithm, as IRCNN's do.

    Args:
        scale: Upsampling factor.
        noise: Standard deviation of the data's noise.
    """
    return np.geomspace(max(12 * scale / 255, noise), max(scale / 255, noise), ITERATIONS)


def nearest(operator, reduced: np.ndarray, image: np.ndarray, lr: np.ndarray, weight: float) -> np.ndarray:
    """Returns the minimum of |reduced + A (x - image) - lr|^2 + weight |x - image|^2, by conjugate gradients.

    Args:
        operator: `tfmisr.classical.operators.Chain`, A.
        reduced: What `image` becomes, array (height, width, channels).
        image: Array (scale * height, scale * width, channels).
        lr: Array (height, width, channels).
        weight: How much the image counts beside the data.
    """
    change = np.zeros(image.shape)
    residual = operator.adjoint((lr - reduced).astype(np.float64))
    direction, power = residual, np.vdot(residual, residual)
    enough = 1e-8 * power
    for _ in range(_GRADIENT_STEPS):
        if power <= enough:
            break
        turned = operator.adjoint(operator.forward(direction)) + weight * direction
        length = power / np.vdot(direction, turned)
        change, residual = change + length * direction, residual - length * turned
        power, previous = np.vdot(residual, residual), power
        direction = residual + power / previous * direction
    return (image + change).astype(np.float32)
