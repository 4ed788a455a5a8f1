"""Memory of the device that trains: how much is free, and copies of arrays to it."""

import typing

import keras
import numpy as np

from tfmisr.edge.errors import InputError

_GIB = 2**30


def require(needed: int, limit: int | None = None) -> None:
    """Checks that images fit into the memory of the device, before any is copied.

    Args:
        needed: Bytes of the images.
        limit: Bytes that they may take; `None`: what is free.

    Raises:
        InputError: They do not fit.
    """
    available = free() if limit is None else limit
    if available is not None and needed > available:
        raise InputError(
            f"--device_data needs {needed / _GIB:.2f} GiB of device memory for the images, and "
            f"{available / _GIB:.2f} GiB are free: use --data_workers"
        )


def free() -> int | None:
    """Returns the free bytes of the first device; `None` where neither the backend nor the system says."""
    if keras.backend.backend() == "jax":
        import jax

        stats = jax.devices()[0].memory_stats() or {}
        if "bytes_limit" in stats:
            return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
        return _host_memory() if jax.devices()[0].platform == "cpu" else None
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    return _tensorflow_memory(gpus[0].name) if gpus else _host_memory()


def _tensorflow_memory(name):
    from tensorflow.python.client import device_lib  # no public function has the limit

    limits = [d.memory_limit for d in device_lib.list_local_devices() if name.endswith(d.name.rpartition("/")[2])]
    return limits[0] - tf_memory_in_use(name) if limits else None


def tf_memory_in_use(name: str) -> int:
    """Returns the bytes that TensorFlow has allocated on a device, such as `/device:GPU:0`."""
    import tensorflow as tf

    return tf.config.experimental.get_memory_info(name.rpartition("device:")[2])["current"]


def _host_memory() -> int | None:
    """Returns the memory that Linux can give without swapping; `None` on other systems."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":") for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return None


def upload(array: np.ndarray) -> typing.Any:
    """Returns a copy of an array on the device; with TensorFlow, 32-bit integers as 64-bit ones.

    TensorFlow keeps int32 tensors in host memory, and refuses int32 indices into large ones.

    Raises:
        InputError: Its memory does not suffice.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.device_put(array)
    import tensorflow as tf

    try:
        return tf.identity(array.astype(np.int64) if array.dtype == np.int32 else array)
    except tf.errors.ResourceExhaustedError as error:
        raise InputError(f"--device_data: {array.nbytes / _GIB:.2f} GiB do not fit; use --data_workers") from error
