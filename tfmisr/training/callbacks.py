"""Keras callbacks of a run: step counter, progress bar, history, checkpoints, divergence check and TensorBoard."""

import collections
import csv
import math
import pathlib

import keras
import numpy as np

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write
from tfmisr.edge.resize import upscale
from tfmisr.progress import bar
from tfmisr.training import checkpoints, event_files, processes

_DIVERGED_LOSS, _DIVERGED_PSNR = 100, 3  # times the first loss; dB below bicubic interpolation
_STEPS_BEHIND = 16  # enough to bridge a slow moment of the host; the batches of so many steps wait on the device


class StepCounter(keras.callbacks.Callback):
    """Counts the steps of the whole run, including those before it was resumed; must be the first callback.

    Args:
        step: Steps that were done before.
    """

    def __init__(self, step: int):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1


class Progress(keras.callbacks.Callback):
    """One bar for the whole run with rate, remaining time and loss; in a log file, a line every half minute.

    Args:
        counter: The run's step.
        total: Steps of the whole run.
    """

    def __init__(self, counter: StepCounter, total: int):
        super().__init__()
        shown = processes.is_writer()
        self.bar = bar(total=total, initial=counter.step, desc="training", unit=" steps", disable=not shown)
        self.last = {}

    def on_train_batch_end(self, batch, logs=None):
        # Reading the loss waits for the device: only when it is shown.
        if self.bar.update(1):
            shown = {**self.last, "loss": f"{float(logs['loss']):.5f}"}
            self.bar.set_postfix(shown, refresh=False)

    def on_epoch_end(self, epoch, logs=None):
        if "val_psnr" in (logs or {}):
            self.last = {"val_psnr": f"{logs['val_psnr']:.2f} dB"}

    def close(self) -> None:
        """Closes the bar."""
        self.bar.close()


def steps_behind() -> int:
    """Returns how many steps the host may prepare before it reads the loss of the first of them.

    To read a loss waits for the device. JAX's CPU devices share the host's cores and gain nothing; TensorFlow's copy of
    a number from a GPU waits for the steps after it, too.
    """
    if keras.backend.backend() != "jax":
        return 0
    import jax

    return 0 if jax.default_backend() == "cpu" else _STEPS_BEHIND


class StepCallbacks(keras.callbacks.CallbackList):
    """Calls callbacks after a step with its logs as the device returns them.

    Keras's own list converts all logs to numbers after each step, and so waits for the device.
    """

    def on_train_batch_end(self, batch, logs=None):
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


def for_fit(run_callbacks: list, model: keras.Model) -> "list | StepCallbacks":
    """Returns what `fit` of a model takes as the callbacks of a run: a list that waits for no step, where that helps.

    Args:
        run_callbacks: The callbacks, in their order.
        model: The model.
    """
    return StepCallbacks(run_callbacks, add_history=True, model=model) if steps_behind() else run_callbacks


class DivergenceCheck(keras.callbacks.Callback):
    """Stops a diverged run; its last checkpoint is the one before.

    The losses are read `steps_behind()` steps later, those of a part of the run before its validation and checkpoint.
    That number is the same in all processes of a run, so all stop at the same step.

    Args:
        counter: The run's step.
        crops: Low- and high-resolution crops of the validation, or `None`.
        scale: Upsampling factor.

    Raises:
        InputError: The loss is NaN or infinite; or it is 100 times that of the first step, and the validation more
            than 3 dB below bicubic interpolation. The message suggests other hyperparameters.
    """

    def __init__(self, counter: StepCounter, crops: tuple[np.ndarray, np.ndarray] | None = None, scale: int = 0):
        super().__init__()
        self.counter, self.behind, self.unread = counter, steps_behind(), collections.deque()
        self.bicubic = None if crops is None else _bicubic_psnr(*crops, scale)
        self.first = self.last = None

    def on_train_batch_end(self, batch, logs=None):
        self.unread.append((self.counter.step, logs["loss"]))
        self._read(self.behind)

    def on_test_begin(self, logs=None):
        self._read(0)

    def on_epoch_end(self, epoch, logs=None):
        self._read(0)
        gain = (logs or {}).get("val_psnr", math.inf) - (self.bicubic or 0.0)
        if self.bicubic is not None and gain < -_DIVERGED_PSNR and self.last > _DIVERGED_LOSS * self.first:
            ratio = (
                f"{self.last / self.first:,.0f} times that of the first step" if self.first > 0 else f"{self.last:g}"
            )
            raise _diverged(f"the loss is {ratio} and the validation {-gain:.1f} dB below bicubic", self.counter.step)

    def _read(self, left):
        while len(self.unread) > left:
            step, loss = self.unread.popleft()
            self.last = float(loss)
            if not math.isfinite(self.last):
                raise _diverged(f"the loss became {self.last}", step)
            self.first = self.last if self.first is None else self.first


