"""Trains a plane network on a volume's own slices, for steps or minutes; resumable and seeded."""

import contextlib
import dataclasses
import json
import pathlib
import time
from collections.abc import Callable

import keras
import numpy as np

from tfmisr.edge.errors import InputError, Terminated
from tfmisr.edge.files import write_text
from tfmisr.training import checkpoints, environment, optimizers
from tfmisr.training.averaging import WeightAverage
from tfmisr.training.interruption import Interrupt
from tfmisr.volumes import plane_network
from tfmisr.volumes.patches import OwnSlices

_WARMUP = 50  # steps: Adam's first ones change every weight by the learning rate
_SAVE_SECONDS = 60.0
_IDENTITY = "self_training.json"


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained on a volume.

    Attributes:
        steps: Training steps; `None`: as many as `minutes` allow. The same seed and steps give the same weights on the
            same machine; with `minutes` the number of steps depends on its speed.
        minutes: Wall time of the training; `None`: until `steps` are done.
        seed: Of weights and patches.
        weights: A run's folder, or a `.keras` or `.tflite` file, of a through-plane network to start from; `None`: the
            network of `tfmisr.volumes.plane_network`, which starts as the interpolation.
        batch_size: Patches of a step.
        patch_size: Their height and width in pixels.
        learning_rate: Of Adam after the warm-up; it falls to 0 by half a cosine.
        ema_decay: Of the average of the weights, which is the result.
    """

    steps: int | None = None
    minutes: float | None = 5.0
    seed: int = 0
    weights: str | None = None
    batch_size: int = 16
    patch_size: int = 64
    learning_rate: float = 1e-3
    ema_decay: float = 0.99

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise InputError("expected --steps or --minutes to train for")
        for name in ("steps", "minutes"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"--{name} must be above 0. Received: {getattr(self, name)}")

    def __str__(self) -> str:
        return f"{self.steps} steps, seed {self.seed}" if self.steps else f"{self.minutes:g} min, seed {self.seed}"


class PlaneTraining:
    """One training of a network; the same folder resumes it.

    Args:
        slices: Where the patches come from.
        settings: How it is trained.
        workdir: Folder for checkpoints; `None`: an interrupted training starts again.
        identity: Text that says which volume this is, so that a folder is not resumed with another.

    Raises:
        InputError: The folder belongs to another training, or the weights to another network.
    """

    def __init__(
        self, slices: OwnSlices, settings: TrainingSettings, workdir: pathlib.Path | None = None, identity: str = ""
    ) -> None:
        self.slices, self.settings = slices, settings
        if not environment.is_tensorflow():
            raise InputError(
                "a network is trained on a volume with TensorFlow; unset KERAS_BACKEND, or use --method spline"
            )
        environment.make_deterministic()
        environment.set_seed(settings.seed)
        self.network = _loaded(settings.weights) if settings.weights else _new_network()
        self.optimizer = keras.optimizers.Adam(settings.learning_rate)
        self.network.compile(self.optimizer, loss="mae", jit_compile=False)
        self.optimizer.build(self.network.trainable_variables)
        self.average = WeightAverage(self.network, settings.ema_decay)
        self.seconds = keras.Variable(0.0, dtype="float32", trainable=False, name="seconds")
        self.step = 0
        self.folder = None if workdir is None else pathlib.Path(workdir) / "checkpoints"
        if workdir is not None:
            self._resume(pathlib.Path(workdir), identity)

    def _groups(self):
        return {
            "network": self.network.variables,
            "optimizer": optimizers.variables(self.optimizer),
            "average": self.average.variables,
            "seconds": [self.seconds],
        }

    def _resume(self, workdir, identity):
        file = workdir / _IDENTITY
        described = {"volume": identity, **dataclasses.asdict(self.settings)}
        if file.is_file():
            found = _described(file)
            if changed := [key for key in described if found.get(key) != described[key]]:
                raise _OtherTraining(workdir, changed)
        else:
            workdir.mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps(described, indent=1) + "\n")
        self.step = checkpoints.restore(self.folder, self._groups())

    def write(self) -> int:
        """Writes a checkpoint, if there is a folder for it, and returns the steps done."""
        if self.folder is not None:
            checkpoints.save(self.folder, self.step, self._groups())
        return self.step

    @property
    def fraction(self) -> float:
        """Done of the training, 0 to 1: the larger of the fractions of steps and minutes."""
        steps = self.step / self.settings.steps if self.settings.steps else 0.0
        minutes = float(self.seconds.numpy()) / 60 / self.settings.minutes if self.settings.minutes else 0.0
        return min(max(steps, minutes), 1.0)

    def run(self, progress: Callable[[float, int], None] | None = None) -> keras.Model:
        """Trains to the end and returns the network with averaged weights.

        Args:
            progress: Called after each step with the fraction of the training done, and the step.

        Raises:
            InputError: The training diverged.
            Terminated: By SIGTERM, after a checkpoint.
        """
        interrupt = Interrupt(self)
        saved = time.monotonic()
        with interrupt.deferred():
            while self.fraction < 1:
                self._train_step()
                if progress:
                    progress(self.fraction, self.step)
                self._stop_if_asked(interrupt)
                if time.monotonic() - saved > _SAVE_SECONDS:
                    self.write()
                    saved = time.monotonic()
            self.write()
        for weight, average in zip(self.average.weights, self.average.average, strict=True):
            weight.assign(average)
        return self.network

    def _stop_if_asked(self, interrupt):
        if interrupt.requested:
            self.write()
        if interrupt.terminated and self.folder is None:
            raise Terminated(f"stopped by SIGTERM at step {self.step}; only with --workdir are checkpoints kept")
        interrupt.on_train_batch_end(self.step)

    def _train_step(self):
        start = time.monotonic()
        settings = self.settings
        rate = settings.learning_rate * min(1.0, (self.step + 1) / _WARMUP) * 0.5 * (1 + np.cos(np.pi * self.fraction))
        self.optimizer.learning_rate.assign(rate)
        rng = np.random.default_rng((settings.seed, self.step))
        degraded, sharp = self.slices.batch(rng, settings.batch_size, settings.patch_size)
        loss = float(self.network.train_on_batch(degraded, sharp))
        if not np.isfinite(loss):
            raise InputError(f"the training diverged at step {self.step}: the loss is {loss}; use another --seed")
        self.average.on_train_batch_end(self.step)
        self.step += 1
        self.seconds.assign(float(self.seconds.numpy()) + time.monotonic() - start)


def _new_network() -> keras.Model:
    return plane_network.create()


def _described(file: pathlib.Path) -> dict:
    """Returns what the file of a training says; nothing where it is damaged."""
    with contextlib.suppress(ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _loaded(weights: str) -> keras.Model:
    """Returns the network of a file, after checking that it refines planes."""
    from tfmisr import models
    from tfmisr.config.initial_weights import path_of

    path = path_of(weights)
    if path.suffix == ".tflite":
        from tfmisr.training import tflite_weights

        network = tflite_weights.network(path)
    else:
        network = models.load(path)
    if network.input_shape[-1] != 1 or models.scale_of(network) != models.PLANE_SCALE:
        raise InputError(
            f"expected the weights of a through-plane network, as of fit --preset through_plane. Received: {weights}"
        )
    return network


class _OtherTraining(InputError):
    def __init__(self, workdir, changed):
        super().__init__(
            f"expected the training that {workdir} was started with. Received: another {', '.join(changed)}; give the "
            "same again, or another --workdir"
        )
