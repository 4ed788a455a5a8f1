"""Training on a volume's own slices: pairs, seeds, interruption, the self-check (V-05)."""

import dataclasses
import os
import signal

import numpy as np
import pytest
from scipy import ndimage

from tfmisr import models
from tfmisr.edge.errors import InputError, Terminated
from tfmisr.edge.volumes import SliceProfile, Volume, VolumeGrid, planes, resampling, slice_profile
from tfmisr.volumes import patches, plane_network, plane_training, self_check, self_training
from tfmisr.volumes.line_pairs import line_pairs
from tfmisr.volumes.methods import Effort
from tfmisr.volumes.plane_training import PlaneTraining, TrainingSettings

AXES = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
QUICK = TrainingSettings(steps=6, minutes=None, batch_size=2, patch_size=16)


@pytest.fixture(scope="module")
def thin():
    """Random ellipsoids with sharp edges: 48 slices of 56 x 52 at 1 mm."""
    rng, shape = np.random.default_rng(0), (48, 56, 52)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    values = np.zeros(shape, np.float32)
    for _ in range(60):
        center, radii = rng.random(3) * shape, 2 + 7 * rng.random(3)
        values[(((places - center) / radii) ** 2).sum(axis=-1) < 1] = 200 + 800 * rng.random()
    values = ndimage.gaussian_filter(values, 0.6)
    return Volume(values, VolumeGrid(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), AXES))


@pytest.fixture(scope="module")
def thick(thin):
    return slice_profile.thicken(thin, 4.0, SliceProfile("gaussian", 4.0))


@pytest.fixture
def small(monkeypatch):
    """A network that is quick to build."""
    monkeypatch.setattr(plane_training, "_new_network", lambda: plane_network.create(4, 3))


def own_slices(thick, thin, width=4.0):
    return patches.OwnSlices(thick, thin.grid, SliceProfile("gaussian", width), planes.UnitScale.of(thick.values))


@pytest.mark.parametrize(("spacing", "width"), [(1.0, 4.0), (0.7, 4.0), (1.6, 5.0), (1.25, 2.0)])
def test_v05_pairs_are_what_the_volume_itself_went_through(thin, spacing, width):
    """A line thickened and interpolated through `thicken` and `resample`, on the grids of the pair."""
    profile = SliceProfile("gaussian", width)
    lines = line_pairs(52, 1.0, 4.0, spacing, profile)
    line = thin.values[20, 30]
    pixels = VolumeGrid((52, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), AXES)
    acquired = profile.matrix(lines.thick_grid, pixels) @ line.astype(float)
    source = Volume(acquired.astype(np.float32)[:, None, None], lines.thick_grid)
    expected = resampling.resample(source, lines.thin_grid).values[:, 0, 0]
    np.testing.assert_allclose(lines.degraded @ line, expected, atol=1e-2)
    target = lines.thick_grid.with_slice_spacing(spacing)  # the places that new slices have between acquired ones
    np.testing.assert_allclose(lines.thin_grid.position(0), target.position(0), atol=1e-9)
    assert lines.thin_grid.shape == target.shape


def test_v05_target_of_a_pair_is_the_line_itself_where_the_spacings_are_equal(thin):
    lines = line_pairs(52, 1.0, 4.0, 1.0, SliceProfile("gaussian", 4.0))
    np.testing.assert_allclose(lines.target, np.eye(52), atol=1e-6)
    odd = line_pairs(51, 1.0, 2.5, 1.0, SliceProfile("gaussian", 2.5))  # no pixel is between two pixels
    assert set(np.unique(odd.target)) == {0.0, 1.0} and (odd.target.sum(axis=1) == 1).all()
    coarse = line_pairs(52, 0.5, 4.0, 1.0, SliceProfile("gaussian", 4.0))
    np.testing.assert_allclose(coarse.target[3, :10].sum(), 1, atol=1e-6)
    assert (coarse.target.max(axis=1) <= 0.51).all()  # averaged over two pixels


def test_v05_short_lines_are_refused():
    with pytest.raises(InputError, match="at least 12 mm on each side"):
        line_pairs(10, 1.0, 4.0, 1.0, SliceProfile("gaussian", 4.0))


def test_v05_patches_are_seeded_even_sized_and_leave_out_held_out_slices(thin, thick):
    slices = own_slices(thick, thin)
    first, again = (slices.batch(np.random.default_rng(1), 3, 17) for _ in range(2))
    assert first[0].shape == first[1].shape == (3, 16, 16, 1)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    marked = dataclasses.replace(thick, values=thick.values.copy())
    marked.values[slices.checked] = np.nan
    own = own_slices(thick, thin)
    own.volume = marked
    for seed in range(20):
        assert np.isfinite(own.batch(np.random.default_rng(seed), 4, 16)[0]).all()
    assert list(patches.held_out(12)) == [6] and len(patches.held_out(40)) == 4 and len(patches.held_out(900)) == 8


def test_v05_network_starts_as_the_interpolation():
    predict = self_training.predictor(plane_network.create(8, 3))
    batch = np.random.default_rng(2).random((2, 15, 17, 1)).astype(np.float32)
    np.testing.assert_array_equal(predict(batch), batch)


