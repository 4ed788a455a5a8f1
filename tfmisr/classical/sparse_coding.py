"""Sparse coding (ScSR): patches as sums of few atoms of a dictionary of low, and a coupled one of high resolution.

Yang, Wright, Huang and Ma, Image Super-Resolution via Sparse Representation, IEEE TIP 2010,
https://doi.org/10.1109/TIP.2010.2050625
Zeyde, Elad and Protter, On Single Image Scale-Up Using Sparse-Representations, Curves and Surfaces 2010,
https://doi.org/10.1007/978-3-642-27413-8_47

The features are Yang's four derivatives of the interpolated image, the end is Yang's back-projection. Departures, all
of them Zeyde's: principal components of the features; the dictionary of low resolution is learned alone and the other
one is its least-squares partner; orthogonal matching pursuit with three atoms in place of the lasso; a high-resolution
patch is what the interpolation lacks. Half as many atoms as either. Each channel is treated as a gray image.
"""

import warnings
from collections.abc import Callable, Iterator

import numpy as np

from tfmisr.classical.operators import back_project
from tfmisr.data import pipeline
from tfmisr.edge import resize
from tfmisr.edge.errors import InputError

SIDE = 3  # low-resolution pixels of a patch
SPARSITY = 3  # atoms of a patch
SETTINGS = {"side": SIDE, "sparsity": SPARSITY, "atoms": 512, "components": 32, "images": 256, "patches": 60_000}
SETTINGS |= {"alpha": 0.15, "iterations": 60, "batch": 256}
_BACK_PROJECTIONS = 10
_AT_ONCE = 8192  # patches coded together, which bounds the memory
_DERIVATIVES = (np.array([-1.0, 0, 1], np.float32), np.array([1.0, 0, -2, 0, 1], np.float32))


def fit(cache, scale: int, degradation, seed: int) -> dict[str, np.ndarray]:
    """Learns both dictionaries.

    Args:
        cache: `tfmisr.data.pipeline.PixelCache` of training images.
        scale: Upsampling factor.
        degradation: `tfmisr.degradations.Degradation` that makes low resolution.
        seed: Of the choice of patches, the degradation's noise and the dictionary's start.

    Returns:
        float32 arrays: `projection` (features, components), `low` (atoms, components) of unit rows, and `high`
        (atoms, pixels of a patch).
    """
    features, lacking = _training_patches(cache, scale, degradation, seed)
    projection = _principal(features, SETTINGS["components"])
    low = features @ projection
    atoms = _learned(low, seed)
    return {"projection": projection, "low": atoms, "high": _partner(atoms, low, lacking)}


def _learned(low, seed):
    """Returns the dictionary of low resolution, which starts as a choice of patches."""
    from sklearn.decomposition import MiniBatchDictionaryLearning
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    # Flat patches teach nothing; the others count alike.
    length = np.linalg.norm(low, axis=1)
    kept = np.flatnonzero(length >= np.median(length))
    kept = np.random.default_rng([seed, 7]).permutation(kept)
    signals = _unit_rows(low[kept[: SETTINGS["iterations"] * SETTINGS["batch"]]])
    learner = MiniBatchDictionaryLearning(
        SETTINGS["atoms"],
        alpha=SETTINGS["alpha"],
        max_iter=1,
        batch_size=SETTINGS["batch"],
        dict_init=np.resize(signals, (SETTINGS["atoms"], signals.shape[1])),
        random_state=seed,
    )
    # Its matrices are so small that threads would only wait for one another; patches that are alike are no fault.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _unit_rows(learner.fit(signals).components_).astype(np.float32)


