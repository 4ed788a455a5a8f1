"""Plug-and-play restoration: inversion of the degradation with a denoising network as the image prior.

Zhang, Zuo, Gu and Zhang, Learning Deep CNN Denoiser Prior for Image Restoration, CVPR 2017 (IRCNN),
https://arxiv.org/abs/1704.03264

Half-quadratic splitting alternates the data subproblem (least squares by conjugate gradients, with the exact adjoint of
the run's degradation) and the denoiser, with a decreasing noise level. Departures: as in FFDNet (Zhang et al., IEEE TIP
2018, https://arxiv.org/abs/1710.04026), one denoiser takes a noise level map as input, where IRCNN trains one for each
of 25 levels, and works on the image after space-to-depth; 32 filters and no batch normalization, so that it trains in
minutes and runs in seconds without a GPU; 8 iterations instead of 30; the weight of the denoiser follows from the noise
level, as in the authors' DPIR (https://arxiv.org/abs/2008.13751).
"""

import typing
from collections.abc import Callable

import numpy as np

from tfmisr.classical import operators
from tfmisr.degradations import Degradation
from tfmisr.edge import dihedral, resize, tiling
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    import keras

    from tfmisr.data.pipeline import PixelCache

DILATIONS = (1, 2, 3, 4, 3, 2, 1)
SETTINGS = {"filters": 32, "steps": 800, "batch": 16, "patch": 48, "learning_rate": 1.5e-3, "levels": [1, 50]}
ITERATIONS = 8
_RADIUS = sum(DILATIONS)  # of the receptive field, in pixels after space-to-depth
_TILE = 256  # pixels after space-to-depth
_LAMBDA = 0.23  # DPIR's lambda
_MAX_CG_STEPS = 30  # of conjugate gradients
_MIN_NOISE = 1 / 255  # noise level of the data, at least; includes rounding


def denoiser(channels: int, filters: int) -> "keras.Model":
    """Returns the untrained network, which estimates the noise divided by its level (residual learning).

    Normalized outputs make all noise levels count equally in the loss, and the correction vanishes with the noise.

    Args:
        channels: 1 or 3.
        filters: Of each hidden convolution.

    Returns:
        `keras.Model` from `(batch, height, width, 4 * channels + 1)`, the image after `space_to_depth` and a map of its
        noise level (standard deviation as a fraction of the range), to `(batch, height, width, 4 * channels)`.
    """
    import keras

    noisy = keras.Input((None, None, 4 * channels + 1), name="noisy_and_level")
    # Centered at 0, where training converges faster.
    x = keras.layers.Rescaling(1.0, offset=-0.5, name="centered")(noisy)
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


