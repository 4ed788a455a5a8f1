"""Hallucinated patches (sFRC) against the counts that its authors published, and the correlation by hand."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from tfmisr import metrics
from tfmisr.evaluation import marked_patches
from tfmisr.metrics import hallucination

CT = 4095


# T-47: the authors' demonstration prints 5 + 3 + 2 + 6 + 5 = 21 for SRGAN; for SR-WGAN they publish the sum.
def test_counts_are_those_that_the_authors_published(shared_data):
    def slices(name):
        paths = [shared_data / "sfrc_ct" / name / f"slice{i}.png" for i in range(5)]
        if not paths[0].is_file():
            pytest.skip("the CT slices of the authors of sFRC are not here")
        return [np.array(Image.open(path))[..., None] for path in paths]

    hr = slices("hr")
    counts = {
        name: [metrics.get("sfrc")(*pair, CT) for pair in zip(hr, slices(name), strict=True)]
        for name in ("srgan", "srwgan")
    }
    assert counts["srgan"] == [5, 3, 2, 6, 5] and sum(counts["srwgan"]) == 22


# T-47: 32.94 dB and .8119 are published as those of bicubic interpolation; the images are nearest-neighbor ones.
def test_benchmark_gives_the_psnr_and_ssim_that_the_authors_published(shared_data, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).resolve().parent.parent / "benchmarks"))
    import hallucination as benchmark

    folder = shared_data / "sfrc_ct"
    if not folder.is_dir():
        pytest.skip("the CT slices of the authors of sFRC are not here")
    hr, lr = (benchmark._slices(folder / name) for name in ("hr", "lr"))
    rows = {name: benchmark.published_row(name, hr, benchmark._slices(folder / name)) for name in ("bicubic", "srgan")}
    assert rows["bicubic"].startswith("| bicubic | 32.94 | 0.8119 |")
    assert rows["srgan"].startswith("| srgan | 34.07 | 0.8574 |")
    theirs = benchmark._slices(folder / "bicubic")
    assert all((np.kron(a[..., 0], np.ones((4, 4))) == b[..., 0]).all() for a, b in zip(lr, theirs, strict=True))
    assert benchmark.reduction(hr, lr).startswith("100.00 %")


def test_overflow_of_16_bits_by_hand(monkeypatch):
    """Errors of 256 square to 65,536, which is 0 in 16 bits; one of 3 in four pixels leaves a mean of 9 / 4."""
    pytest.importorskip("skimage")
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).resolve().parent.parent / "benchmarks"))
    import hallucination as benchmark

    hr = np.full((8, 8, 1), 1000, np.uint16)
    sr = np.tile(np.array([[1256, 744], [1003, 1000]], np.uint16), (4, 4))[..., None]
    wrapped, _, exact = benchmark.published(hr, sr)
    assert wrapped == pytest.approx(10 * np.log10(1256**2 / (9 / 4)))
    assert exact == pytest.approx(10 * np.log10(1256**2 / ((2 * 65536 + 9) / 4)))


def waves(*cycles):
    """Returns a sum of horizontal waves with so many cycles in 64 pixels."""
    return sum(np.cos(2 * np.pi * k * np.arange(64) / 64) for k in cycles) + np.zeros((64, 1))


def test_correlation_of_waves_by_hand():
    """A ring's correlation is 1 where both have the wave, -1 becomes 1, 0 where one lacks it or it is shifted by 90."""
    curve = hallucination.fourier_ring_correlation(waves(3, 7, 20), waves(3) - waves(20))
    assert curve[[3, 7, 20]] == pytest.approx([1, 0, 1], abs=1e-12)
    shifted = np.sin(2 * np.pi * 5 * np.arange(64) / 64) + np.zeros((64, 1))
    assert hallucination.fourier_ring_correlation(waves(5), shifted)[5] == pytest.approx(0, abs=1e-12)
    assert hallucination.fourier_ring_correlation(waves(9), 2 * waves(9))[9] == pytest.approx(1)


def scene():
    y, x = np.mgrid[:192, :256]
    return np.rint(1500 + 400 * np.sin(x / 9) * np.cos(y / 7))[..., None]


def altered():
    """Returns the scene with another structure in its patch of the second row and third column."""
    image = scene()
    image[64:128, 128:192] = np.rot90(image[64:128, 64:128]) + np.random.default_rng(0).normal(0, 400, (64, 64, 1))
    return image


@pytest.mark.parametrize("as_published", [True, False])
def test_the_patch_with_another_structure_is_marked_and_no_other(as_published):
    hr, sr = scene(), altered()
    marked, tested = hallucination.marked_patches(hr, sr, CT, as_published)
    assert tested.shape == (3, 4) and tested.all()
    assert np.argwhere(marked).tolist() == [[1, 2]]


def test_air_is_not_tested_and_what_is_invented_on_a_flat_patch_is_marked():
    hr = np.full((128, 128, 1), 1100.0)
    hr[:64, :64] = 0
    sr = hr + 0.0
    sr[:, :] += np.random.default_rng(0).normal(0, 20, hr.shape)
    marked, tested = hallucination.marked_patches(hr, sr, CT, as_published=False)
    assert tested.tolist() == [[False, True], [True, True]] == marked.tolist()
    assert np.isnan(metrics.get("sfrc")(np.zeros((64, 64, 1)), np.zeros((64, 64, 1)), CT))


def test_page_of_marked_patches(tmp_path):
    hr = scene()
    images = {"bicubic": hr, "network": altered(), "HR": hr}
    marked_patches.save(tmp_path / "page.png", images, CT, "a case")
    page = np.array(Image.open(tmp_path / "page.png").convert("RGB")).astype(int)
    red = (page[..., 0] > 200) & (page[..., 1] < 60) & (page[..., 2] < 60)
    third = page.shape[1] // 3
    assert red[:, 2 * third :].any() and not red[:, : 2 * third].any()
    assert (tmp_path / "page.png").stat().st_size < 2_000_000
