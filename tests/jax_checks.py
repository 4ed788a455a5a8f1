"""Checks of training with JAX where TensorFlow is not installed, in one process: most of their time is compilation.

`main` writes what trainers learned to `NAME.npz`, and how each check ended to
`checks.json`: an empty text, or the traceback.
The caller blocks TensorFlow: `sys.modules["tensorflow"] = None` before this is imported.
"""

import itertools
import json
import pathlib
import traceback

import backend_trainers
import keras
import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.training import callbacks, checkpoints

TRAINED = {}


def agreement(folder, name):
    """Trains, and writes the state."""
    TRAINED[name], found = backend_trainers.train(name)
    np.savez(folder / f"{name}.npz", **found)


def quantized(folder):
    """Trains a fake-quantized network, and writes its weights."""
    np.savez(folder / "quantized.npz", **backend_trainers.train_quantized())


def resume(folder, name):
    """Trains twice from one checkpoint, the second time after every variable of the state had another value."""
    trainer, found = TRAINED[name], []
    groups = backend_trainers.state(trainer)
    checkpoints.save(folder / name, backend_trainers.STEPS, groups)
    for _ in range(2):
        assert checkpoints.restore(folder / name, groups) == backend_trainers.STEPS
        before = backend_trainers.values(groups)
        data = backend_trainers.batches(name, backend_trainers.STEPS)
        backend_trainers.fit(trainer, name, 2, data=data)
        found.append(backend_trainers.values(groups))
        for variable in (v for variables in groups.values() for v in variables):
            variable.assign(variable.numpy() + 1)
    for key, value in found[0].items():
        np.testing.assert_array_equal(found[1][key], value, err_msg=key)
    assert any((found[0][key] != before[key]).any() for key in before if key.startswith("network"))


def accumulation():
    """Trains a network with accumulated gradients: its weights change in every other step only."""
    trainer = TRAINED["accumulated"]
    groups = {"generator": trainer.trainable_variables}
    found = [backend_trainers.values(groups)]
    for step in range(4):
        backend_trainers.fit(trainer, "accumulated", 1, data=backend_trainers.batches("accumulated", step))
        found.append(backend_trainers.values(groups))
    changed = [any((a[key] != b[key]).any() for key in a) for a, b in itertools.pairwise(found)]
    assert changed == [False, True, False, True], changed


def divergence():
    """Trains on an image that is not a number."""
    trainer = TRAINED["accumulated"]
    broken = ((lr, hr * np.float32("nan")) for lr, hr in backend_trainers.batches("accumulated"))
    check = callbacks.DivergenceCheck(callbacks.StepCounter(7))
    try:
        backend_trainers.fit(trainer, "accumulated", 2, [check], broken)
    except InputError as error:
        assert "the loss became nan at step 7" in str(error), error
    else:
        raise AssertionError("the run did not stop")


def waiting(folder):
    """Trains while the losses are read two steps later, as with a GPU, and stops when one is not a number."""
    trainer, types = TRAINED["two"], []
    # The check of resuming left it with other values, from which a loss may become nan in the first steps.
    checkpoints.restore(folder / "two", backend_trainers.state(trainer))
    seen = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: types.append(type(logs["loss"])))
    counter = callbacks.StepCounter(0)
    now, callbacks.steps_behind = callbacks.steps_behind, lambda: 2
    try:
        run = callbacks.for_fit([counter, callbacks.DivergenceCheck(counter), seen], trainer)
        backend_trainers.fit(trainer, "two", 4, run)
        assert counter.step == 4 and float not in types, types
        batches = enumerate(backend_trainers.batches("two"))
        broken = ((lr, hr * np.float32("nan" if i == 1 else 1)) for i, (lr, hr) in batches)
        backend_trainers.fit(trainer, "two", 4, run, broken)
    except InputError as error:
        assert "the loss became nan at step 6" in str(error) and counter.step == 8, error
    else:
        raise AssertionError("the run did not stop")
    finally:
        callbacks.steps_behind = now


def overflow():
    """Trains in float16 with a loss scale that is too large for one of the two optimizers."""
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    trainer = backend_trainers.created("plain", jit_compile=True)
    keras.mixed_precision.set_dtype_policy("float32")
    optimizers = {"generator": trainer.optimizer, "discriminator": trainer.discriminator_optimizer}
    assert [type(optimizer).__name__ for optimizer in optimizers.values()] == ["LossScaleOptimizer"] * 2
    for too_large in ("generator", "discriminator", None):
        for name, optimizer in optimizers.items():
            optimizer.dynamic_scale.assign(2.0**40 if name == too_large else 2.0**8)
        networks = {"generator": trainer.generators[0], "discriminator": trainer.discriminators["discriminator"]}
        before = backend_trainers.values({name: network.trainable_variables for name, network in networks.items()})
        backend_trainers.fit(trainer, "plain", 1)
        after = backend_trainers.values({name: network.trainable_variables for name, network in networks.items()})
        for name, optimizer in optimizers.items():
            same = [(after[key] == before[key]).all() for key in before if key.startswith(name)]
            assert all(same) == (name == too_large) and any(same) == (name == too_large), (too_large, name)
            assert float(optimizer.dynamic_scale.numpy()) == (2.0**39 if name == too_large else 2.0**8)
        assert all(np.isfinite(value).all() for value in after.values())


def main(folder):
    """Runs all checks, and writes what they found to a folder."""
    folder = pathlib.Path(folder)
    checks = {f"agreement {name}": (agreement, folder, name) for name in ("two", "cycle", "accumulated")}
    checks |= {f"resume {name}": (resume, folder, name) for name in ("two", "cycle")}
    checks |= {"accumulation": (accumulation,), "divergence": (divergence,), "overflow": (overflow,)}
    checks |= {"quantized": (quantized, folder), "waiting": (waiting, folder)}
    found = {}
    for name, (check, *arguments) in checks.items():
        try:
            check(*arguments)
            found[name] = ""
        except Exception:  # noqa: BLE001 - reported by a test of each check
            found[name] = traceback.format_exc()
    (folder / "checks.json").write_text(json.dumps(found))
