"""Sparse coding (ScSR): patches as sparse combinations of atoms of coupled low- and high-resolution dictionaries.

Yang, Wright, Huang and Ma, Image Super-Resolution via Sparse Representation, IEEE TIP 2010,
https://doi.org/10.1109/TIP.2010.2050625
Zeyde, Elad and Protter, On Single Image Scale-Up Using Sparse-Representations, Curves and Surfaces 2010,
https://doi.org/10.1007/978-3-642-27413-8_47

The features are Yang's four derivatives of the interpolated image, followed by Yang's back-projection. Departures, all
from Zeyde: principal components of the features; the low-resolution dictionary is learned first, and the
high-resolution one is its least-squares fit; orthogonal matching pursuit with three atoms in place of the lasso; a
high-resolution patch is the residual of the interpolation. Half as many atoms as either paper. Each channel is treated
as a gray image.
"""

import warnings
from collections.abc import Callable, Iterator

import numpy as np

from tfmisr.classical.operators import back_project
from tfmisr.data import pipeline
from tfmisr.degradations import Degradation
from tfmisr.edge import resize
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError

SIDE = 3  # low-resolution pixels of a patch
SPARSITY = 3  # atoms of a patch
SETTINGS = {"side": SIDE, "sparsity": SPARSITY, "atoms": 512, "components": 32, "images": 256, "patches": 60_000}
SETTINGS |= {"alpha": 0.15, "iterations": 60, "batch": 256}
_BACK_PROJECTIONS = 10
_PATCHES_AT_ONCE = 8192  # coded together, which bounds the memory
_DERIVATIVES = (np.array([-1.0, 0, 1], np.float32), np.array([1.0, 0, -2, 0, 1], np.float32))


def fit(cache: pipeline.PixelCache, scale: int, degradation: Degradation, seed: int) -> dict[str, np.ndarray]:
    """Learns both dictionaries.

    Args:
        cache: `tfmisr.data.pipeline.PixelCache` of training images.
        scale: Upsampling factor.
        degradation: Degradation model of the low-resolution images.
        seed: Random seed of the patches, the degradation's noise and the initial dictionary.

    Returns:
        float32 arrays: `projection` (features, components), `low` (atoms, components) of unit rows, and `high`
        (atoms, pixels of a patch).
    """
    features, residual = _training_patches(cache, scale, degradation, seed)
    projection = _principal(features, SETTINGS["components"])
    low = features @ projection
    atoms = _learn_dictionary(low, seed)
    return {"projection": projection, "low": atoms, "high": _high_resolution_atoms(atoms, low, residual)}


def _learn_dictionary(low, seed):
    """Returns the low-resolution dictionary, initialized with training patches."""
    from sklearn.decomposition import MiniBatchDictionaryLearning
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    # Flat patches carry no information; the others get equal weight.
    length = np.linalg.norm(low, axis=1)
    selected = np.flatnonzero(length >= np.median(length))
    selected = np.random.default_rng([seed, 7]).permutation(selected)
    signals = _unit_rows(low[selected[: SETTINGS["iterations"] * SETTINGS["batch"]]])
    learning = MiniBatchDictionaryLearning(
        SETTINGS["atoms"],
        alpha=SETTINGS["alpha"],
        max_iter=1,
        batch_size=SETTINGS["batch"],
        dict_init=np.resize(signals, (SETTINGS["atoms"], signals.shape[1])),
        random_state=seed,
    )
    # The matrices are too small for several threads; similar patches are not an error.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _unit_rows(learning.fit(signals).components_).astype(np.float32)