def _bicubic_psnr(lr, hr, scale) -> float:
    """Returns what `tfmisr.training.metrics.psnr` gives for bicubic interpolation."""
    sr = np.clip(np.stack([upscale(image, scale) for image in lr]), 0.0, 1.0)
    errors = np.square(sr - hr).mean(axis=(1, 2, 3))
    return float(-10 * np.log10(np.maximum(errors, 1e-10)).mean())


def _diverged(what, step):
    return InputError(
        f"{what} at step {step}; the last checkpoint before it is kept. Try a lower --learning_rate, "
        "--warmup_steps 500, or --mixed_precision float32 or mixed_bfloat16, in a new --workdir"
    )


class History(keras.callbacks.Callback):
    """Writes the training history, `history.csv`: one row every `save_every` steps.

    Rows after the step from which the run is resumed are dropped.

    Args:
        path: The file.
        counter: The run's step.
        optimizer: Keras optimizer whose learning rate is recorded.
    """

    def __init__(self, path: pathlib.Path, counter: StepCounter, optimizer: keras.optimizers.Optimizer):
        super().__init__()
        self.path, self.counter, self.optimizer = path, counter, optimizer
        self.rows = []
        if path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                self.rows = [r for r in csv.DictReader(file) if int(r["step"]) <= counter.step]

    def on_epoch_end(self, epoch, logs=None):
        row = {"step": self.counter.step, "learning_rate": float(self.optimizer.learning_rate)}
        row |= {name: float(value) for name, value in logs.items()}
        self.rows.append({name: f"{v:.8g}" if name != "step" else v for name, v in row.items()})
        if not processes.is_writer():
            return
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_write(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)


class Checkpoints(keras.callbacks.Callback):
    """Saves the complete state of the run every `save_every` steps; must come after `History`.

    Args:
        folder: Directory of the checkpoints.
        counter: The run's step.
        groups: Variables by group; see `tfmisr.training.checkpoints.save`.

    Raises:
        InputError: A weight is NaN or infinite; the loss would show it one step later, after the checkpoint.
    """

    def __init__(self, folder: pathlib.Path, counter: StepCounter, groups: dict[str, list]):
        super().__init__()
        self.folder, self.counter, self.groups = folder, counter, groups

    def on_epoch_end(self, epoch, logs=None):
        if processes.is_writer():
            self._save()

    def write(self) -> int:
        """Writes a checkpoint in the middle of an epoch and returns its step."""
        if keras.backend.backend() == "jax":  # during an epoch the state is not in the variables
            self.model.jax_state_sync()
        self._save()
        return self.counter.step

    def _save(self):
        try:
            checkpoints.save(self.folder, self.counter.step, self.groups)
        except FloatingPointError as error:
            raise _diverged("a weight became NaN or infinite", self.counter.step) from error


class TensorBoard(keras.callbacks.Callback):
    """Writes scalars, and at each validation the bicubic, restored and ground-truth pixels of fixed crops.

    Args:
        folder: Directory of the event files.
        counter: The run's step.
        network: Network from low to high resolution, with the weights that it has during the validation.
        crops: Low- and high-resolution crops, float32 in [0, 1], `(count, height, width, channels)`, or `None`.
        scale: Upsampling factor.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        counter: StepCounter,
        network: keras.Model,
        crops: tuple[np.ndarray, np.ndarray] | None,
        scale: int,
    ):
        super().__init__()
        self.counter, self.network, self.scale = counter, network, scale
        self.crops = None if crops is None else tuple(part[:4] for part in crops)
        self.writer = event_files.writer(folder) if processes.is_writer() else None

    def on_test_end(self, logs=None):
        # What runs on global arrays must run in all processes, whether or not they write.
        if self.crops is None or (self.writer is None and processes.count() == 1):
            return
        lr, hr = self.crops
        sr = np.asarray(self.network(lr, training=False))
        if self.writer is None:
            return
        bicubic = np.stack([upscale(image, self.scale) for image in lr])
        rows = np.clip(np.concatenate([bicubic, sr, hr], axis=2), 0.0, 1.0)
        self.writer.images("bicubic, restored, ground truth", rows, self.counter.step)

    def on_epoch_end(self, epoch, logs=None):
        if self.writer is not None:
            self.writer.scalars(logs, self.counter.step)


__getattr__ = renamed(
    __name__,
    Clock="StepCounter",
    Interrupt="tfmisr.training.interruption.Interrupt",
    StopAtNaN="DivergenceCheck",
)
