"""The built-in radiographs: geometry and physics by hand, and whether they are like real ones."""

import math
import os

import numpy as np
import pytest
import scipy.ndimage
import tensorflow_datasets as tfds
from PIL import Image

from tfmisr import data
from tfmisr.datasets.chest_phantom import chest_phantom_dataset_builder, phantom, shapes, tubes

SIZE = 256


@pytest.fixture(scope="module")
def grid():
    return shapes.make_grid(201, 20.1)  # 0.1 cm pixels, one of them at the origin


@pytest.fixture(scope="module")
def image():
    return phantom.radiograph(3, SIZE)


def streams(seed=0):
    return [np.random.default_rng([seed, k]) for k in range(2)]


@pytest.fixture(scope="module")
def patient():
    return phantom.patient(SIZE, *streams())


def drawn(grid, *args):
    canvas = np.zeros((grid.size, grid.size), np.float32)
    tubes.add(canvas, grid, tubes.tube(*args))
    return canvas


def at(grid, canvas, x, y):
    return canvas[round(float(grid.rows(y))), round(float(grid.columns(x, y)))]


def volume(grid, canvas):
    return canvas.sum() * grid.pitch**2


@pytest.mark.parametrize(("aside", "chord"), [(0.0, 2.0), (0.6, 1.6), (0.8, 1.2)])
def test_path_through_a_tube_is_the_chord_of_its_circle(grid, aside, chord):
    canvas = drawn(grid, [[-5, 0, 0], [5, 0, 0]], 1.0)
    assert at(grid, canvas, 0.0, aside) == pytest.approx(chord, rel=0.01)


def test_path_through_a_slanted_tube_grows_by_the_slant(grid):
    canvas = drawn(grid, [[-3, 0, -3 * np.sqrt(3)], [3, 0, 3 * np.sqrt(3)]], 1.0)  # 30 degrees to the ray
    assert at(grid, canvas, 0.0, 0.0) == pytest.approx(2.0 / 0.5, rel=0.01)


def test_path_through_a_tube_seen_end_on_is_its_length(grid):
    canvas = drawn(grid, [[1, 1, -2], [1.01, 1, 1]], 1.0)
    assert at(grid, canvas, 1.0, 1.0) == pytest.approx(3.0, rel=0.01)


def test_path_through_a_flat_tube_follows_its_half_axes(grid):
    canvas = drawn(grid, [[-5, 0, 0], [5, 0, 0]], [[1.0, 0.25]] * 2, [[0, 0, 1.0]] * 2)
    assert at(grid, canvas, 0.0, 0.0) == pytest.approx(0.5, rel=0.02)
    assert at(grid, canvas, 0.0, 0.6) == pytest.approx(0.5 * 0.8, rel=0.02)


@pytest.mark.parametrize("radius", [1.0, 0.1, 0.02])  # ten pixels to a fifth of one
def test_a_bent_tube_keeps_its_volume_however_thin(grid, radius):
    turn = np.linspace(0, 2 * np.pi, 60)
    points = np.stack([5 * np.cos(turn), 3 * np.sin(turn), 4 * np.sin(turn)], axis=1)
    length = 2 * np.pi * 5  # a circle of radius 5, seen at a slant
    assert volume(grid, drawn(grid, points, radius)) == pytest.approx(np.pi * radius**2 * length, rel=0.01)


def test_a_tapering_tube_has_the_volume_of_a_cut_cone(grid):
    canvas = drawn(grid, [[-4, -1, 0], [4, 1, 2]], [0.5, 2.0])
    length = np.sqrt(64 + 4 + 4)
    assert volume(grid, canvas) == pytest.approx(np.pi * length / 3 * (0.25 + 1.0 + 4.0), rel=0.02)


def test_an_ellipsoid_has_its_chord_and_its_volume(grid):
    canvas = np.zeros((grid.size, grid.size), np.float32)
    shapes.add_ellipsoid(canvas, grid, (1.0, -2.0), (4.0, 2.0, 1.5), angle=0.7)
    assert at(grid, canvas, 1.0, -2.0) == pytest.approx(3.0, rel=1e-3)
    assert volume(grid, canvas) == pytest.approx(4 / 3 * np.pi * 4 * 2 * 1.5, rel=0.01)


