"""The end of a run by Ctrl-C or by SIGTERM, the signal with which schedulers take a machine back."""

import contextlib
import signal
from collections.abc import Iterator

import keras

from tfmisr.edge.errors import Terminated
from tfmisr.training import processes
from tfmisr.training.callbacks import Checkpoints


class Interrupt(keras.callbacks.Callback):
    """Stops the run at the end of the step in which Ctrl-C was pressed; a second Ctrl-C stops it at once.

    Python prints and discards a `KeyboardInterrupt` that is raised while an object is finalized, hence the delay.
    SIGTERM, with which schedulers announce that they take a machine back, writes a checkpoint of that step first.

    Args:
        checkpoint: The callback that writes checkpoints.
    """

    def __init__(self, checkpoint: Checkpoints):
        super().__init__()
        self.checkpoint, self.requested, self.terminated = checkpoint, False, False

    def _handle(self, *_):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def _terminate(self, *_):
        self.terminated = True

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Handles both signals while the block runs; does nothing outside the main thread, where that is impossible.

        Of several processes one alone cannot write the checkpoint that all resume from: SIGTERM ends them at once.
        """
        handlers = {signal.SIGINT: self._handle}
        if processes.count() == 1:
            handlers[signal.SIGTERM] = self._terminate
        try:
            previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        except ValueError:
            yield
            return
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def on_train_batch_end(self, batch, logs=None):
        if self.requested:
            raise KeyboardInterrupt
        if self.terminated:
            step = self.checkpoint.write()
            raise Terminated(f"stopped by SIGTERM at step {step}, which is kept in a checkpoint")
