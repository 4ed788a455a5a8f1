"""A procedural chest radiograph: X-rays through a random chest onto a detector.

The chest is described in 3-D (anatomy.py, skeleton.py, vessels.py). Parallel rays cross it from back to
front; their paths through each material give the transmission (Beer-Lambert). Scatter, quantum noise and
the detector's blur follow, then the logarithm and a presentation curve, as in a digital system.
"""

import numpy as np
import scipy.fft
import scipy.ndimage

from tfmisr.datasets.chest_phantom import anatomy, extras, shapes, skeleton, vessels

MAX_VAL = 65535

# Linear attenuation, 1/cm, at 70 keV, about the effective energy of a 125 kV beam behind a patient: mass
# attenuation, cm2/g, times density, g/cm3. Mass attenuation is NIST's (Hubbell and Seltzer, NISTIR 5632,
# tables 3 and 4, ICRU-44 materials): 60 and 80 keV, interpolated log-log. Densities are ICRU-44's, but
# inflated lung has 0.26 with its vessels, which are drawn apart; spongy bone is 17 % cortical bone in
# marrow (0.198/cm).
ATTENUATION = {
    "tissue": 0.1924 * 1.06,
    "fat": 0.1879 * 0.95,
    "lung": 0.1928 * 0.16,
    "cortical": 0.2616 * 1.92,
    "spongy": 0.17 * (0.2616 * 1.92) + 0.83 * 0.198,
    "metal": 3.395 * 11.35,  # lead
}

# Quanta that the unattenuated beam leaves in the detector, 1/cm2: 19 uGy, 3e6 quanta/cm2 per uGy, of which
# the detector uses six in ten. Behind the lungs it receives about 3 uGy.
QUANTA = 3.5e7

# The scintillator's modulation transfer is 1 / (1 + (f / f50)^2), one half at 1.4 line pairs per mm, as
# cesium iodide has about. f50 in 1/cm.
HALF_MODULATION = 14.0

# Behind an antiscatter grid: scattered quanta per interaction, and the standard deviation of their spread, cm.
SCATTER = 0.12
SCATTER_SPREAD = 4.5

# Dynamic range compression: fraction of the low-pass signal that is removed, and its scale, cm; edge enhancement.
COMPRESSION, LARGE = 0.5, 2.0
EDGE_GAIN, FINE = 0.25, 0.15


def radiograph(seed: int, size: int = 512) -> np.ndarray:
    """Returns a posteroanterior chest radiograph, bones bright (MONOCHROME2).

    Args:
        seed: Chooses the patient and the noise; the same seed gives the same pixels.
        size: Rows and columns. The field of view stays, so more pixels show finer detail.

    Returns:
        uint16 array of shape (size, size); 65535 is white.
    """
    if size < 64:
        raise ValueError(f"`size` must be 64 or more. Received: size={size}")
    streams = np.random.SeedSequence([seed, 0xC4E57]).spawn(4)
    body, grain, noise, look = map(np.random.default_rng, streams)
    grid, paths = patient(size, body, grain)
    beam = transmission(paths)
    beam += scatter(beam, grid.pitch)
    signal = detect(beam, QUANTA * grid.pitch**2, grid.pitch, noise)
    return present(signal, grid.pitch, look)


def patient(
    size: int, rng: np.random.Generator, grain_rng: np.random.Generator
) -> tuple[shapes.Grid, dict[str, np.ndarray]]:
    """Returns the pixels, and the path of each pixel's ray through each material, cm.

    Args:
        size: Rows and columns.
        rng: Chooses the anatomy, which does not depend on `size`.
        grain_rng: Makes the texture of the tissues.
    """
    chest = anatomy.sample(rng)
    grid = shapes.make_grid(
        size,
        field=2 * chest.half_width * rng.uniform(1.22, 1.48),
        lean=rng.normal(0, 0.022),
        middle=(rng.normal(0, 0.7), rng.uniform(-2.8, 0.2)),
    )
    body, fat = anatomy.torso(chest, grid, rng)
    body += anatomy.breasts(chest, grid, rng) * (body > 0)
    lung, gas = anatomy.thorax(chest, grid, rng)
    gas += anatomy.abdominal_gas(chest, grid, rng)
    muscles = anatomy.muscles(chest, grid, rng)
    bone = skeleton.bones(chest, grid, rng)
    dense = vessels.vessels(chest, grid, rng) + extras.nodule(chest, grid, rng)
    dense = np.minimum(dense, lung)
    metal = extras.metal(grid, rng)

    solid = np.maximum(body - lung - gas - bone.cortical - bone.spongy, 0)
    # Fat also lies between muscles, a sixth of the path; about half of the chest wall is fat at most.
    fat = np.clip(fat + 0.16 * solid - np.minimum(muscles, 0.4 * solid), 0, 0.55 * solid)
    fibers = 0.1 * shapes.texture(grain_rng, grid, 0.15, 6.0, 1.6) * (solid / (solid + 4))
    alveoli = 1 + 0.02 * shapes.texture(grain_rng, grid, 0.1, 3.0, 1.2)
    trabeculae = 0.07 * shapes.texture(grain_rng, grid, 0.05, 0.4, 0.5) * np.sqrt(bone.spongy)
    return grid, {
        "tissue": solid - fat + dense + fibers,
        "fat": fat,
        "lung": (lung - dense) * alveoli,
        "cortical": bone.cortical,
        "spongy": bone.spongy + trabeculae,
        "metal": metal,
    }