def space_to_depth(image: np.ndarray) -> np.ndarray:
    """Rearranges 2x2 blocks of pixels into channels, as `tf.nn.space_to_depth`.

    Args:
        image: Array (..., height, width, channels), height and width even.

    Returns:
        Array (..., height // 2, width // 2, 4 * channels).
    """
    *rest, height, width, channels = image.shape
    parts = image.reshape(*rest, height // 2, 2, width // 2, 2, channels).swapaxes(-3, -4)
    return parts.reshape(*rest, height // 2, width // 2, 4 * channels)


def depth_to_space(parts: np.ndarray) -> np.ndarray:
    """Inverts `space_to_depth`: (height, width, 4 * channels) to (2 * height, 2 * width, channels)."""
    height, width, channels = parts.shape
    parts = parts.reshape(height, width, 2, 2, channels // 4).swapaxes(1, 2)
    return parts.reshape(2 * height, 2 * width, channels // 4)


def fit(cache: "PixelCache", scale: int, degradation: Degradation, seed: int) -> dict[str, np.ndarray]:
    """Trains the denoiser on patches of training images; it does not depend on scale and degradation.

    Args:
        cache: `tfmisr.data.pipeline.PixelCache` of training images.
        scale: Upsampling factor, unused.
        degradation: Degradation model, unused.
        seed: Random seed of weights, patches and noise.

    Returns:
        float32 arrays `weight00`, `weight01`, ...: the network's weights in the order of `get_weights`.
    """
    import keras
    import tensorflow as tf

    from tfmisr.progress import bar

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    network = denoiser(cache.channels, SETTINGS["filters"])
    warmup_steps = SETTINGS["steps"] // 10
    # Without warmup the first steps can leave all ReLUs inactive.
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, SETTINGS["steps"] - warmup_steps, warmup_target=SETTINGS["learning_rate"], warmup_steps=warmup_steps
    )
    network.compile(keras.optimizers.Adam(schedule), "mse")
    for step in bar(range(SETTINGS["steps"]), desc="training the denoiser", unit=" steps", leave=False):
        network.train_on_batch(*training_batch(cache, seed, step))
    return {f"weight{i:02d}": weight for i, weight in enumerate(network.get_weights())}


def training_batch(cache: "PixelCache", seed: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns noisy patches with their noise level map, and the noise divided by the level.

    A pure function of the seed and the step. Images smaller than a patch are mirrored at their edges.

    Args:
        cache: `tfmisr.data.pipeline.PixelCache` of training images.
        seed: Random seed of the fit.
        step: Number of the training step.

    Returns:
        float32 arrays, input and output of the denoiser.
    """
    rng = np.random.default_rng([seed, 6, step])
    side = SETTINGS["patch"]
    clean = np.stack([_patch(cache, side, rng) for _ in range(SETTINGS["batch"])])
    level = np.exp(rng.uniform(*np.log(SETTINGS["levels"]), (len(clean), 1, 1, 1))).astype(np.float32) / 255
    noise = rng.standard_normal(clean.shape, np.float32)
    return _with_noise_map(space_to_depth(clean + level * noise), level), space_to_depth(noise)


def _with_noise_map(parts, level):
    return np.concatenate([parts, np.broadcast_to(np.float32(level), (*parts.shape[:3], 1))], axis=-1)


def _patch(cache, side, rng):
    i = int(rng.integers(len(cache)))
    image = cache[i]
    y, x = (int(rng.integers(max(length - side, 0) + 1)) for length in image.shape[:2])
    patch = image[y : y + side, x : x + side].astype(np.float32) / np.float32(cache.max_vals[i])
    patch = np.pad(patch, [(0, side - length) for length in patch.shape[:2]] + [(0, 0)], "symmetric")
    return dihedral.apply_dihedral(patch, int(rng.integers(8)))


def load_denoiser(fitted: dict[str, np.ndarray]) -> "keras.Model":
    """Returns the trained denoiser.

    Args:
        fitted: Result of `fit`.

    Raises:
        InputError: The arrays are not the weights of a denoiser.
    """
    weights = [fitted[name] for name in sorted(fitted)]
    try:
        network = denoiser(weights[-1].shape[0] // 4, weights[0].shape[-1])
        network.set_weights(weights)
    except (IndexError, ValueError) as error:
        raise InputError("expected the weights of a denoiser with seven convolutions, found others") from error
    return network


def upscaler(fitted: dict[str, np.ndarray], scale: int, degradation: Degradation) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from float32 (height, width, channels) in [0, 1] to the upscaled image, not clipped.

    Args:
        fitted: Result of `fit`.
        scale: Upsampling factor.
        degradation: Degradation model of the low-resolution image; its noise is treated as white, with its standard
            deviation on mid-gray.

    Raises:
        InputError: By the returned function: a step of the degradation has no adjoint; see `operators.linearize`.
    """
    denoise = _denoise_function(load_denoiser(fitted))
    noiseless = operators.without_noise(degradation)
    noise = max(operators.noise_level(degradation), _MIN_NOISE)

    def upscale(lr):
        x = resize.upscale(lr, scale)
        for level in noise_levels(scale, noise):
            x = denoise(x, level)
            x = solve_data_term(*operators.linearize(noiseless, x), x, lr, _LAMBDA * (noise / level) ** 2)
        return x

    return upscale


def _denoise_function(network):
    """Returns a function of an image and a noise level that denoises in tiles, with mirrored edges."""
    import tensorflow as tf

    signature = [tf.TensorSpec((1, None, None, network.input_shape[-1]), tf.float32)]
    apply = tf.function(lambda x: network(x, training=False), input_signature=signature)

    def denoise(image, level):
        height, width = image.shape[:2]
        margin = 2 * _RADIUS
        padded = np.pad(image, ((margin, margin + height % 2), (margin, margin + width % 2), (0, 0)), "symmetric")
        noise = tiling.upscale(
            lambda x: apply(_with_noise_map(x, level)).numpy(), space_to_depth(padded), 1, _TILE, _RADIUS
        )
        return image - np.float32(level) * depth_to_space(noise)[margin : margin + height, margin : margin + width]

    return denoise


def noise_levels(scale: int, noise: float) -> np.ndarray:
    """Returns the noise level of the denoiser in each iteration, decreasing geometrically as in IRCNN.

    Args:
        scale: Upsampling factor.
        noise: Standard deviation of the data's noise, a fraction of the range.
    """
    return np.geomspace(max(12 * scale / 255, noise), max(scale / 255, noise), ITERATIONS)


def solve_data_term(
    operator: operators.Chain, degraded: np.ndarray, image: np.ndarray, lr: np.ndarray, weight: float
) -> np.ndarray:
    """Returns the minimizer of |degraded + A (x - image) - lr|^2 + weight |x - image|^2, by conjugate gradients.

    Args:
        operator: The linearized degradation, A.
        degraded: `image` after the degradation, array (height, width, channels).
        image: Array (scale * height, scale * width, channels).
        lr: Array (height, width, channels).
        weight: Weight of the image relative to the data.

    Returns:
        float32 array (scale * height, scale * width, channels).
    """
    change = np.zeros(image.shape)
    residual = operator.adjoint((lr - degraded).astype(np.float64))
    direction, power = residual, np.vdot(residual, residual)
    tolerance = 1e-8 * power
    for _ in range(_MAX_CG_STEPS):
        if power <= tolerance:
            break
        product = operator.adjoint(operator.forward(direction)) + weight * direction
        length = power / np.vdot(direction, product)
        change, residual = change + length * direction, residual - length * product
        power, previous = np.vdot(residual, residual), power
        direction = residual + power / previous * direction
    return (image + change).astype(np.float32)


__getattr__ = renamed(
    __name__,
    batch="training_batch",
    halved="space_to_depth",
    joined="depth_to_space",
    levels="noise_levels",
    nearest="solve_data_term",
    network_of="load_denoiser",
)