def _unit_rows(atoms):
    return atoms / np.maximum(np.linalg.norm(atoms, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _training_patches(cache, scale, degradation, seed):
    """Returns features (patches, features) and residuals of the interpolation (patches, pixels)."""
    rng = np.random.default_rng([seed, 5])
    indices = np.unique(np.linspace(0, len(cache) - 1, SETTINGS["images"]).astype(int))
    count = -(-SETTINGS["patches"] // (len(indices) * cache.channels))
    samples = []
    for _, _, max_val, lr, hr in pipeline.pairs(cache, scale, degradation, indices, seed):
        bicubic = resize.upscale(lr, scale)
        residual = hr.astype(np.float32) / max_val - bicubic
        for channel in range(cache.channels):
            features = extract_patches(derivatives(bicubic[..., channel]), scale)
            target = extract_patches(residual[..., channel, None], scale)
            positions = rng.choice(len(features) * len(features[0]), count)
            rows, columns = np.divmod(positions, len(features[0]))
            samples.append((features[rows, columns].reshape(count, -1), target[rows, columns].reshape(count, -1)))
    return tuple(map(np.concatenate, zip(*samples, strict=True)))


def _principal(features, components):
    """Returns the principal components without centering: a zero feature stays zero."""
    _, vectors = np.linalg.eigh(features.T @ features)
    return np.ascontiguousarray(vectors[:, ::-1][:, :components], np.float32)


def _high_resolution_atoms(atoms, low, residual):
    """Returns the least-squares atoms that reconstruct `residual` from the low-resolution codes."""
    gram, cross = np.zeros((len(atoms),) * 2), np.zeros((len(atoms), residual.shape[1]))
    for start in range(0, len(low), _PATCHES_AT_ONCE):
        code = dense_codes(*matching_pursuit(atoms, low[start : start + _PATCHES_AT_ONCE]), len(atoms)).astype(
            np.float64
        )
        gram, cross = gram + code.T @ code, cross + code.T @ residual[start : start + _PATCHES_AT_ONCE]
    ridge = 1e-3 * np.trace(gram) / len(gram) + np.finfo(float).tiny
    return np.linalg.solve(gram + ridge * np.eye(len(gram)), cross).astype(np.float32)


def derivatives(image: np.ndarray) -> np.ndarray:
    """Returns first and second derivatives along both axes: (height, width) to (height, width, 4)."""
    from scipy import ndimage

    planes = [ndimage.correlate1d(image, taps, axis, mode="reflect") for taps in _DERIVATIVES for axis in (0, 1)]
    return np.stack(planes, axis=-1)


def extract_patches(planes: np.ndarray, scale: int) -> np.ndarray:
    """Returns the patch around each low-resolution pixel, a view into the padded image.

    Args:
        planes: Array (scale * height, scale * width, planes); mirrored at its edges.
        scale: Upsampling factor.

    Returns:
        Array (height, width, planes, 3 * scale, 3 * scale).
    """
    margin = SIDE // 2 * scale
    padded = np.pad(planes, ((margin, margin), (margin, margin), (0, 0)), "symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, (SIDE * scale, SIDE * scale), (0, 1))[::scale, ::scale]


def matching_pursuit(atoms: np.ndarray, signals: np.ndarray, sparsity: int = SPARSITY) -> tuple[np.ndarray, np.ndarray]:
    """Orthogonal matching pursuit, vectorized over signals.

    The result is that of `sklearn.linear_model.orthogonal_mp`, which loops over the signals.

    Args:
        atoms: float32 array (atoms, length) of unit rows.
        signals: float32 array (signals, length).
        sparsity: Number of atoms per signal.

    Returns:
        Indices of the atoms and their weights, both (signals, sparsity).
    """
    gram = atoms @ atoms.T
    start = signals @ atoms.T
    correlation, rows = start.copy(), np.arange(len(signals))
    indices = np.empty((len(signals), 0), int)
    for count in range(1, sparsity + 1):
        indices = np.column_stack([indices, np.abs(correlation).argmax(1)])
        inner = gram[indices[:, :, None], indices[:, None, :]].astype(np.float64)
        # An atom that is selected twice, as for a zero signal, must not make the matrix singular.
        inner += 1e-9 * np.eye(count)
        weights = np.linalg.solve(inner, start[rows[:, None], indices][..., None].astype(np.float64))[..., 0]
        if count < sparsity:
            correlation = start - dense_codes(indices, weights.astype(np.float32), len(atoms)) @ gram
    return indices, weights.astype(np.float32)


def dense_codes(indices: np.ndarray, weights: np.ndarray, atoms: int) -> np.ndarray:
    """Returns sparse codes as a dense array.

    Args:
        indices: Indices of the atoms, (signals, sparsity).
        weights: Their weights, (signals, sparsity).
        atoms: Number of atoms in the dictionary.

    Returns:
        float32 array (signals, atoms).
    """
    code = np.zeros((len(indices), atoms), np.float32)
    np.add.at(code, (np.arange(len(indices))[:, None], indices), weights)
    return code


def check(fitted: dict[str, np.ndarray], scale: int) -> None:
    """Checks names and shapes of the arrays.

    Raises:
        InputError: They are not those that `fit` returns for this scale.
    """
    pixels = (SIDE * scale) ** 2
    shapes = {name: array.shape for name, array in fitted.items()}
    atoms, components = shapes.get("low", (0, 0)) if len(shapes.get("low", ())) == 2 else (0, 0)
    expected = {"projection": (4 * pixels, components), "low": (atoms, components), "high": (atoms, pixels)}
    if shapes != expected or atoms < SPARSITY:
        raise InputError(f"expected the dictionaries of sparse_coding for scale {scale}. Received: {shapes}")


def upscaler(fitted: dict[str, np.ndarray], scale: int, degradation: Degradation) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from float32 (height, width, channels) in [0, 1] to the upscaled image, not clipped.

    Args:
        fitted: Result of `fit`.
        scale: Upsampling factor.
        degradation: Degradation model of the fit, for the final back-projection.
    """

    def upscale(lr):
        sr = resize.upscale(lr, scale)
        planes = [sr[..., c] + _residual(sr[..., c], fitted, scale) for c in range(lr.shape[-1])]
        return back_project(np.stack(planes, axis=-1), lr, degradation, _BACK_PROJECTIONS)

    return upscale


def _residual(bicubic, fitted, scale):
    """Returns the estimated residual of the interpolation."""
    height, width = (side // scale for side in bicubic.shape)
    features = extract_patches(derivatives(bicubic), scale)

    def patches_of(rows):
        return _predict_patches(features[rows].reshape(-1, features[0, 0].size), fitted)

    return average_patches(patches_of, height, width, scale)


def average_patches(patches_of: Callable[[slice], np.ndarray], height: int, width: int, scale: int) -> np.ndarray:
    """Returns the mean, at each pixel, of all patches that cover it.

    Args:
        patches_of: Returns the patches around the low-resolution pixels of some rows, (pixels, 9 * scale**2).
        height: Of the low-resolution image.
        width: Of the low-resolution image.
        scale: Upsampling factor.

    Returns:
        float32 array (scale * height, scale * width).
    """
    margin = SIDE // 2 * scale
    total = np.zeros((height * scale + 2 * margin, width * scale + 2 * margin), np.float32)
    for rows in _bands(height, width):
        patches = patches_of(rows).reshape(-1, width, SIDE, scale, SIDE, scale)
        for i in range(SIDE):
            for j in range(SIDE):
                block = patches[:, :, i, :, j].transpose(0, 2, 1, 3).reshape(-1, width * scale)
                top = (rows.start + i) * scale
                total[top : top + len(block), j * scale : j * scale + width * scale] += block
    return (total / _cover(height, width, scale))[margin:-margin, margin:-margin]


def _bands(height, width) -> Iterator[slice]:
    step = max(1, _PATCHES_AT_ONCE // width)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def _predict_patches(features, fitted):
    indices, weights = matching_pursuit(fitted["low"], features @ fitted["projection"])
    return np.einsum("ns,nsp->np", weights, fitted["high"][indices], optimize=True)


def _cover(height, width, scale):
    """Returns the number of patches that cover each pixel of the padded image."""
    lines = [np.convolve(np.ones(n), np.ones(SIDE)).repeat(scale) for n in (height, width)]
    return np.outer(*lines).astype(np.float32)


__getattr__ = renamed(
    __name__,
    dense="dense_codes",
    overlaid="average_patches",
    pursue="matching_pursuit",
    windows="extract_patches",
)
