"""S-23: draws of a batch at once, and worker processes, which give the batches of one process bit for bit."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from synthetic import ArraySource, smooth_images

from tfmisr import degradations
from tfmisr.data import pipeline, workers
from tfmisr.edge.errors import InputError


def sampler(source, scale=2, **kwargs):
    kwargs = {"patch_size": 8, "batch_size": 6, **kwargs}
    degradation = kwargs.pop("degradation", degradations.make(scale))
    return pipeline.PatchSampler(pipeline.cache_of(source, "train"), scale, degradation, **kwargs)


@pytest.fixture
def mixed(tmp_path):
    """Seven images of different sizes, two of exactly one patch, whose position needs no draw."""
    sizes = [(16, 16), (40, 33), (16, 50), (64, 64), (37, 21), (16, 16), (90, 18)]
    rng = np.random.default_rng(0)
    return ArraySource(tmp_path, {"train": [rng.integers(0, 256, (*size, 1), np.uint8) for size in sizes]})


def reference(images, scale, seed, step, patch_size, batch_size, augment):
    """Batches as one scalar draw after another makes them, with np.rot90."""
    rng = np.random.default_rng([seed, 0, step])
    found = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        epoch, rank = divmod(position, len(images))
        i = int(np.random.default_rng([seed, 1, epoch]).permutation(len(images))[rank])
        hr = images[i][: images[i].shape[0] // scale * scale, : images[i].shape[1] // scale * scale]
        y = int(rng.integers(0, hr.shape[0] // scale - patch_size + 1))
        x = int(rng.integers(0, hr.shape[1] // scale - patch_size + 1))
        way = int(rng.integers(8)) if augment else 0
        lr = degradations.make(scale)(hr.astype(np.float32) / 255, 255)
        patch = hr[y * scale : (y + patch_size) * scale, x * scale : (x + patch_size) * scale]
        patch = np.float32(patch) / np.float32(255)
        ways = [np.rot90(p, way % 4) for p in (lr[y : y + patch_size, x : x + patch_size], patch)]
        found.append(((i, y, x, way), *(p[:, ::-1] if way >= 4 else p for p in ways)))
    draws, lr, hr = zip(*found, strict=True)
    return np.array(draws), np.stack(lr), np.stack(hr)


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("batch_size", [1, 6, 24])
def test_draws_of_a_batch_at_once_are_those_of_scalar_calls(mixed, augment, batch_size):
    # A batch of 24 of 7 images spans four or five epochs.
    patches = sampler(mixed, seed=5, batch_size=batch_size, augment=augment)
    for step in (0, 1, 7):
        draws, lr, hr = reference(mixed.images["train"], 2, 5, step, 8, batch_size, augment)
        np.testing.assert_array_equal(patches.draws(step), draws)
        assert patches.draws(step).dtype == np.int32
        np.testing.assert_array_equal(patches.batch(step)[0], lr)
        np.testing.assert_array_equal(patches.batch(step)[1], hr)


def test_draws_of_random_noise_are_refused(mixed):
    with pytest.raises(InputError, match="without random steps. Received: .*GaussianNoise"):
        sampler(mixed, degradation=degradations.make(2, noise_std=0.1)).draws(0)


@pytest.mark.parametrize("kind", ["plain", "hard", "noise", "kernel", "float"])
def test_workers_give_the_batches_of_one_process(mixed, kind):
    chosen = {
        "plain": {},
        "hard": {"hard_patches": 0.5},
        "noise": {"degradation": degradations.make(2, noise_std=0.1)},
        "kernel": {"degradation": degradations.make("real_world", scale=2)},
        "float": {"degradation": degradations.make(2, quantize_lr=False)},
    }[kind]
    patches = sampler(mixed, **chosen)
    made = list(workers.WorkerBatches(patches, 3, 12, 2))
    assert len(made) == 9
    for step, batch in enumerate(made, 3):
        for array, expected in zip(batch, patches.batch(step), strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, expected)


class Modules:
    """A sampler that tells which libraries its process has imported, after those that real samplers come from."""

    heavy = ("tensorflow", "keras", "jax", "tensorflow_datasets")

    def pixels(self, step):
        import tfmisr.training.unpaired  # noqa: F401  the sampler of CycleGAN

        found = [float(name in sys.modules) for name in self.heavy]
        return ((np.array(found, np.float32), np.float32(1)[None]),)


def test_workers_import_no_training_library():
    with_libraries = workers.WorkerBatches(Modules(), 0, 1, 1)
    assert next(with_libraries)[0].tolist() == [0, 0, 0, 0]
    with_libraries.close()


class Fails:
    """A sampler that cannot make the batch of step 4."""

    def pixels(self, step):
        if step == 4:
            raise OSError(5, "Input/output error")
        return ((np.full(3, step, np.float32), np.float32(1)[None]),)


def test_error_in_a_worker_is_reported_with_its_step(capfd):
    batches = workers.WorkerBatches(Fails(), 0, 9, 2)
    assert [int(next(batches)[0][0]) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(InputError, match=r"data worker 1 of 2 failed: OSError: .*Input/output error, at step 4"):
        next(batches)
    assert all(process.poll() is not None for process in batches._processes)


def test_killed_worker_is_reported_and_the_others_end(tiny_source):
    batches = workers.WorkerBatches(sampler(tiny_source), 0, None, 2)
    next(batches)
    os.kill(batches._processes[1].pid, signal.SIGKILL)
    with pytest.raises(InputError, match="data worker 2 of 2 was killed by SIGKILL, .*fewer --data_workers"):
        for _ in range(8):  # it may have made two before
            next(batches)
    assert all(process.poll() is not None for process in batches._processes)


PARENT = """
import sys, time
import numpy as np
from tfmisr.data import workers
class Counts:  # a script without the guard `if __name__ == "__main__"`, whose classes a worker cannot import
    pass
from test_data_workers import Fails
batches = workers.WorkerBatches(Fails(), 5, None, 2)
next(batches)
print(*[process.pid for process in batches._processes], flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks up processes in /proc")
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(by):
    folder = os.path.dirname(__file__)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.path.dirname(folder), folder])}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2 and all(map(alive, pids))
    parent.send_signal(by)
    _, errors = parent.communicate(timeout=20)
    assert errors.count("Traceback") == (by == signal.SIGINT)  # that of the sleep
    deadline = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, pids))


def test_no_more_batches_than_the_queue_holds_are_made_ahead(tmp_path):
    batches = workers.WorkerBatches(Marks(tmp_path), 0, None, 2)
    next(batches)
    time.sleep(0.3)
    steps = sorted(int(path.name) for path in tmp_path.iterdir())
    assert steps == list(range(max(steps) + 1)) and max(steps) <= 4
    batches.close()


class Marks:
    """A sampler that leaves a file for each step."""

    def __init__(self, folder):
        self.folder = folder

    def pixels(self, step):
        (self.folder / str(step)).touch()
        return ((np.zeros(3, np.float32), np.float32(1)[None]),)


def test_smooth_images_of_16_bits_too(tmp_path):
    images = [np.uint16(image) * 257 for image in smooth_images(3, 40, 0)]
    patches = sampler(ArraySource(tmp_path, {"train": images}), batch_size=2)
    batches = workers.WorkerBatches(patches, 0, 4, 3)
    for step, (lr, hr) in enumerate(batches):
        np.testing.assert_array_equal(lr, patches.batch(step)[0])
        np.testing.assert_array_equal(hr, patches.batch(step)[1])
