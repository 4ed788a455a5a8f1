"""Training images in device memory: a step receives its number and crops, transforms and converts its patches there.

The images stay 8- or 16-bit integers. The draws of 128 steps are computed on the host, one block ahead, and copied to
the device together. Cropping and the dihedral transform are one gather, whose indices come from transforming a grid of
indices; the conversion to float32 looks the values up in a table that the host divided. So no arithmetic happens on
pixels, and a batch has the same bits as the host's: XLA's division by a constant, or on a GPU, is not that of IEEE 754.

Low-resolution images are those that the host reduced. Noise and random kernels cannot be drawn in the same bits here.
"""

import concurrent.futures
import contextlib
import typing
from collections.abc import Iterator

import keras
import numpy as np

from tfmisr.data import atlas
from tfmisr.data.pipeline import PatchSampler
from tfmisr.data.pixel_cache import as_float
from tfmisr.edge.dihedral import apply_dihedral
from tfmisr.edge.errors import InputError
from tfmisr.training import device_memory
from tfmisr.training.unpaired import UnpairedSampler

if typing.TYPE_CHECKING:
    import tensorflow as tf

BLOCK_STEPS = 128  # draws of so many steps are copied to the device together


class ImageSet:
    """The images of one `PatchSampler` for the device.

    Args:
        sampler: Sampler of a degradation without random steps.
        parts: Parts of a batch that are needed: 1: low resolution; 2: low and high resolution.
    """

    def __init__(self, sampler: PatchSampler, parts: int = 2):
        self.sampler = sampler
        self.atlas, self._sizes = atlas.of_sampler(sampler)
        self._max_vals, self._kinds = np.unique(sampler.cache.max_vals, return_inverse=True)
        lr_type = sampler.lr.dtype
        if lr_type == np.uint16 and sampler.cache.dtype == np.uint8:
            lr_type = np.dtype(np.uint8)  # 8-bit values, which the cache keeps in 16
        self._planes = [(sampler.lr, 1, lr_type), (sampler.cache, sampler.scale, sampler.cache.dtype)][:parts]

    def bytes(self) -> int:
        """Returns the device memory that the images take."""
        shapes = [(self.atlas.shape(scale, planes.channels), dtype) for planes, scale, dtype in self._planes]
        return sum(np.prod(shape, dtype=np.int64) * dtype.itemsize for shape, dtype in shapes)

    def arrays(self) -> Iterator[np.ndarray]:
        """Yields for each part the pages, the values of its integers and the rows and columns of the transforms."""
        for planes, scale, dtype in self._planes:
            yield self.atlas.filled(planes, self._sizes, scale, dtype)
            yield self._values(dtype)
            yield _grids(self.sampler.patch_size * scale)

    def _values(self, dtype):
        """Returns the float32 value of each integer, a row for each full-scale value."""
        if dtype.kind == "f":
            return np.zeros((1, 1), np.float32)
        return as_float(np.arange(np.iinfo(dtype).max + 1, dtype=dtype), self._max_vals[:, None])

    def draws(self, step: int) -> np.ndarray:
        """Returns page, row, column, transform and row of the table of values of each patch, int32 `(batch, 5)`."""
        draws = self.sampler.draws(step)
        return np.column_stack([self.atlas.located(draws), self._kinds[draws[:, 0]].astype(np.int32)])

    def batch(self, arrays: typing.Sequence, draws: typing.Any) -> list:
        """Returns the parts of a batch, float32 tensors, within a compiled step.

        Args:
            arrays: Those of `arrays`, on the device.
            draws: Those of `draws`, on the device.
        """
        scales = [scale for _, scale, _ in self._planes]
        parts = [arrays[i : i + 3] for i in range(0, len(arrays), 3)]
        return [_patches(*part, draws, scale) for part, scale in zip(parts, scales, strict=True)]


def _grids(side):
    """Returns int32 `(8, 2, side, side)`: row and column that each pixel comes from, for each dihedral transform."""
    rows_columns = np.indices((side, side), np.int32).transpose(1, 2, 0)
    return np.stack([apply_dihedral(rows_columns, i).transpose(2, 0, 1) for i in range(8)])


def _patches(pages, values, grids, draws, scale):
    """Returns float32 patches `(batch, side, side, channels)`."""
    first = draws[:, 1:3, None, None] * scale
    rows_columns = first + _take(grids, draws[:, 3])
    page = keras.ops.broadcast_to(draws[:, :1, None], keras.ops.shape(rows_columns[:, 0]))
    pixels = _take(pages, page, rows_columns[:, 0], rows_columns[:, 1])
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(pages.dtype)):
        return pixels
    pixels = keras.ops.cast(pixels, draws.dtype)
    kind = keras.ops.broadcast_to(draws[:, 4, None, None, None], keras.ops.shape(pixels))
    return _take(values, kind, pixels)


def _take(array, *indices):
    """Returns `array[indices]`. An index for each axis: one index of all pixels would not fit into 32 bits."""
    if keras.backend.backend() == "jax":
        return array.at[indices].get(mode="promise_in_bounds")
    import tensorflow as tf

    return tf.gather_nd(array, tf.stack(indices, -1))