def weights(training):
    return [weight.numpy() for weight in training.network.trainable_variables]


def terminate_at_step_3(fraction, step):
    if step == 3:
        os.kill(os.getpid(), signal.SIGTERM)


def test_v05_interrupted_training_resumes_to_the_same_bits(thin, thick, tmp_path, small):
    slices = own_slices(thick, thin)
    whole = PlaneTraining(slices, QUICK)
    whole.run()

    with pytest.raises(Terminated, match="step 3, which is kept"):
        PlaneTraining(slices, QUICK, tmp_path, "a").run(terminate_at_step_3)
    steps = []
    resumed = PlaneTraining(slices, QUICK, tmp_path, "a")
    resumed.run(lambda fraction, step: steps.append(step))
    assert steps == [4, 5, 6]
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="Received: another volume"):
        PlaneTraining(slices, QUICK, tmp_path, "b")
    with pytest.raises(InputError, match="Received: another seed"):
        PlaneTraining(slices, dataclasses.replace(QUICK, seed=1), tmp_path, "a")


def test_v05_training_starts_from_given_weights(thin, thick, tmp_path):
    """Those of `fit --preset through_plane`; a network that upscales images is refused."""
    given = models.create("plain/num_filters=4,num_layers=2", models.PLANE_SCALE)
    given.set_weights([0.1 * np.ones_like(weight) for weight in given.get_weights()])
    given.save(tmp_path / "planes.keras")
    training = PlaneTraining(
        own_slices(thick, thin), dataclasses.replace(QUICK, weights=str(tmp_path / "planes.keras"))
    )
    for start in weights(training):
        np.testing.assert_array_equal(start, np.full_like(start, 0.1))
    training.run()
    assert any((weight != np.float32(0.1)).any() for weight in weights(training))
    models.create("plain/num_filters=4,num_layers=2", 2).save(tmp_path / "images.keras")
    with pytest.raises(InputError, match="weights of a through-plane network"):
        PlaneTraining(own_slices(thick, thin), dataclasses.replace(QUICK, weights=str(tmp_path / "images.keras")))


def test_v05_minutes_end_the_training(thin, thick, small):
    """And SIGTERM without a folder ends it too, with the truth about what is kept."""
    training = PlaneTraining(own_slices(thick, thin), dataclasses.replace(QUICK, steps=None, minutes=0.005))
    training.run()
    with pytest.raises(Terminated, match="only with --workdir are checkpoints kept"):
        PlaneTraining(own_slices(thick, thin), QUICK).run(terminate_at_step_3)
    assert training.step >= 1 and float(training.seconds.numpy()) >= 0.3
    for wrong in ({"steps": 0}, {"minutes": 0.0}, {"steps": None, "minutes": None}):
        with pytest.raises(InputError):
            dataclasses.replace(QUICK, **wrong)


def test_v05_self_check_measures_the_held_out_slices(thin, thick):
    """A network that returns the slices themselves, one that adds noise, and the interpolation."""
    slices = own_slices(thick, thin)
    answers = {pair[1].tobytes(): pair[2] for pairs in slices.check_pairs() for pair in zip(*pairs[:3], strict=True)}

    def cheat(batch):
        return answers[batch[0, ..., 0].tobytes()][None, ..., None]

    def worse(batch):
        return batch + 0.3 * np.random.default_rng(3).standard_normal(batch.shape).astype(np.float32)

    best, bad = self_check.check(slices, cheat), self_check.check(slices, worse)
    assert best.passed and best.network > 60 and best.slices == 1
    assert not bad.passed and "so the result is the cubic spline" in bad.statement
    untrained = self_check.check(slices, lambda batch: batch)
    assert untrained.network == untrained.consistent > untrained.spline and not untrained.passed
    per_axis = [((d - s)[patches.foreground(s)] ** 2) for _, d, s, _ in slices.check_pairs()]
    expected = -10 * np.log10(np.concatenate(per_axis).mean())
    assert best.spline == bad.spline == pytest.approx(expected, abs=1e-4)


def test_v05_network_that_does_not_help_is_not_used(thin, thick, monkeypatch, small):
    failed = self_check.SelfCheck(spline=20.0, consistent=20.1, network=20.05, slices=1)
    monkeypatch.setattr(self_training, "check", lambda *_: failed)
    found = self_training.restore(thick, SliceProfile("gaussian", 4.0), thin.grid, Effort(steps=1))
    np.testing.assert_array_equal(found, resampling.resample(thick, thin.grid).values)


@pytest.mark.large
def test_v05_trained_network_beats_the_spline(thin, thick):
    """A hundred steps on 12 thick slices, against the thin volume that they were made of."""
    found = self_training.restore(thick, SliceProfile("gaussian", 4.0), thin.grid, Effort(steps=100))
    spline = resampling.resample(thick, thin.grid).values
    errors = [np.square(each - thin.values, dtype=np.float64).mean() for each in (spline, found)]
    assert 10 * np.log10(errors[0] / errors[1]) > 1.0
