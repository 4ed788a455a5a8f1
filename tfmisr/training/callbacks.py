"""What happens around the steps: counting, the progress bar, the log, checkpoints, and the stop at NaN."""

import contextlib
import csv
import math
import os
import pathlib
import signal

import keras
import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write
from tfmisr.edge.resize import upscale
from tfmisr.progress import bar
from tfmisr.training import checkpoints


class Clock(keras.callbacks.Callback):
    """Counts the steps of the whole run, whatever part of it this process does; stands first in the list."""

    def __init__(self, step: int):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1


class Progress(keras.callbacks.Callback):
    """One bar for the whole run with rate, time left and loss; in a log file, a line every half minute."""

    def __init__(self, clock: Clock, total: int):
        super().__init__()
        self.bar = bar(total=total, initial=clock.step, desc="training", unit=" steps")
        self.last = {}

    def on_train_batch_end(self, batch, logs=None):
        # The text is read from the device only when it is shown.
        if self.bar.update(1):
            shown = {**self.last, "loss": f"{float(logs['loss']):.5f}"}
            self.bar.set_postfix(shown, refresh=False)

    def on_epoch_end(self, epoch, logs=None):
        if "val_psnr" in (logs or {}):
            self.last = {"val_psnr": f"{logs['val_psnr']:.2f} dB"}

    def close(self):
        """Ends the bar's line."""
        self.bar.close()


class StopAtNaN(keras.callbacks.Callback):
    """Ends the run where the loss is no number; the checkpoint before it stays the last.

    Raises:
        InputError: The loss is NaN or infinite, with what to try.
    """

    def __init__(self, clock: Clock):
        super().__init__()
        self.clock = clock

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(float(logs["loss"])):
            raise _diverged(f"the loss became {float(logs['loss'])}", self.clock.step)


def _diverged(what, step):
    return InputError(
        f"{what} at step {step}; the last checkpoint before it is kept. Try a lower --learning_rate, "
        "--warmup_steps 500, or --mixed_precision float32 or mixed_bfloat16, in a new --workdir"
    )


class Interrupt(keras.callbacks.Callback):
    """Ends the run at the end of a step after Ctrl-C, where nothing between can swallow it; a second one at once.

    A `KeyboardInterrupt` that is raised while Python collects an object is printed and forgotten.
    """

    def __init__(self):
        super().__init__()
        self.asked = False

    def _ask(self, *_):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    @contextlib.contextmanager
    def deferred(self):
        """Takes Ctrl-C over while the block runs, where that is possible: in the main thread."""
        try:
            before = signal.signal(signal.SIGINT, self._ask)
        except ValueError:
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def on_train_batch_end(self, batch, logs=None):
        if self.asked:
            raise KeyboardInterrupt


class History(keras.callbacks.Callback):
    """Writes `history.csv`: one row each `save_every` steps; rows after the step resumed from are dropped."""

    def __init__(self, path: pathlib.Path, clock: Clock, optimizer):
        super().__init__()
        self.path, self.clock, self.optimizer = path, clock, optimizer
        self.rows = []
        if path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                self.rows = [r for r in csv.DictReader(file) if int(r["step"]) <= clock.step]

    def on_epoch_end(self, epoch, logs=None):
        row = {"step": self.clock.step, "learning_rate": float(self.optimizer.learning_rate)}
        row |= {name: float(value) for name, value in logs.items()}
        self.rows.append({name: f"{v:.8g}" if name != "step" else v for name, v in row.items()})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_write(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)


class Checkpoints(keras.callbacks.Callback):
    """Saves the run's whole state each `save_every` steps; stands after `History`.

    Raises:
        InputError: A weight is no number; the loss would tell one step later, after this was saved.
    """

    def __init__(self, folder: pathlib.Path, clock: Clock, groups: dict[str, list]):
        super().__init__()
        self.folder, self.clock, self.groups = folder, clock, groups

    def on_epoch_end(self, epoch, logs=None):
        try:
            checkpoints.save(self.folder, self.clock.step, self.groups)
        except FloatingPointError as error:
            raise _diverged("a weight became NaN or infinite", self.clock.step) from error


class TensorBoard(keras.callbacks.Callback):
    """Writes the scalars, and at each validation bicubic, restored and true pixels of fixed crops.

    Args:
        folder: Where the event files go.
        clock: The run's step.
        network: Network from low to high resolution, called as it is during the validation.
        crops: Low- and high-resolution crops, float32 in [0, 1], or `None`.
        scale: Upsampling factor.
    """

    def __init__(self, folder: pathlib.Path, clock: Clock, network, crops, scale: int):
        import tensorflow as tf

        super().__init__()
        self.clock, self.network, self.scale = clock, network, scale
        self.crops = None if crops is None else tuple(part[:4] for part in crops)
        self.tf, self.writer = tf, tf.summary.create_file_writer(os.fsencode(folder), name="tensorboard")

    def on_test_end(self, logs=None):
        if self.crops is None:
            return
        lr, hr = self.crops
        bicubic = np.stack([upscale(image, self.scale) for image in lr])
        sr = np.asarray(self.network(lr, training=False))
        rows = np.clip(np.concatenate([bicubic, sr, hr], axis=2), 0.0, 1.0)
        with self.writer.as_default(step=self.clock.step):
            self.tf.summary.image("bicubic, restored, true", rows, max_outputs=len(rows))

    def on_epoch_end(self, epoch, logs=None):
        with self.writer.as_default(step=self.clock.step):
            for name, value in logs.items():
                self.tf.summary.scalar(name, float(value))
        self.writer.flush()