def _unit_rows(atoms):
    return atoms / np.maximum(np.linalg.norm(atoms, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _training_patches(cache, scale, degradation, seed):
    """Returns features (patches, features) and what the interpolation lacks (patches, pixels)."""
    rng = np.random.default_rng([seed, 5])
    chosen = np.unique(np.linspace(0, len(cache) - 1, SETTINGS["images"]).astype(int))
    count = -(-SETTINGS["patches"] // (len(chosen) * cache.channels))
    found = []
    for _, _, max_val, lr, hr in pipeline.pairs(cache, scale, degradation, chosen, seed):
        bicubic = resize.upscale(lr, scale)
        lacking = hr.astype(np.float32) / max_val - bicubic
        for channel in range(cache.channels):
            features = windows(derivatives(bicubic[..., channel]), scale)
            target = windows(lacking[..., channel, None], scale)
            places = rng.choice(len(features) * len(features[0]), count)
            rows, columns = np.divmod(places, len(features[0]))
            found.append((features[rows, columns].reshape(count, -1), target[rows, columns].reshape(count, -1)))
    return tuple(map(np.concatenate, zip(*found, strict=True)))


def _principal(features, components):
    """Returns the directions of the largest mean square, not centred: a feature of zero stays zero."""
    values, vectors = np.linalg.eigh(features.T @ features)
    return np.ascontiguousarray(vectors[:, ::-1][:, :components], np.float32)


def _partner(atoms, low, lacking):
    """Returns the atoms of high resolution that the codes of low resolution rebuild `lacking` best from."""
    gram, cross = np.zeros((len(atoms),) * 2), np.zeros((len(atoms), lacking.shape[1]))
    for start in range(0, len(low), _AT_ONCE):
        code = dense(*pursue(atoms, low[start : start + _AT_ONCE]), len(atoms)).astype(np.float64)
        gram, cross = gram + code.T @ code, cross + code.T @ lacking[start : start + _AT_ONCE]
    ridge = 1e-3 * np.trace(gram) / len(gram) + np.finfo(float).tiny
    return np.linalg.solve(gram + ridge * np.eye(len(gram)), cross).astype(np.float32)


def derivatives(image: np.ndarray) -> np.ndarray:
    """Returns first and second derivatives along both axes: (height, width) to (height, width, 4)."""
    from scipy import ndimage

    planes = [ndimage.correlate1d(image, taps, axis, mode="reflect") for taps in _DERIVATIVES for axis in (0, 1)]
    return np.stack(planes, axis=-1)


def windows(planes: np.ndarray, scale: int) -> np.ndarray:
    """Returns the patch about each low-resolution pixel, as a view where nothing has to be added at the edge.

    Args:
        planes: Array (scale * height, scale * width, planes); mirrored at its edges.
        scale: Upsampling factor.

    Returns:
        Array (height, width, planes, 3 * scale, 3 * scale).
    """
    margin = SIDE // 2 * scale
    padded = np.pad(planes, ((margin, margin), (margin, margin), (0, 0)), "symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, (SIDE * scale, SIDE * scale), (0, 1))[::scale, ::scale]


def pursue(atoms: np.ndarray, signals: np.ndarray, sparsity: int = SPARSITY) -> tuple[np.ndarray, np.ndarray]:
    """Orthogonal matching pursuit of many signals at once.

    The same as `sklearn.linear_model.orthogonal_mp`, which takes one after the other.

    Args:
        atoms: float32 array (atoms, length) of unit rows.
        signals: float32 array (signals, length).
        sparsity: Atoms of a signal.

    Returns:
        Numbers of the atoms and their weights, both (signals, sparsity).
    """
    gram = atoms @ atoms.T
    start = signals @ atoms.T
    correlation, rows = start.copy(), np.arange(len(signals))
    chosen = np.empty((len(signals), 0), int)
    for count in range(1, sparsity + 1):
        chosen = np.column_stack([chosen, np.abs(correlation).argmax(1)])
        inner = gram[chosen[:, :, None], chosen[:, None, :]].astype(np.float64)
        # An atom chosen twice, as for a signal of zeros, must not make this singular.
        inner += 1e-9 * np.eye(count)
        weights = np.linalg.solve(inner, start[rows[:, None], chosen][..., None].astype(np.float64))[..., 0]
        if count < sparsity:
            correlation = start - dense(chosen, weights.astype(np.float32), len(atoms)) @ gram
    return chosen, weights.astype(np.float32)


def dense(chosen: np.ndarray, weights: np.ndarray, atoms: int) -> np.ndarray:
    """Returns codes in full, (signals, atoms)."""
    code = np.zeros((len(chosen), atoms), np.float32)
    np.add.at(code, (np.arange(len(chosen))[:, None], chosen), weights)
    return code


def check(fitted: dict[str, np.ndarray], scale: int) -> None:
    """Raises an `InputError` where these are not the arrays of `fit` for this scale."""
    pixels = (SIDE * scale) ** 2
    shapes = {name: array.shape for name, array in fitted.items()}
    atoms, components = shapes.get("low", (0, 0)) if len(shapes.get("low", ())) == 2 else (0, 0)
    expected = {"projection": (4 * pixels, components), "low": (atoms, components), "high": (atoms, pixels)}
    if shapes != expected or atoms < SPARSITY:
        raise InputError(f"expected the dictionaries of sparse_coding for scale {scale}. Received: {shapes}")


def upscaler(fitted: dict[str, np.ndarray], scale: int, degradation) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from float32 (height, width, channels) in [0, 1] to the enlarged image, not clipped.

    Args:
        fitted: What `fit` returned.
        scale: Upsampling factor.
        degradation: That of the fit, for the back-projection at the end.
    """

    def upscale(lr):
        sr = resize.upscale(lr, scale)
        planes = [sr[..., c] + _lacking(sr[..., c], fitted, scale) for c in range(lr.shape[-1])]
        return back_project(np.stack(planes, axis=-1), lr, degradation, _BACK_PROJECTIONS)

    return upscale


def _lacking(bicubic, fitted, scale):
    """Returns what the interpolation lacks."""
    height, width = (side // scale for side in bicubic.shape)
    features = windows(derivatives(bicubic), scale)
    return overlaid(lambda rows: _coded(features[rows].reshape(-1, features[0, 0].size), fitted), height, width, scale)


def overlaid(patches_of: Callable[[slice], np.ndarray], height: int, width: int, scale: int) -> np.ndarray:
    """Returns the mean, at each pixel, of all patches that cover it.

    Args:
        patches_of: Gives the patches about the low-resolution pixels of some rows, (pixels, 9 * scale**2).
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
    step = max(1, _AT_ONCE // width)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def _coded(features, fitted):
    chosen, weights = pursue(fitted["low"], features @ fitted["projection"])
    return np.einsum("ns,nsp->np", weights, fitted["high"][chosen], optimize=True)


def _cover(height, width, scale):
    """Returns how many patches cover each pixel of the padded image."""
    lines = [np.convolve(np.ones(n), np.ones(SIDE)).repeat(scale) for n in (height, width)]
    return np.outer(*lines).astype(np.float32)