def test_a_body_outside_the_image_leaves_it_empty(grid):
    canvas = drawn(grid, [[-30, 40, 0], [30, 40, 0]], 1.0)
    shapes.add_ellipsoid(canvas, grid, (30.0, 30.0), (4.0, 2.0, 1.5))
    assert not canvas.any()


def test_a_leaning_grid_moves_points_with_their_rows():
    grid = shapes.make_grid(64, 32.0, lean=0.1, middle=(0.5, -1.0))
    row, column = 10, 50
    x, y = grid.x[row, column], grid.y[row, 0]
    assert grid.rows(y) == pytest.approx(row, abs=1e-4)
    assert grid.columns(x, y) == pytest.approx(column, abs=1e-4)
    assert grid.x[row + 10, column] == pytest.approx(x - 0.1 * 5.0, abs=1e-4)


# Mass attenuation, cm2/g, at 60 and 80 keV, and density, g/cm3: NISTIR 5632, ICRU-44 materials and lead.
NIST = {
    "tissue": (0.2048, 0.1823, 1.06),
    "fat": (0.1974, 0.1800, 0.95),
    "cortical": (0.3148, 0.2229, 1.92),
    "metal": (5.021, 2.419, 11.35),
}


@pytest.mark.parametrize("material", NIST)
def test_attenuation_is_nists_at_70_kev(material):
    low, high, density = NIST[material]
    at_70 = np.exp(np.interp(np.log(70), np.log([60, 80]), np.log([low, high])))
    assert phantom.ATTENUATION[material] == pytest.approx(at_70 * density, rel=2e-3)


def test_transmission_of_slabs_is_beer_lamberts():
    # 10 cm of tissue and half a centimetre of bone: exp(-(10 * 0.20394 + 0.5 * 0.50227)) = 0.1012
    passed = phantom.transmission({"tissue": np.full((1, 1), 10.0), "cortical": np.full((1, 1), 0.5)})
    assert passed[0, 0] == pytest.approx(0.1012, abs=1e-4)


def test_scatter_is_a_wide_veil_where_there_is_a_patient():
    primary = np.ones((256, 256), np.float32)
    assert not phantom.scatter(primary, 0.1).any()
    primary[96:160, 96:160] = np.exp(-1)  # -P ln P = 1/e, on a square with sides of 6.4 cm
    veil = phantom.scatter(primary, 0.1)
    spread = math.erf(3.2 / (4.5 * math.sqrt(2))) ** 2  # what stays in the middle of a Gaussian of 4.5 cm
    assert veil[128, 128] == pytest.approx(0.12 / math.e * spread, rel=0.04)
    assert np.abs(np.diff(veil, axis=1)).max() < 0.02 * veil.max()


def noise(quanta, level=0.25):
    beam = np.full((256, 256), level, np.float32)
    return phantom.detect(beam, quanta, 0.075, np.random.default_rng(1)) - level


def test_four_times_the_dose_halves_the_noise():
    assert noise(1e4).std() / noise(4e4).std() == pytest.approx(2.0, rel=0.01)


def test_noise_before_blur_is_poissons():
    # Poisson: variance of n quanta is n. In units of the open beam, level / quanta; blur leaves mean(MTF^2).
    f = np.fft.fftfreq(256, 0.075)
    radius = np.hypot(f[:, None], f)
    mtf = np.sinc(0.075 * f[:, None]) * np.sinc(0.075 * f) / (1 + (radius / 14.0) ** 2)
    assert noise(1e4).var() == pytest.approx(0.25 / 1e4 * np.mean(mtf**2), rel=0.03)


def test_a_wave_at_14_per_cm_keeps_half_its_contrast():
    pitch, size = 0.01, 200
    x = np.arange(size) * pitch
    beam = np.tile(1 + 0.5 * np.sin(2 * np.pi * 14 * x), (size, 1))
    signal = phantom.detect(beam, np.inf, pitch, np.random.default_rng(0))
    assert np.ptp(signal) / np.ptp(beam) == pytest.approx(0.5 * np.sinc(0.14), rel=1e-3)
    assert signal.mean() == pytest.approx(beam.mean())


