"""Event files of TensorBoard: by TensorFlow's own writer, or without TensorFlow by the package `tensorboard`.

Both write the same scalars and images; the format is that of `tensorflow/core/util/event.proto`, in the records of
TFRecord files.
"""

import io
import os
import pathlib
import sys
import time
from collections.abc import Mapping

import keras
import numpy as np
from PIL import Image


class TensorFlowWriter:
    """Writes with `tf.summary`.

    Args:
        folder: Directory of the event files.
    """

    def __init__(self, folder: pathlib.Path):
        import tensorflow as tf

        self.tf, self.writer = tf, tf.summary.create_file_writer(os.fsencode(folder), name="tensorboard")

    def images(self, name: str, images: np.ndarray, step: int) -> None:
        """Writes images in [0, 1], `(count, height, width, channels)`."""
        with self.writer.as_default(step=step):
            self.tf.summary.image(name, images, max_outputs=len(images))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes numbers by name."""
        with self.writer.as_default(step=step):
            for name, value in values.items():
                self.tf.summary.scalar(name, float(value))
        self.writer.flush()


class TensorBoardWriter:
    """Writes with the records, messages and metadata of the package `tensorboard`; imports no TensorFlow.

    `tensorboard.summary.Writer` would import TensorFlow wherever that is installed.

    Args:
        folder: Directory of the event files; it is made with the first event.
    """

    def __init__(self, folder: pathlib.Path):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.image import metadata as image
        from tensorboard.plugins.scalar import metadata as scalar
        from tensorboard.summary.writer import record_writer
        from tensorboard.util import tensor_util

        self.path = folder / f"events.out.tfevents.{time.time():.6f}.{os.getpid()}.v2"
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._records, self._tensor = record_writer.RecordWriter, tensor_util.make_tensor_proto
        self._image_metadata = image.create_summary_metadata(display_name=None, description=None)
        self._scalar_metadata = scalar.create_summary_metadata(display_name=None, description=None)

    def images(self, name: str, images: np.ndarray, step: int) -> None:
        """Writes images in [0, 1], `(count, height, width, channels)`, as PNG of 8 bits."""
        height, width = images.shape[1:3]
        # As `tf.image.convert_image_dtype` rounds.
        pixels = np.minimum(images * 255.5, 255).astype(np.uint8)
        texts = [str(width).encode(), str(height).encode(), *map(_png, pixels)]
        self._write({name: np.array(texts, object)}, self._image_metadata, step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes numbers by name."""
        self._write({name: np.float32(value) for name, value in values.items()}, self._scalar_metadata, step)

    def _write(self, values, metadata, step):
        now = time.time()
        summaries = [self._summary.Value(tag=k, tensor=self._tensor(v), metadata=metadata) for k, v in values.items()]
        events = [self._event(wall_time=now, step=step, summary=self._summary(value=[each])) for each in summaries]
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            events.insert(0, self._event(wall_time=now, file_version="brain.Event:2"))
        with open(self.path, "ab") as file:
            records = self._records(file)
            for event in events:
                records.write(event.SerializeToString())


def _png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(content, "PNG")
    return content.getvalue()


def writer(folder: pathlib.Path) -> TensorFlowWriter | TensorBoardWriter | None:
    """Returns the writer of a folder; `None`, after a notice, where the package `tensorboard` is not installed."""
    if keras.backend.backend() == "tensorflow":
        return TensorFlowWriter(folder)
    try:
        return TensorBoardWriter(folder)
    except ModuleNotFoundError as error:
        print(f"no event files for TensorBoard: {error.name} is not installed", file=sys.stderr)
        return None
