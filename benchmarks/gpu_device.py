"""The device that a benchmark runs on: versions, measured peaks, memory. For TensorFlow and JAX alike.

The peak is measured, not taken from a data sheet: a large matrix product and a 3x3 convolution of 64 filters, which is
what the networks of tfmisr consist of, each on random numbers (zeros may run faster).
"""

import importlib.metadata
import os
import platform
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable

import keras
import numpy as np

BACKEND = keras.backend.backend()
DTYPES = ("float32", "bfloat16", "float16")
_LIBRARIES = (
    "tfmisr keras numpy tensorflow jax jaxlib jax-cuda12-plugin jax-cuda13-plugin nvidia-cudnn-cu12 nvidia-cudnn-cu13"
)


def describe() -> dict:
    """Returns device, driver, processor and the versions of the libraries, as text and numbers."""
    versions = {}
    for name in _LIBRARIES.split():
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    import tfmisr

    versions["tfmisr"] = tfmisr.__version__
    return {
        "backend": BACKEND,
        "devices": _devices(),
        "driver": _driver(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _devices() -> list[str]:
    if BACKEND == "jax":
        import jax

        return [f"{device.platform}: {device.device_kind}" for device in jax.local_devices()]
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return [f"gpu: {name}" for name in names] or ["cpu: cpu"]


def _driver() -> str | None:
    if not shutil.which("nvidia-smi"):
        return None
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def on_gpu() -> bool:
    """Returns whether the backend computes on a GPU."""
    return any(not name.startswith("cpu") for name in _devices())


def compiled(function: Callable) -> Callable:
    """Returns a function of tensors, compiled by the backend: `jax.jit` or `tf.function`."""
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function)


def wait(result: object) -> None:
    """Waits until the device has computed `result`."""
    if BACKEND == "jax":
        import jax

        jax.block_until_ready(result)
    else:
        import tensorflow as tf

        tf.test.experimental.sync_devices()


def on_device(array: np.ndarray):
    """Returns an array in the memory of the device."""
    return keras.ops.convert_to_tensor(array)


def seconds_per_call(function: Callable, arguments: tuple, least: float, rounds: int) -> float:
    """Returns the median seconds of a call over rounds of at least `least` seconds; the device is awaited once each."""
    for _ in range(2):
        wait(function(*arguments))
    start = time.perf_counter()
    wait(function(*arguments))
    calls = max(1, int(least / max(time.perf_counter() - start, 1e-6)))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            result = function(*arguments)
        wait(result)
        times.append((time.perf_counter() - start) / calls)
    return statistics.median(times)


def peaks(side: int, batch: int, least: float = 0.1, rounds: int = 5) -> dict[str, dict[str, float]]:
    """Measures the peaks of the device.

    Args:
        side: Side of the square matrices.
        batch: Images of 96x96 pixels and 64 channels of the convolution.
        least: Seconds of a round.
        rounds: Rounds, of which the median is taken.

    Returns:
        dtype to `{"matmul": ..., "convolution": ...}`, in multiply-adds per second.
    """
    rng = np.random.default_rng(0)
    matrices = [rng.standard_normal((side, side), np.float32) for _ in range(2)]
    image, kernel = (
        rng.standard_normal((batch, 96, 96, 64), np.float32),
        rng.standard_normal((3, 3, 64, 64), np.float32),
    )
    product = compiled(keras.ops.matmul)
    convolution = compiled(lambda x, k: keras.ops.conv(x, k, padding="same", data_format="channels_last"))
    found = {}
    for dtype in DTYPES:
        a, b, x, k = (keras.ops.cast(on_device(each), dtype) for each in (*matrices, image, kernel))
        found[dtype] = {
            "matmul": side**3 / seconds_per_call(product, (a, b), least, rounds),
            "convolution": batch * 96**2 * 9 * 64**2 / seconds_per_call(convolution, (x, k), least, rounds),
        }
    return found


def memory_mib() -> float:
    """Returns the peak memory so far in MiB: of the device on a GPU, of the process on a CPU.

    It never falls: where a row repeats the number of an earlier one, that row needed no more.
    """
    if on_gpu():
        if BACKEND == "jax":
            import jax

            return jax.local_devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