class DeviceData:
    """The images of a run on its device, and the training step that takes its batches from them.

    Args:
        sampler: Sampler of the run.
        limit: Bytes that the images may take; `None`: what is free on the device.

    Attributes:
        callbacks: Keras callbacks that `fit` needs, after `attach`.

    Raises:
        InputError: The images do not fit, a degradation is random, or the backend is neither TensorFlow nor JAX.
    """

    def __init__(self, sampler: PatchSampler | UnpairedSampler, limit: int | None = None):
        if keras.backend.backend() not in ("tensorflow", "jax"):
            raise InputError(
                f"--device_data needs KERAS_BACKEND=tensorflow or jax. Received: {keras.backend.backend()}"
            )
        unpaired = isinstance(sampler, UnpairedSampler)
        chosen = [(sampler.lr, 1), (sampler.hr, 2)] if unpaired else [(sampler, 2)]
        for part, _ in chosen:
            if not part.degradation.fixed:
                raise InputError(
                    "--device_data needs a degradation without random steps; use --data_workers. "
                    f"Received: {part.degradation.describe()}"
                )
        self.sampler = sampler
        self._sets = [ImageSet(*each) for each in chosen]
        device_memory.require(sum(images.bytes() for images in self._sets), limit)
        self._counts = [0]
        self._arrays = []
        for images in self._sets:
            self._arrays += [device_memory.upload(array) for array in images.arrays()]
            self._counts.append(len(self._arrays))
        self._table, self.callbacks = None, []

    def batch(self, arrays: typing.Sequence, table: typing.Any, index: typing.Any) -> tuple:
        """Returns the batch of step `index` of a block, as `PatchSampler.batch` does, within a compiled step.

        Args:
            arrays: The arrays of the images on the device.
            table: Draws of a block of steps on the device.
            index: Scalar tensor.
        """
        draws, parts = _take(table, index[None])[0], []
        for i, images in enumerate(self._sets):
            own = arrays[self._counts[i] : self._counts[i + 1]]
            parts += images.batch(own, draws[:, 5 * i : 5 * i + 5])
        return tuple(parts)

    def attach(self, model: keras.Model) -> None:
        """Makes the training steps of a compiled model take what `training` yields."""
        attach = self._attach_jax if keras.backend.backend() == "jax" else self._attach_tensorflow
        attach(model, model.train_step)

    def _attach_jax(self, model, step):
        import jax

        # Keras builds metrics, and layers that are not built, with the first batch: here that holds no images.
        build, first = model._symbolic_build, self.sampler.batch(0)
        model._symbolic_build = lambda iterator=None, data_batch=None: build(data_batch=first)
        # Without the barrier XLA would merge the lookups into the network's first operations, whose sums may then be
        # in another order than on batches of the host.
        whole = jax.lax.optimization_barrier
        model.train_step = lambda state, data: step(state, whole(self.batch(data[2:], data[1], data[0])))

    def _attach_tensorflow(self, model, step):
        import tensorflow as tf

        # XLA has gathers of 8- and 16-bit integers on every device, TensorFlow on CPUs alone.
        compiled = tf.function(lambda index: self.batch(self._arrays, self._table.value(), index), jit_compile=True)
        shapes = [pixels.shape for pixels, _ in self.sampler.pixels(0)]

        def batch(index):
            # Graph optimization sees no shapes through the call, and sums in another order where it knows none.
            return tuple(map(tf.ensure_shape, compiled(index), shapes))

        self._table = tf.Variable(tf.zeros(self._block(0, 1).shape, tf.int64), trainable=False, name="draws")
        self.callbacks = [_NextBlock(self._table)]
        self._compiled = batch
        model.train_step = lambda index: step(batch(index))

    def _block(self, start, stop):
        """Returns the draws of the steps of a block, int32 `(BLOCK_STEPS, batch, 5 * image sets)`."""
        draws = [np.hstack([images.draws(step) for images in self._sets]) for step in range(start, stop)]
        return np.concatenate([draws, np.zeros((BLOCK_STEPS - len(draws), *draws[0].shape), np.int32)])

    def _blocks(self, start, stop):
        """Yields the blocks of the steps `start` to `stop`, each computed while the one before is used."""
        spans = [(first, min(first + BLOCK_STEPS, stop)) for first in range(start, stop, BLOCK_STEPS)]
        with concurrent.futures.ThreadPoolExecutor(1, "tfmisr-draws") as pool:
            waiting = pool.submit(self._block, *spans[0])
            for following in [*spans[1:], None]:
                block = waiting.result()
                if following:
                    waiting = pool.submit(self._block, *following)
                yield block

    @contextlib.contextmanager
    def training(self, start: int, stop: int) -> Iterator["tf.data.Dataset | Iterator[tuple]"]:
        """Yields what `fit` reads for the steps `start` to `stop`; it needs `callbacks` as well."""
        with contextlib.closing(self._blocks(start, stop)) as blocks:
            if keras.backend.backend() == "jax":
                yield self._generated(blocks, stop - start)
                return
            import tensorflow as tf

            self.callbacks[0].restart(blocks)
            yield tf.data.Dataset.range(stop - start).map(lambda step: step % BLOCK_STEPS)

    def _generated(self, blocks, steps):
        """Yields the step's index in its block, the block and the images: arguments, no constants, of the step."""
        for first in range(0, steps, BLOCK_STEPS):
            table = device_memory.upload(next(blocks))
            for index in range(min(BLOCK_STEPS, steps - first)):
                yield (np.int32(index), table, *self._arrays)


class _NextBlock(keras.callbacks.Callback):
    """Copies the draws of the next block to the device before its first step."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def restart(self, blocks):
        """Takes another iterator over blocks."""
        self.blocks, self.step = blocks, 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.step % BLOCK_STEPS == 0:
            self.table.assign(next(self.blocks).astype(np.int64))
        self.step += 1