def test_a_sharp_edge_is_blurred_over_a_pixel_or_two():
    beam = np.where(np.arange(128) < 64, 1.0, 0.2) * np.ones((128, 1))
    edge = phantom.detect(beam, np.inf, 0.075, np.random.default_rng(0))[64, 60:68]
    share = (1.0 - edge) / 0.8
    assert share[0] == pytest.approx(0, abs=0.03)
    assert share[-1] == pytest.approx(1, abs=0.03)
    assert 0.05 < share[3] < 0.35 and 0.65 < share[4] < 0.95


def test_the_same_seed_gives_the_same_pixels(image):
    assert phantom.radiograph(3, SIZE).tobytes() == image.tobytes()


def test_other_seeds_give_other_patients(image):
    # Blurred, so that noise does not count.
    few = [scipy.ndimage.zoom(phantom.radiograph(seed, SIZE) / 65535, 1 / 8, order=1) for seed in (3, 4, 5)]
    alike = np.corrcoef([a.ravel() for a in few])
    assert alike[0, 1] < 0.97 and alike[0, 2] < 0.97 and alike[1, 2] < 0.97


def test_the_size_does_not_change_the_patient(image):
    small = phantom.radiograph(3, SIZE // 2)
    means = image.reshape(SIZE // 2, 2, SIZE // 2, 2).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), means.ravel())[0, 1] > 0.99


def test_images_use_the_range_of_16_bits(image):
    assert image.shape == (SIZE, SIZE) and image.dtype == np.uint16
    assert phantom.MAX_VAL == 65535
    assert np.percentile(image, 1) < 0.15 * 65535 and np.percentile(image, 99) > 0.8 * 65535
    assert len(np.unique(image)) > 20_000


def test_a_tiny_size_is_refused():
    with pytest.raises(ValueError, match="Received: size=32"):
        phantom.radiograph(0, 32)


def test_lungs_are_dark_and_bones_bright(patient):
    grid, paths = patient
    signal = phantom.detect(phantom.transmission(paths), np.inf, grid.pitch, np.random.default_rng(0))
    shown = phantom.present(signal, grid.pitch, np.random.default_rng(0)).astype(float)
    inside, bone = paths["lung"] > 8, paths["cortical"] + paths["spongy"]
    dense = (paths["lung"] < 0.1) & (paths["tissue"] > 8)
    assert shown[inside].mean() < 0.5 * shown[dense].mean()
    assert shown[inside & (bone > 0.5)].mean() > shown[inside & (bone < 0.01)].mean() + 1500


def test_lungs_let_some_fifth_of_the_beam_through_and_the_mediastinum_a_fiftieth(patient):
    grid, paths = patient
    passed = phantom.transmission(paths)
    middle = (np.abs(grid.x) < 1) & (np.abs(grid.y) < 3)
    assert 0.08 < np.median(passed[paths["lung"] > 8]) < 0.35
    assert 0.004 < np.median(passed[middle]) < 0.05


def test_no_path_is_negative_or_longer_than_a_body(patient):
    _, paths = patient
    for name in ("fat", "lung", "cortical", "metal"):
        assert paths[name].min() >= 0, name
    assert sum(paths[name] for name in paths if name != "metal").max() < 40


def there_and_back(pixels, scale):
    """Bicubic by Pillow, down and up again."""
    image = Image.fromarray(pixels.astype(np.float32))
    few = image.resize((image.width // scale, image.height // scale), Image.Resampling.BICUBIC)
    return np.asarray(few.resize(image.size, Image.Resampling.BICUBIC))


def psnr(pixels, scale, max_val):
    error = (there_and_back(pixels, scale) - pixels)[8:-8, 8:-8].astype(float)
    return 10 * np.log10(max_val**2 / np.mean(error**2))


@pytest.fixture(scope="module")
def full_size():
    return [phantom.radiograph(seed) for seed in range(4)]


def test_bicubic_loses_about_what_it_loses_of_radiographs(full_size):
    x2 = np.mean([psnr(pixels, 2, 65535) for pixels in full_size])
    x4 = np.mean([psnr(pixels, 4, 65535) for pixels in full_size])
    assert 38 < x2 < 44 and 33 < x4 < 39


def test_what_bicubic_loses_is_anatomy_and_not_noise():
    def loss(quanta):
        grid, paths = phantom.patient(512, *streams())
        signal = phantom.detect(phantom.transmission(paths), quanta, grid.pitch, np.random.default_rng(5))
        return 10 ** (-psnr(phantom.present(signal, grid.pitch, np.random.default_rng(0)), 4, 65535) / 10)

    pitch = phantom.patient(64, *streams())[0].pitch / 8
    assert loss(np.inf) > 0.8 * loss(phantom.QUANTA * pitch**2)


def spectrum(pixels):
    """Mean power by whole radial frequency."""
    size = len(pixels)
    window = np.hanning(size)
    power = np.abs(np.fft.fft2((pixels - pixels.mean()) * window[:, None] * window)) ** 2
    f = np.fft.fftfreq(size, 1 / size)
    ring = np.hypot(f[:, None], f).astype(int).ravel()
    return (np.bincount(ring, power.ravel()) / np.bincount(ring))[: size // 2]


def slope(spectra):
    rings = np.arange(8, 128)
    return np.polyfit(np.log(rings), np.log(np.mean(spectra, axis=0)[8:128]), 1)[0]


def test_power_falls_with_the_third_power_of_frequency(full_size):
    assert -3.8 < slope([spectrum(pixels / 65535) for pixels in full_size]) < -2.6


def test_spectrum_and_detail_are_those_of_real_radiographs(full_size, shared_data):
    files = sorted((shared_data / "ChestX-ray14-512" / "images").glob("*.png"))[::40]
    real = [np.asarray(Image.open(file).convert("L"), float) for file in files]
    spectra = [spectrum(pixels / 255) for pixels in real]
    assert slope([spectrum(pixels / 65535) for pixels in full_size]) == pytest.approx(slope(spectra), abs=0.4)
    real_x4 = np.mean([psnr(pixels, 4, 255) for pixels in real])
    assert np.mean([psnr(pixels, 4, 65535) for pixels in full_size]) == pytest.approx(real_x4, abs=2.5)


@pytest.fixture
def few_small(monkeypatch):
    monkeypatch.setattr(chest_phantom_dataset_builder, "IMAGES", {"train": 3, "validation": 2, "test": 1})
    monkeypatch.setattr(chest_phantom_dataset_builder, "SIZE", 64)


def test_the_dataset_has_no_patient_in_two_splits(tmp_path, few_small):
    source = data.load("chest_phantom", data_dir=str(tmp_path))
    examples = {split: list(source.examples(split)) for split in source.splits}
    assert {split: len(own) for split, own in examples.items()} == {"train": 3, "validation": 2, "test": 1}
    patients = [e["patient"] for own in examples.values() for e in own]
    assert sorted(patients) == [0, 1, 2, 10000, 10001, 20000]
    assert sorted(e["id"] for e in examples["train"]) == ["train_0000", "train_0001", "train_0002"]


def test_the_dataset_keeps_16_bits_of_the_patients_image(tmp_path, few_small):
    source = data.load("chest_phantom", data_dir=str(tmp_path))
    (example,) = source.examples("test")
    assert (source.channels, source.dtype, example["max_val"]) == (1, np.uint16, 65535)
    np.testing.assert_array_equal(example["hr"][..., 0], phantom.radiograph(20000, 64))


def test_the_dataset_has_96_images_to_train_and_16_each_to_validate_and_test():
    assert chest_phantom_dataset_builder.IMAGES == {"train": 96, "validation": 16, "test": 16}
    assert chest_phantom_dataset_builder.SIZE == 512


@pytest.mark.usefixtures("few_small")
class ChestPhantomTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own checks: registration, metadata, tags, features, no example in two splits."""

    DATASET_CLASS = chest_phantom_dataset_builder.Builder
    SPLITS = {"train": 3, "validation": 2, "test": 1}
    EXAMPLE_DIR = os.path.dirname(__file__)  # no downloads to stand in for
