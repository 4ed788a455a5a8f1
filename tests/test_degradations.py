"""The physics of the degradations: transfer functions, noise against dose, spectra, bias, geometry."""

import io
import itertools
import math
import re

import numpy as np
import pytest
from PIL import Image
from synthetic import ArraySource

from tfmisr import degradations
from tfmisr.classical import operators
from tfmisr.data import pipeline
from tfmisr.degradations import blind_xray, ct, mr, oct, real_world, ultrasound, xray
from tfmisr.degradations._postprocessing import Jpeg, UnsharpMask
from tfmisr.edge.errors import InputError

# through_plane keeps the size of an image: tests/test_through_plane.py
RANDOM = [name for name in degradations.names() if name not in ("bicubic", "through_plane")]
FIXED = ("area", "jpeg", "unsharp")


def flat(value, side=256):
    return np.full((side, side, 1), value, np.float32)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("text", RANDOM)
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_degradation_reduces_by_the_scale_within_the_range(text, scale, channels):
    hr = rng().uniform(0, 1, (48, 60, channels)).astype(np.float32)
    degrade = degradations.make(scale, degradation=text)
    lr = degrade(hr, 255, rng(1))
    assert (lr.shape, lr.dtype) == ((48 // scale, 60 // scale, channels), np.float32)
    assert 0 <= lr.min() <= lr.max() <= 1
    np.testing.assert_allclose(lr * 255, np.rint(lr * 255), atol=1e-4)
    np.testing.assert_array_equal(lr, degrade(hr, 255, rng(1)))
    assert degrade.fixed == np.array_equal(lr, degrade(hr, 255, rng(2))) == (text in FIXED)


@pytest.mark.parametrize("text", ["xray(photons=1e9, electronic=0)", "mr(noise_std=0)", "ct(noise_std=0)"])
@pytest.mark.parametrize("text2", ["ultrasound(looks=0)", "oct(looks=0)", "real_world(blur=0,noise=0,quality=95)"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_nothing_moves(text, text2, scale):
    # Half-pixel centres: HR place p is LR place (p + 0.5) / scale - 0.5.
    y, x = np.mgrid[:96, :96]
    blob = np.exp(-((y - 40.3) ** 2 + (x - 52.6) ** 2) / 128).astype(np.float32)[..., None]
    for one in (text, text2):
        # The logarithm of the amplitude is a parabola, not a blob; its highest place is looked for in the middle.
        lr = degradations.make(scale, degradation=one, quantize_lr=False)(blob, 65535, rng())[..., 0]
        weight = np.where(lr > 0.5 * lr.max(), lr - 0.5 * lr.max(), 0)
        found = [(weight * grid).sum() / weight.sum() for grid in np.mgrid[: lr.shape[0], : lr.shape[1]]]
        expected = [(place + 0.5) / scale - 0.5 for place in (40.3, 52.6)]
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_area_mean_by_hand():
    image = np.arange(16, dtype=np.float32).reshape(4, 4, 1)
    np.testing.assert_array_equal(degradations.AreaMean(2)(image, None)[..., 0], [[2.5, 4.5], [10.5, 12.5]])
    assert degradations.AreaMean(3)(np.zeros((7, 8, 1), np.float32), None).shape == (2, 2, 1)


@pytest.mark.parametrize("photons", [500, 5000, 50000])
@pytest.mark.parametrize("value", [0.1, 0.6])
def test_xray_noise_falls_with_dose_as_counts_of_quanta_do(photons, value):
    # n quanta with variance n; d(value) = d(n) / (n * log_range).
    lr = degradations.make(1, degradation=f"xray(photons={photons}, electronic=0)", quantize_lr=False)(
        flat(value), 65535, rng()
    )
    n = photons * math.exp(-3 * value)
    assert lr.std() == pytest.approx(1 / (3 * math.sqrt(n)), rel=0.03)
    assert lr.mean() == pytest.approx(value + 1 / (2 * 3 * n), abs=4 / (3 * math.sqrt(n)) / 256 + 1e-5)


def test_xray_electronic_noise_adds_to_the_variance():
    n = 2000 * math.exp(-3 * 0.5)
    lr = degradations.make(1, degradation="xray(photons=2000, electronic=30)", quantize_lr=False)(flat(0.5), 255, rng())
    assert lr.var() == pytest.approx((n + 30**2) / (n * 3) ** 2, rel=0.05)


@pytest.mark.parametrize("mtf", [0.2, 0.5])
def test_xray_blur_has_the_modulation_transfer_that_was_asked_for(mtf):
    # A wave of f cycles a pixel, symmetric about the border, keeps mtf ** (f / 0.5)**2 of its contrast.
    blur = xray.steps(2, mtf_nyquist=mtf)[1]
    for f in (0.125, 0.25, 0.46875):
        wave = np.cos(2 * np.pi * f * (np.arange(64) + 0.5)).astype(np.float32)
        image = 0.5 + 0.4 * wave[:, None, None] * np.ones((1, 64, 1), np.float32)
        np.testing.assert_allclose(blur(image, None)[:, 9, 0] - 0.5, 0.4 * mtf ** (4 * f * f) * wave, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("cycles", [0, 1, 5])
def test_mr_keeps_the_waves_within_its_matrix_and_where_they_are(scale, cycles):
    side = 24 * scale
    hr = (0.5 + 0.4 * np.cos(2 * np.pi * cycles * np.arange(side) / side))[:, None, None]
    hr = np.repeat(hr, side, 1).astype(np.float32)
    lr = mr.KSpace(scale)(hr, None)[:, 0, 0]
    places = scale * np.arange(24) + (scale - 1) / 2
    np.testing.assert_allclose(lr, 0.5 + 0.4 * np.cos(2 * np.pi * cycles * places / side), atol=1e-5)


def test_mr_cuts_the_waves_beyond_its_matrix_and_fills_with_zeros_what_was_not_acquired():
    def wave(cycles):
        return np.repeat((0.5 + 0.4 * np.cos(2 * np.pi * cycles * np.arange(48) / 48))[:, None, None], 48, 1)

    np.testing.assert_allclose(mr.KSpace(2)(wave(17), None), 0.5, atol=1e-5)
    assert np.ptp(mr.KSpace(2, acquired=0.5)(wave(5), None)) == pytest.approx(0.8, abs=0.02)
    np.testing.assert_allclose(mr.KSpace(2, acquired=0.5)(wave(7), None), 0.5, atol=1e-5)
    across = np.swapaxes(wave(7), 0, 1)  # along the read-out direction nothing is left out
    assert np.ptp(mr.KSpace(2, acquired=0.5)(across, None)) > 0.7


def test_mr_noise_is_rician():
    background = mr.RicianNoise(0.02)(flat(0), rng())
    assert background.mean() == pytest.approx(0.02 * math.sqrt(math.pi / 2), rel=0.01)
    assert background.std() == pytest.approx(0.02 * math.sqrt(2 - math.pi / 2), rel=0.02)
    signal = mr.RicianNoise(0.05)(flat(0.5), rng())
    assert signal.mean() == pytest.approx(0.5 + 0.05**2 / (2 * 0.5), abs=4 * 0.05 / 256)
    assert signal.std() == pytest.approx(0.05, rel=0.02)


def test_mr_lines_that_were_not_measured_hold_no_noise():
    *_, noise = mr.steps(2, acquired=0.5, noise_std=0.01)
    found = noise(flat(0.5), rng())[..., 0] - 0.5
    power = np.abs(np.fft.fft2(found)) ** 2
    lines, across = (np.abs(np.fft.fftfreq(256)) > 0.26, np.abs(np.fft.fftfreq(256)) > 0.26)
    assert power[lines].sum() < 0.001 * power.sum()
    # Along the read-out direction it is white: 123 of 256 frequencies are beyond 0.26.
    assert power[:, across].sum() == pytest.approx(123 / 256 * power.sum(), rel=0.05)
    assert found.std() == pytest.approx(0.01, rel=0.02)
    patches = np.stack([noise(flat(0.5, 12), rng(i)) for i in range(200)])
    assert patches.std() == pytest.approx(0.01, rel=0.05)
    # Another protocol is told by its text, and that of a whole k-space is as it always was.
    assert (repr(noise), repr(mr.RicianNoise(0.01))) == (
        "RicianNoise(std=0.01, acquired=0.5)",
        "RicianNoise(std=0.01)",
    )


@pytest.mark.parametrize("peak", [0.15, 0.3])
def test_ct_noise_has_its_spread_and_its_spectrum(peak):
    noise = ct.CorrelatedNoise(0.03, peak)(flat(0.5), rng())[..., 0] - 0.5
    assert noise.std() == pytest.approx(0.03, rel=0.02)
    power = np.abs(np.fft.fft2(noise)) ** 2
    radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None])
    rings = [power[(radius >= f) & (radius < f + 0.02)].mean() for f in np.arange(0, 0.5, 0.02)]
    expected = [(f + 0.01) * math.exp(-((f + 0.01) ** 2) / (2 * peak**2)) for f in np.arange(0, 0.5, 0.02)]
    np.testing.assert_allclose(np.array(rings) / max(rings), np.array(expected) / max(expected), atol=0.12)
    small = np.stack([ct.CorrelatedNoise(0.03, peak)(flat(0.5, 16), rng(i)) for i in range(200)])
    assert small.std() == pytest.approx(0.03, rel=0.05)


def test_ct_blur_has_the_width_that_was_asked_for():
    line = np.zeros((64, 64, 1), np.float32)
    line[:, 32] = 1
    spread = ct.steps(2, fwhm=8)[0](line, None)[32, :, 0]
    place = np.interp(spread.max() / 2, spread[:33], np.arange(33))
    assert 2 * (32 - place) == pytest.approx(8, abs=0.1)


def test_one_look_of_speckle_is_rayleighs_and_looks_average():
    one = ultrasound.Speckle(0, 0, 1, 60).look((256, 256, 1), rng())
    assert one.mean() == pytest.approx(1, abs=0.01)
    assert one.mean() / one.std() == pytest.approx(1.913, rel=0.02)
    many = np.mean([ultrasound.Speckle(0, 0, 1, 60).look((256, 256, 1), rng(i)) for i in range(16)], 0)
    assert many.std() == pytest.approx(one.std() / 4, rel=0.03)


def test_speckle_is_as_wide_as_the_point_spread():
    # The correlation of a Gaussian-smoothed field falls to 1/e over 2 sigma; of its intensity, over sqrt(2) sigma.
    look = ultrasound.Speckle(2.0, 4.0, 1, 60).look((512, 512, 1), rng())[..., 0] ** 2
    centred = look - look.mean()
    spectrum = np.abs(np.fft.fft2(centred)) ** 2
    correlation = np.fft.ifft2(spectrum).real / spectrum.mean()
    for axis, sigma in ((0, 2.0), (1, 4.0)):
        line = correlation[:20, 0] if axis == 0 else correlation[0, :20]
        assert np.interp(-math.exp(-1), -line / line[0], np.arange(20)) == pytest.approx(math.sqrt(2) * sigma, rel=0.15)


def test_ultrasound_of_an_even_image_keeps_its_level():
    lr = degradations.make(2, degradation="ultrasound(looks=0)", quantize_lr=False)(flat(0.6, 32), 255, rng())
    np.testing.assert_allclose(lr, 0.6, atol=1e-5)
    # 60 dB: an amplitude of 10 % is 20 dB below white.
    np.testing.assert_allclose(ultrasound.Amplitude(60.0)(flat(2 / 3, 2), None), 0.1, rtol=1e-5)


def test_oct_blurs_more_in_depth_and_ultrasound_more_across():
    blurs = [steps(2)[1] for steps in (oct.steps, ultrasound.steps)]
    assert blurs[0].sigma > blurs[0].sigma_x
    assert blurs[1].sigma < blurs[1].sigma_x


def test_real_world_draws_another_history_each_time_and_jpeg_leaves_eight_bits():
    hr = rng().uniform(0, 1, (64, 64, 1)).astype(np.float32)
    step = real_world.SecondOrder(2, 1.5, 0.02, 50)
    found = [step(hr, rng(seed)) for seed in range(4)]
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(found))
    np.testing.assert_allclose(found[0] * 255, np.rint(found[0] * 255), atol=1e-4)


@pytest.mark.parametrize("text", RANDOM)
def test_patches_of_every_degradation_are_aligned_and_a_function_of_the_step(tmp_path, text):
    y, x = np.mgrid[:96, :80]
    images = [np.uint8(127 + 100 * np.sin(y / a) * np.cos(x / b))[..., None] for a, b in ((9, 13), (14, 8), (11, 11))]
    source = ArraySource(tmp_path, {"train": images})

    def sampler():
        cache = pipeline.cache_of(source, "train")
        return pipeline.PatchSampler(cache, 2, degradations.make(2, degradation=text), 16, 6, seed=1)

    first, again = sampler().batch(3), sampler().batch(3)
    np.testing.assert_array_equal(first[0], again[0])
    lr, hr = first
    assert (lr.shape, hr.shape) == ((6, 16, 16, 1), (6, 32, 32, 1))
    small = hr.reshape(6, 16, 2, 16, 2, 1).mean((2, 4))
    shifts = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
    inner = lr[:, 3:-3, 3:-3]
    differences = [np.abs(inner - small[:, 3 + dy : 13 + dy, 3 + dx : 13 + dx]).mean() for dy, dx in shifts]
    assert np.argmin(differences) == 0


def test_patch_made_from_high_resolution_sees_what_lies_around_it(tmp_path):
    # The same window degraded with and without its surroundings differs at its edge only where it is cut.
    hr = rng().integers(0, 255, (128, 128, 1)).astype(np.uint8)
    source = ArraySource(tmp_path, {"train": [hr]})

    class Smooth(degradations.GaussianBlur):
        random, margin, scale = True, 16, 1

        def __call__(self, image, rng):
            return super().__call__(image, rng)

    degrade = degradations.Degradation((Smooth(2.0),), quantize=False)
    cache = pipeline.cache_of(source, "train")
    sampler = pipeline.PatchSampler(cache, 1, degrade, 24, 4, augment=False)
    lr, patches = sampler.batch(0)
    whole = degrade(hr.astype(np.float32) / 255, 255, None)
    for one, patch in zip(lr, patches, strict=True):
        place = next(
            (y, x)
            for y in range(105)
            for x in range(105)
            if np.array_equal(np.uint8(np.rint(patch * 255)), hr[y : y + 24, x : x + 24])
        )
        window = tuple(slice(start, start + 24) for start in place)
        np.testing.assert_allclose(one, whole[window], atol=1e-6)


@pytest.mark.parametrize(
    "text,message",
    [
        ("xrays", f"degradation must be one of {', '.join(degradations.names())}, with numbers"),
        ("xray(dose=3)", "expected parameters named photons, electronic, mtf_nyquist, log_range. Received: dose"),
        ("xray(photons=many)", "photons must be a number, 0 or more. Received: many"),
        ("xray(photons)", "photons must be a number, 0 or more. Received: nothing"),
        ("xray(photons=nan)", "photons must be a number"),
        ("xray(photons=0)", "photons and log_range above 0"),
        ("bicubic(a=1)", "expected bicubic or bicubic(rounding=pillow8). Received: a=1"),
        ("bicubic(rounding=8)", "expected bicubic or bicubic(rounding=pillow8). Received: rounding=8"),
        ("mr(acquired=0)", "acquired above 0 and at most 1"),
        ("ct(noise_peak=1)", "noise_peak above 0 and at most 0.5"),
        ("real_world(quality=0)", "quality from 1 to 95"),
        ("ultrasound(looks=1.5)", "a whole number of looks"),
        ("__import__('os')", "degradation must be one of"),
    ],
)
def test_mistakes_are_told_in_one_line(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        degradations.make(2, degradation=text)


def test_blur_and_noise_flags_are_for_bicubic_only():
    with pytest.raises(InputError, match="are for bicubic only"):
        degradations.make(2, blur_sigma=1.0, degradation="xray")


def test_protocol_text_tells_an_anisotropic_blur_and_keeps_the_plain_one():
    assert repr(degradations.GaussianBlur(1.0)) == "GaussianBlur(sigma=1.0)"
    assert repr(degradations.GaussianBlur(1.0, 2.0)) == "GaussianBlur(sigma=1.0, sigma_x=2.0)"
    assert degradations.make(4).describe() == degradations.make(4, degradation="bicubic()").describe()
    assert degradations.make(4).describe() == "Bicubic(scale=4) rounded"
    eight = degradations.make(4, degradation="bicubic(rounding=pillow8)")
    assert eight.describe() == "Bicubic(scale=4, rounding=pillow8) rounded"
    assert operators.without_noise(eight) == operators.without_noise(degradations.make(4))


def test_unsharp_mask_raises_the_contrast_of_a_wave_by_what_the_blur_takes():
    # A Gaussian of standard deviation s keeps exp(-2 (pi f s)**2) of a wave of f cycles a pixel.
    wave = np.cos(2 * np.pi * 0.125 * (np.arange(64) + 0.5)).astype(np.float32)
    image = 0.5 + 0.1 * np.repeat(wave[None, :, None], 64, 0)
    found = UnsharpMask(0.8, 1.2)(image, None)
    gain = 1 + 0.8 * (1 - math.exp(-2 * (math.pi * 0.125 * 1.2) ** 2))
    np.testing.assert_allclose(found[32, 16:48, 0], 0.5 + 0.1 * gain * wave[16:48], atol=1e-3)


def test_jpeg_is_pillows_file():
    image = np.rint(rng().uniform(0, 255, (24, 32))).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=90)
    expected = np.asarray(Image.open(stream))
    np.testing.assert_array_equal(np.rint(255 * Jpeg(90)(image[..., None] / np.float32(255), None))[..., 0], expected)
    assert 0 < np.abs(expected.astype(int) - image).mean() < 20


@pytest.mark.parametrize("scale", [2, 4])
def test_blind_xray_is_bicubic_where_it_is_drawn(scale):
    hr = rng(3).uniform(0, 1, (16 * scale, 16 * scale, 1)).astype(np.float32)
    always = degradations.make(scale, degradation="blind_xray(bicubic=1)")
    np.testing.assert_array_equal(always(hr, 255, rng()), degradations.make(scale)(hr, 255))
    never = degradations.make(scale, degradation="blind_xray(bicubic=0)")
    assert not any(np.array_equal(never(hr, 255, rng(i)), degradations.make(scale)(hr, 255)) for i in range(20))


def test_blind_xray_detector_transfers_contrast_within_its_range():
    """At the Nyquist frequency of LR the light spread keeps a share between the two ends, the binning 2 / pi of it."""
    scale, side = 4, 128
    step = blind_xray.steps(scale, bicubic=0, detector=1, sharpened=0, compressed=0)[0]
    wave = np.cos(np.pi * (np.arange(side) + 0.5) / scale + np.pi / 4).astype(np.float32)
    hr = 0.5 + 0.02 * np.repeat(wave[None, :, None], side, 0)  # small, where the exposure is linear
    expected = np.abs(np.mean(wave.reshape(-1, scale), 1)).mean()
    found = []
    for seed in range(40):
        lr = step(hr, rng(seed))[4:-4, 4:-4, 0]
        found.append(abs(np.mean((lr - lr.mean()) * np.where(np.arange(lr.shape[1]) % 2, -1, 1))) / 0.02 / expected)
    assert min(found) > 0.1 and max(found) < 1.1
    assert np.ptp(found) > 0.5


def test_blind_xray_draws_bits_where_the_result_is_not_rounded():
    degrade = degradations.make(2, degradation="blind_xray", quantize_lr=False)
    hr = rng(1).uniform(0, 1, (32, 32, 1)).astype(np.float32)
    finest = []
    for seed in range(40):
        lr = degrade(hr, 65535, rng(seed)).astype(np.float64)
        finest.append(
            next(b for b in (8, 10, 12, 16) if np.allclose(lr * (2**b - 1), np.rint(lr * (2**b - 1)), atol=2e-2))
        )
    assert set(finest) == {8, 10, 12, 16} and finest.count(8) > 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jpeg(quality=0)", "jpeg needs quality, a whole number from 1 to 95. Received: 0"),
        ("jpeg(quality=80.5)", "Received: 80.5"),
        ("unsharp(sigma=0)", "unsharp needs sigma above 0. Received: 0"),
        ("blind_xray(sharpened=1.5)", "blind_xray needs sharpened from 0 to 1. Received: 1.5"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        degradations.make(2, degradation=text)


def test_narrow_light_spread_is_the_same_in_the_threads_of_tensorflow():
    """They flush numbers below 1.2e-38 to 0, and 0.22 at the Nyquist frequency of LR is 8e-43 at that of HR for x8."""
    import tensorflow as tf

    image = rng().uniform(0, 1, (64, 64, 1)).astype(np.float32)
    blur = xray.LightSpread(0.22**64)

    def spread(index):
        return blur(image, None) + 0 * index

    batches = tf.data.Dataset.range(2).map(
        lambda i: tf.numpy_function(spread, [tf.cast(i, tf.float32)], tf.float32), num_parallel_calls=2
    )
    for found in batches.as_numpy_iterator():
        np.testing.assert_allclose(found, blur(image, None), atol=1e-6)
        assert found.std() > 0.005
