"""The comparison method SMORE: its training pairs by hand, and that it learns (V-14)."""

import numpy as np
import pytest

from tfmisr import evaluate
from tfmisr.datasets.phantom_volume import phantom
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import SliceProfile
from tfmisr.evaluation.volume_measures import Truth, measure
from tfmisr.volumes import methods, smore
from tfmisr.volumes.thickening import Thickening

PROFILE = SliceProfile("gaussian", 3.0)


def patches(unit, seed=0):
    return smore.Patches(np.asarray(unit, np.float32), PROFILE, 3.0, 1.0, seed)


def test_pairs_of_a_flat_image_are_the_image_and_nothing_v14():
    low, missing = patches(np.full((2, 60, 60), 0.25)).batch()
    assert low.shape == missing.shape == (smore.BATCH, smore.PATCH, smore.PATCH, 1)
    np.testing.assert_allclose(low, 0.25, atol=1e-6)
    np.testing.assert_allclose(missing, 0, atol=1e-6)


def test_a_pair_is_degraded_along_one_axis_by_the_profile_v14():
    """A wave of 12 pixels along the rows is weakened by the Gaussian's transfer function, or untouched across them."""
    wave = np.broadcast_to(0.5 + 0.4 * np.sin(2 * np.pi * np.arange(120) / 12)[:, None], (120, 120))
    found = patches(wave[None])
    found._slices = found._slices[:1]  # without rotations
    transfer = np.exp(-2 * (np.pi / 12 * 3.0 / 2.354820045) ** 2)
    amplitudes = []
    for _ in range(8):
        low, missing = found.batch()
        for image in low[..., 0]:
            along = max(np.ptp(image[8:-8], axis=0).max(), np.ptp(image[:, 8:-8], axis=1).max()) / 2
            amplitudes.append(along / 0.4)
        np.testing.assert_allclose((low + missing).max(), 0.9, atol=0.02)
    untouched = np.isclose(amplitudes, 1, atol=0.02)
    assert 0.3 < untouched.mean() < 0.7  # half of the windows are transposed
    weakened = np.array(amplitudes)[~untouched]
    assert weakened == pytest.approx(transfer, abs=0.06)  # sampled every 3 pixels, and interpolated


def test_the_same_seed_gives_the_same_patches():
    image = np.random.default_rng(3).random((2, 60, 60))
    first, again, other = (patches(image, seed).batch()[0] for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_slices_that_are_too_small_are_refused():
    with pytest.raises(InputError, match="at least 50 x 50"):
        patches(np.zeros((2, 49, 80)))


@pytest.mark.large
def test_it_restores_a_phantom_better_than_the_spline_v14():
    thin = phantom.phantom(phantom.grid(1.5, 0.6), 1, "head", "MR", 0.6, 2)
    thick, profile, grid, inside = Thickening(3.0).apply(thin)
    truth = Truth(thin.values[inside], grid.spacing, thick.grid.spacing[0])
    scores = [
        measure(truth, methods.load(name, methods.Effort(steps=200)).restore(thick, profile, grid, None))
        for name in ("spline", "smore")
    ]
    assert scores[1]["psnr_foreground"] > scores[0]["psnr_foreground"]
    assert scores[1]["detail_energy"] > scores[0]["detail_energy"]


@pytest.mark.large
def test_methods_that_are_trained_on_each_volume_are_evaluated_v13(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    grid = phantom.grid(2.0, 0.7)
    values = phantom.phantom(grid, 1, "head", "MR", 0.7, 2).values
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine[:, [2, 1, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(np.rint(values).astype(np.int16).transpose(2, 1, 0), affine), tmp_path / "a.nii")
    flags = ["self", "smore", "--volumes", str(tmp_path), "--ratio", "2.5", "--steps", "5"]
    outcome = evaluate.run(evaluate._parser().parse_args([*flags, "--output", str(tmp_path / "out")]))
    assert list(outcome.summary) == ["spline", "self", "smore"]
    assert outcome.summary["self"]["training"] == outcome.summary["smore"]["training"] == "5 steps, seed 0"
    assert outcome.figure.exists() and "self" in outcome.table()
    # Consistent with the thick slices, and never far below the spline.
    assert outcome.summary["self"]["psnr_foreground_gain"] > -0.05
