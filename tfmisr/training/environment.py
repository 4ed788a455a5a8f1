"""The environment of a run: how it is made deterministic, and the versions and devices in `environment.json`.

Under JAX, TensorFlow is not imported: a machine that trains with JAX need not have it.
"""

import importlib.metadata
import os
import sys

import keras

# XLA takes deterministic kernels only and does no autotuning, which would choose others in another process
# (xla/xla.proto, DebugOptions). XLA's kernels for CPUs are deterministic without it.
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def is_tensorflow() -> bool:
    """Returns whether Keras computes with TensorFlow."""
    return keras.backend.backend() == "tensorflow"


def set_seed(seed: int) -> None:
    """Seeds Python, NumPy and Keras; under another backend than TensorFlow, that is not imported to be seeded too.

    `keras.utils.set_random_seed` imports TensorFlow wherever it is installed, in seconds and with its share of a GPU.
    """
    if is_tensorflow() or "tensorflow" in sys.modules:
        keras.utils.set_random_seed(seed)
        return
    sys.modules["tensorflow"] = None  # to Keras it is not installed
    try:
        keras.utils.set_random_seed(seed)
    finally:
        del sys.modules["tensorflow"]


def make_deterministic() -> None:
    """Makes the same step on the same machine give the same bits, also in another process.

    TensorFlow takes deterministic kernels for the rest of the process. JAX reads `XLA_FLAGS` when its first array is
    made; where that has been before, and the devices are GPUs, a warning is printed.
    """
    if is_tensorflow():
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "jax":
        _make_jax_deterministic()


def _make_jax_deterministic():
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" in flags:
        return  # the user's choice, or an earlier call's
    import jax

    late = _is_initialized()
    if not late:
        os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC}".strip()
    elif any(device.platform not in ("cpu", "tpu") for device in jax.devices()):
        print(
            f"warning: JAX has started without XLA_FLAGS={DETERMINISTIC}; on this GPU the same seed may give other "
            "weights",
            file=sys.stderr,
        )


def _is_initialized() -> bool:
    """Returns whether JAX has read `XLA_FLAGS`; true where a later release of JAX does not say."""
    from jax._src import xla_bridge

    return getattr(xla_bridge, "backends_are_initialized", lambda: True)()


def describe() -> dict:
    """Returns backend, versions, and type and kind of each device, as `environment.json` records them.

    Only what the run uses has a version: `tensorflow` is not there for a run under JAX.
    """
    name = keras.backend.backend()
    types, kinds = _devices()
    library = {key: importlib.metadata.version(key) for key in ("jax", "jaxlib")} if name == "jax" else {}
    if is_tensorflow():
        import tensorflow as tf

        library = {"tensorflow": tf.__version__}
    return {**library, "keras": keras.__version__, "backend": name, "devices": types, "device_kinds": kinds}


def _devices() -> tuple[list[str], list[str]]:
    """Returns the types of all devices, such as `GPU`, and their kinds, such as `NVIDIA A100-SXM4-40GB`."""
    if is_tensorflow():
        import tensorflow as tf

        devices = tf.config.list_physical_devices()
        details = tf.config.experimental.get_device_details
        kinds = [details(d).get("device_name", "gpu") if d.device_type == "GPU" else "cpu" for d in devices]
        return [device.device_type for device in devices], kinds
    if keras.backend.backend() == "jax":
        import jax

        return [d.platform.upper() for d in jax.devices()], [d.device_kind for d in jax.devices()]
    return [], []