def transmission(paths: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the fraction of quanta that pass the materials without interaction (Beer-Lambert law).

    Args:
        paths: Material of `ATTENUATION` to path length, cm.
    """
    return np.exp(-sum(np.float32(ATTENUATION[name]) * path for name, path in paths.items()))


def scatter(primary: np.ndarray, pitch: float) -> np.ndarray:
    """Returns the scattered quanta, as a fraction of the unattenuated beam.

    Their source is proportional to transmission times attenuation: -P ln P.

    Args:
        primary: Fraction P of the quanta that pass the patient without interaction.
        pitch: Side of a pixel, cm.
    """
    source = -primary * np.log(np.maximum(primary, 1e-6))
    return SCATTER * _blurred(source, SCATTER_SPREAD / pitch)


def _blurred(image, sigma):
    """Returns `image` after a wide Gaussian blur of `sigma` pixels, computed on a subsampled grid."""
    step = max(1, int(sigma / 6))
    coarse = scipy.ndimage.gaussian_filter(image[::step, ::step], sigma / step, mode="nearest")
    return _interpolated(coarse, image.shape[0], step)


def _interpolated(image, size, step):
    at = np.arange(size, dtype=np.float32) / step
    low = np.minimum(at.astype(int), image.shape[0] - 2)
    part = at - low
    rows = image[low] * (1 - part)[:, None] + image[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def detect(beam: np.ndarray, quanta: float, pitch: float, rng: np.random.Generator) -> np.ndarray:
    """Returns the detector's signal, 1 for the unattenuated beam.

    The quanta of a pixel are Poisson distributed (drawn from a normal distribution: there are many); the
    scintillator spreads the light of each, and the pixel's area gathers it.

    Args:
        beam: Quanta that reach each pixel, as a fraction of the unattenuated beam.
        quanta: Quanta per pixel of the unattenuated beam.
        pitch: Side of a pixel, cm.
        rng: Source of the noise.
    """
    noise = rng.standard_normal(beam.shape, dtype=np.float32) * np.sqrt(beam / quanta)
    spectrum = scipy.fft.rfft2(beam + noise) * modulation(beam.shape[0], pitch)
    return scipy.fft.irfft2(spectrum, s=beam.shape)


def modulation(size: int, pitch: float) -> np.ndarray:
    """Returns the detector's modulation transfer for each term of a real 2-D FFT."""
    down = np.sinc(scipy.fft.fftfreq(size)).astype(np.float32)[:, None]
    along = np.sinc(scipy.fft.rfftfreq(size)).astype(np.float32)
    frequency = shapes.frequencies(size, pitch)
    return down * along / (1 + (frequency / HALF_MODULATION) ** 2)


def present(signal: np.ndarray, pitch: float, rng: np.random.Generator) -> np.ndarray:
    """Returns the image for presentation: logarithm, dynamic range compression, edge enhancement, sigmoid curve.

    Args:
        signal: The detector's signal, 1 for the unattenuated beam.
        pitch: Side of a pixel, cm.
        rng: Chooses brightness and contrast, which differ from hospital to hospital.
    """
    depth = -np.log(np.maximum(signal, 1e-5))
    depth -= COMPRESSION * _blurred(depth, LARGE / pitch)
    smooth = scipy.ndimage.gaussian_filter(depth, FINE / pitch, mode="nearest", truncate=3)
    depth += EDGE_GAIN * (depth - smooth)
    # The patient is where less than half of the beam arrives.
    dark, bright = np.percentile(depth[::4, ::4][signal[::4, ::4] < 0.5], [4, 90])
    center = dark + (bright - dark) * rng.uniform(0.36, 0.46)
    width = (bright - dark) * rng.uniform(1.35, 1.8)
    curve = 1 / (1 + np.exp(-4 * (depth - center) / width))
    return np.rint(curve * MAX_VAL).astype(np.uint16)
