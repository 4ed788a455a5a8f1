"""Classical methods against values by hand, scikit-learn and SciPy; operators against their forward model."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from tfmisr import degradations, metrics
from tfmisr.classical import back_projection, operators, plug_and_play, self_similarity, sparse_coding
from tfmisr.edge import resize
from tfmisr.edge.errors import InputError


def smooth_image(height, width, channels=1, seed=0):
    """Smooth shapes and edges in [0.1, 0.9]."""
    y, x = np.mgrid[:height, :width]
    phases = np.random.default_rng(seed).uniform(0, 6, channels)
    image = 0.5 + 0.25 * np.sin(x[..., None] / 7 + phases) * np.cos(y[..., None] / 6)
    return (image + 0.1 * np.sign(np.sin((x + y)[..., None] / 9 + phases))).astype(np.float32)


def pair(height, width, scale, channels=1, **kwargs):
    """Returns a low-resolution image, its truth and the degradation between them, all in float."""
    degradation = degradations.make(scale, quantize_lr=False, **kwargs)
    hr = smooth_image(height * scale, width * scale, channels)
    return degradation(hr, 65535, np.random.default_rng(0)), hr, degradation


def unlearned():
    """The weights of a denoiser that leaves its input as it is."""
    weights = plug_and_play.denoiser(1, 4).get_weights()
    return {f"weight{i:02d}": 0 * weight for i, weight in enumerate(weights)}


METHODS = {
    "back_projection": back_projection.upscaler,
    "self_similarity": self_similarity.upscaler,
    "plug_and_play": lambda scale, degradation: plug_and_play.upscaler(unlearned(), scale, degradation),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("scale,height,width", [(2, 17, 24), (3, 13, 11), (4, 9, 12)])
def test_size_is_right_and_the_error_below_that_of_bicubic(name, scale, height, width):
    lr, hr, degradation = pair(height, width, scale)
    sr = METHODS[name](scale, degradation)(lr)
    assert (sr.shape, sr.dtype) == ((height * scale, width * scale, 1), np.float32)
    assert metrics.psnr(hr, sr, 1.0) > metrics.psnr(hr, resize.upscale(lr, scale), 1.0) + 0.1


@pytest.mark.parametrize("name", ["back_projection", "self_similarity"])
def test_channels_are_treated_alike(name):
    lr, _, degradation = pair(12, 15, 2, channels=3)
    upscale = METHODS[name](2, degradation)
    expected = np.concatenate([upscale(lr[..., [c]]) for c in range(3)], axis=-1)
    np.testing.assert_allclose(upscale(lr), expected, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_centroid_of_a_blob_does_not_move(name):
    grid = np.arange(24)
    blob = np.exp(-((grid[:, None] - 11.3) ** 2 + (grid[None] - 10.6) ** 2) / 8).astype(np.float32)
    sr = METHODS[name](3, degradations.make(3))(blob[..., None])[..., 0]
    y, x = ((sr * np.arange(72)[axis]).sum() / sr.sum() for axis in (np.s_[:, None], np.s_[None]))
    assert y == pytest.approx((11.3 + 0.5) * 3 - 0.5, abs=0.05)
    assert x == pytest.approx((10.6 + 0.5) * 3 - 0.5, abs=0.05)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_image_is_unchanged_up_to_its_edge(name, value):
    lr = np.full((9, 14, 1), value, np.float32)
    np.testing.assert_allclose(METHODS[name](2, degradations.make(2))(lr), value, atol=2e-6)


@pytest.mark.parametrize("name", METHODS)
def test_image_of_two_by_three_pixels_is_upscaled(name):
    lr = np.array([[0.1, 0.4, 0.2], [0.3, 0.5, 0.6]], np.float32)[..., None]
    assert METHODS[name](4, degradations.make(4))(lr).shape == (8, 12, 1)


@pytest.mark.parametrize("blur", [0.0, 1.0])
def test_back_projection_converges_to_consistency_with_the_input(blur):
    lr, _, degradation = pair(20, 15, 2, blur_sigma=blur)
    start = resize.upscale(lr, 2)
    errors = [
        np.abs(degradation(operators.back_project(start, lr, degradation, n), 65535) - lr).max() for n in (0, 10, 200)
    ]
    assert errors[0] > 5 * errors[1] > 5 * errors[2]
    if not blur:
        assert errors[2] < 1e-5


def test_one_step_of_back_projection_by_hand():
    # On a row of two pixels, area mean halves; the error (1, -1) / 4 of a flat start comes back interpolated.
    noiseless = degradations.Degradation((degradations.AreaMean(2),))
    lr = np.array([0.75, 0.25], np.float32).reshape(1, 2, 1).repeat(2, axis=0)
    sr = operators.back_project(np.full((4, 4, 1), 0.5, np.float32), lr, noiseless, 1)
    np.testing.assert_allclose(sr, 0.5 + resize.upscale(lr - 0.5, 2), atol=1e-7)


DEGRADATIONS = [
    {},
    {"blur_sigma": 1.3},
    # through_plane keeps the size of an image, and no classical method is for it; unsharp is not separable
    *({"degradation": name} for name in degradations.names() if name not in ("bicubic", "through_plane", "unsharp")),
    {"degradation": "mr(acquired=0.6)"},
    {"degradation": "ultrasound(axial=2.5)"},
]


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("fields", DEGRADATIONS, ids=str)
def test_adjoint_is_exact_and_the_operator_is_the_derivative(fields, scale):
    noiseless = operators.without_noise(degradations.make(scale, **fields))
    image = smooth_image(36, 48, 2)
    operator, reduced = operators.linearize(noiseless, image)
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal(image.shape), rng.standard_normal(reduced.shape)
    assert np.vdot(operator.forward(x), y) == pytest.approx(np.vdot(x, operator.adjoint(y)), rel=1e-9, abs=1e-9)
    assert reduced.shape == (36 // scale, 48 // scale, 2)
    change = (1e-3 * ndimage.gaussian_filter(x, (1, 1, 0))).astype(np.float32)
    difference = operators.reduce(noiseless, image + change) - operators.reduce(noiseless, image - change)
    assert np.abs(difference / 2 - operator.forward(change)).max() < 0.03 * np.abs(difference / 2).max()


def test_degradation_without_noise_is_the_mean_of_many_with_noise():
    for name in ("xray(photons=20000)", "ct", "mr", "ultrasound(looks=64)"):
        degradation = degradations.make(2, degradation=name, quantize_lr=False)
        image, rng = smooth_image(16, 16), np.random.default_rng(0)
        mean = np.mean([degradation(image, 65535, rng) for _ in range(200)], axis=0)
        np.testing.assert_allclose(operators.reduce(operators.without_noise(degradation), image), mean, atol=0.01)


def test_unsharp_mask_is_refused():
    with pytest.raises(InputError, match=r"separable, or pointwise.* Received: UnsharpMask"):
        operators.linearize(degradations.make(2, degradation="unsharp"), smooth_image(24, 24))


def test_step_that_is_not_separable_is_refused():
    class Turned:
        random = False

        def __call__(self, image, rng):
            return ndimage.rotate(image, 30, reshape=False, mode="nearest", order=1)

        def __repr__(self):
            return "Turned()"

    with pytest.raises(InputError, match=r"separable, or pointwise.* Received: Turned\(\)"):
        operators.linearize(degradations.Degradation((Turned(),)), smooth_image(24, 24))


def test_data_step_is_the_least_squares_solution():
    lr, _, degradation = pair(5, 4, 2, blur_sigma=0.8)
    image = resize.upscale(lr, 2) + np.float32(0.05)
    operator, reduced = operators.linearize(operators.without_noise(degradation), image)
    columns = [operator.forward(unit.reshape(image.shape)).ravel() for unit in np.eye(image.size)]
    matrix, weight = np.stack(columns, axis=1), 0.02
    stacked = np.vstack([matrix, weight**0.5 * np.eye(image.size)])
    wanted = np.concatenate([(lr - reduced).ravel(), np.zeros(image.size)])
    expected = image + np.linalg.lstsq(stacked, wanted, rcond=None)[0].reshape(image.shape)
    found = plug_and_play.solve_data_term(operator, reduced, image, lr, weight)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_noise_level_is_the_standard_deviation():
    assert operators.noise_level(degradations.make(2, noise_std=0.02)) == pytest.approx(0.02, rel=0.05)
    assert operators.noise_level(degradations.make(2, blur_sigma=1.0)) == 0.0
    # Poisson's and the electronics' variance behind a logarithm, as `xray.Detection` says; exp(-1.5) of the dose.
    quanta = 2000 * np.exp(-1.5)
    expected = np.sqrt(quanta + 10**2) / (quanta * 3)
    assert operators.noise_level(degradations.make(2, degradation="xray(photons=2000)")) == pytest.approx(
        expected, rel=0.1
    )


@pytest.mark.parametrize("degradation", ["ct(noise_std=0.03)", "mr(noise_std=0.03)", "ultrasound", "xray(photons=500)"])
def test_noise_is_not_amplified_by_back_projection(degradation):
    degradation = degradations.make(2, degradation=degradation, quantize_lr=False)
    hr = (0.25 + smooth_image(96, 96) / 2).astype(np.float32)
    lr = degradation(hr, 65535, np.random.default_rng(0))
    sr = back_projection.upscaler(2, degradation)(lr)
    assert metrics.psnr(hr, sr, 1.0) > metrics.psnr(hr, resize.upscale(lr, 2), 1.0) - 0.2


def test_back_projection_stops_at_the_noise_level():
    lr, hr, degradation = pair(24, 24, 2, noise_std=0.03)
    noiseless = operators.without_noise(degradation)

    def error(sr):
        return np.sqrt(np.mean((lr - operators.reduce(noiseless, sr)) ** 2))

    far = np.full_like(hr, lr.mean())
    found = [error(operators.back_project(far, lr, degradation, n)) for n in range(12)]
    noise = operators.noise_level(degradation)
    last = next(n for n, value in enumerate(found) if value <= noise)
    assert 0 < last < 10 and found[last:] == [found[last]] * (12 - last)
    near = operators.back_project(far, lr, degradation, last)
    np.testing.assert_array_equal(operators.back_project(near, lr, degradation, 5), near)


def test_noise_levels_decrease_to_that_of_the_data():
    found = plug_and_play.noise_levels(2, 0.02)
    assert len(found) == 8 and found[0] == pytest.approx(24 / 255) and found[-1] == pytest.approx(0.02)
    assert plug_and_play.noise_levels(2, 0.001)[-1] == pytest.approx(2 / 255)
    np.testing.assert_allclose(found[1:] / found[:-1], found[1] / found[0])


def test_denoiser_has_the_layers_and_receptive_field_of_ircnn():
    network = plug_and_play.denoiser(1, 8)
    layers = [layer for layer in network.layers if layer.name.startswith("conv")]
    assert [layer.dilation_rate[0] for layer in layers] == [1, 2, 3, 4, 3, 2, 1]
    # 3x3: five inputs to 8, five times 8 to 8, 8 to four.
    assert network.count_params() == 9 * (5 * 8 + 5 * 64 + 8 * 4) + 6 * 8 + 4
    rng = np.random.default_rng(0)
    network.set_weights([np.abs(rng.standard_normal(w.shape)) * 0.1 for w in network.get_weights()])
    image = np.full((1, 41, 41, 5), 1.0, np.float32)
    other = image.copy()
    other[0, 20, 20, 0] += 1
    changed = np.argwhere((np.abs(np.asarray(network(other)) - np.asarray(network(image))) > 0).any(-1)[0])
    assert np.abs(changed - 20).max() == 16


def test_space_to_depth_takes_every_other_pixel_and_is_inverted():
    image = np.random.default_rng(0).random((6, 8, 3), np.float32)
    parts = plug_and_play.space_to_depth(image)
    np.testing.assert_array_equal(parts[..., 3:6], image[::2, 1::2])
    np.testing.assert_array_equal(parts[..., 6:9], image[1::2, ::2])
    np.testing.assert_array_equal(plug_and_play.depth_to_space(parts), image)


def test_matching_pursuit_equals_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((40, 12)).astype(np.float32)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    signals = rng.standard_normal((30, 12)).astype(np.float32)
    found = sparse_coding.dense_codes(*sparse_coding.matching_pursuit(atoms, signals, 3), 40)
    expected = linear_model.orthogonal_mp(atoms.T.astype(float), signals.T.astype(float), n_nonzero_coefs=3).T
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_matching_pursuit_recovers_sparse_signals_and_zero():
    atoms = np.eye(6, dtype=np.float32)
    signals = np.array([[0, 2, 0, -3, 0, 1], [0, 0, 0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(
        sparse_coding.dense_codes(*sparse_coding.matching_pursuit(atoms, signals), 6), signals, atol=1e-6
    )


def test_derivatives_by_hand():
    ramp = np.tile(np.arange(8, dtype=np.float32) ** 2, (8, 1))
    found = sparse_coding.derivatives(ramp)[4, 4]
    # (x + 1)^2 - (x - 1)^2 = 4 x at x = 4; (x + 2)^2 - 2 x^2 + (x - 2)^2 = 8; nothing along the columns.
    np.testing.assert_allclose(found, [0, 16, 0, 8], atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("height,width", [(5, 7), (2, 2)])
@pytest.mark.parametrize("at_once", [8192, 12])
def test_average_of_extracted_patches_is_the_image(monkeypatch, scale, height, width, at_once):
    monkeypatch.setattr(sparse_coding, "_PATCHES_AT_ONCE", at_once)
    # One atom a patch pixel, each patch coded in full: the mean of the overlapping patches is the image itself.
    image = np.random.default_rng(0).random((height * scale, width * scale), np.float32)
    patches = sparse_coding.extract_patches(image[..., None], scale)
    assert patches.shape == (height, width, 1, 3 * scale, 3 * scale)
    laid = sparse_coding.average_patches(lambda rows: patches[rows].reshape(-1, 9 * scale**2), height, width, scale)
    np.testing.assert_allclose(laid, image, atol=1e-6)


def test_step_sizes_of_self_similarity_end_at_the_scale():
    assert self_similarity.step_sizes(10, 7, 2) == [(14, 10), (20, 14)]
    for scale in (2, 3, 4, 8):
        sides = [100, *(height for height, _ in self_similarity.step_sizes(100, 50, scale))]
        assert sides[-1] == 100 * scale
        assert max(b / a for a, b in itertools.pairwise(sides)) < 1.51


def test_search_starts_at_the_corresponding_pixel():
    # Pixel i of the larger image lies at (i + 0.5) / 2 - 0.5 of the smaller one.
    np.testing.assert_array_equal(self_similarity._nearest(8, 4, 0.5), [0, 0, 1, 1, 2, 2, 3, 3])


def test_self_similarity_finds_the_shifted_patch_exactly():
    # The larger image is a shifted copy: the best patch lies two rows up and one column right, at distance 0.
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).random((40, 40)), 1).astype(np.float32)
    blurred = np.roll(smooth, (2, -1), (0, 1)) + np.float32(0.2)
    rows, columns = self_similarity._matches(blurred, smooth, np.arange(40), np.arange(40))
    inner = np.s_[8:-8, 8:-8]
    y, x = np.mgrid[:40, :40]
    np.testing.assert_array_equal(rows[inner], (y - 2)[inner])
    np.testing.assert_array_equal(columns[inner], (x + 1)[inner])
