"""How a run is distributed over devices: number of replicas, and the scope in which its variables are created.

`mirrored` is synchronous data parallelism over the devices of one machine, by `tf.distribute.MirroredStrategy`: each
device computes the gradients of its part of the batch, and all of them apply the sum.

`data_parallel` is the same over all devices of all processes, by `keras.distribution.DataParallel` with JAX: the
arrays of a step are global and XLA divides the work (GSPMD, https://arxiv.org/abs/2105.04663), so that a mean, such as
the statistics of batch normalization, is that of the global batch, as on one device. With TensorFlow, it is `mirrored`.
"""

import contextlib
import typing

import keras

from tfmisr.config import Config
from tfmisr.edge.errors import InputError
from tfmisr.training import environment

if typing.TYPE_CHECKING:
    import tensorflow as tf


class Distribution:
    """Training on one device; base class of the other distributions.

    Attributes:
        replicas: Number of devices among which a batch of the validation is divided; it holds a multiple.
    """

    replicas = 1

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns the context in which the variables of a run are created and its model is compiled."""
        return contextlib.nullcontext()

    def training(self) -> contextlib.AbstractContextManager:
        """Returns the context in which the state is restored, and `fit` called."""
        return contextlib.nullcontext()

    def rows(self, batch_size: int) -> slice:
        """Returns the rows of a global batch that this process feeds to its devices."""
        return slice(0, batch_size)


class StrategyDistribution(Distribution):
    """Training under a strategy of TensorFlow.

    Args:
        strategy: A `tf.distribute.Strategy`; the current one, by default that of one device, without `--distribute`.
    """

    def __init__(self, strategy: "tf.distribute.Strategy"):
        self.strategy = strategy
        self.replicas = strategy.num_replicas_in_sync

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns the strategy's scope."""
        return self.strategy.scope()


class DataParallel(Distribution):
    """Data parallelism over all devices of all processes, with JAX.

    Batches of the size of a training batch are divided among the devices. Others, the crops of the validation, are
    computed on every device, so that the validation does not depend on the number of devices.

    Args:
        batch_size: Patches of a step, over all devices of all processes.
    """

    def __init__(self, batch_size: int):
        self.devices = _jax_devices()
        require_divisible(batch_size, len(self.devices))
        self._distribution = _distribution_class()(
            devices=[f"{device.platform}:{device.id}" for device in self.devices], auto_shard_dataset=False
        )
        rows = self.rows(batch_size)
        self._distribution.divided = rows.stop - rows.start

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns the scope in which variables have a copy on each device."""
        return self._distribution.scope()

    training = scope

    def rows(self, batch_size: int) -> slice:
        """Returns the rows of a global batch that this process feeds to its devices."""
        import jax

        before = sum(device.process_index < jax.process_index() for device in self.devices)
        own = sum(device.process_index == jax.process_index() for device in self.devices)
        each = batch_size // len(self.devices)
        return slice(before * each, (before + own) * each)


def _distribution_class():
    class _DataParallel(keras.distribution.DataParallel):
        def get_data_layout(self, data_shape):
            if data_shape[0] == self.divided:
                return super().get_data_layout(data_shape)
            return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)

    return _DataParallel


def _jax_devices() -> list:
    """Returns all devices of all processes, those of one process next to each other."""
    import jax

    return sorted(jax.devices(), key=lambda device: (device.process_index, device.id))


def check(config: Config) -> None:
    """Checks that the backend can distribute the run as it asks, before any data is read.

    Raises:
        InputError: It cannot, or the batch cannot be divided evenly among the devices.
    """
    backend = keras.backend.backend()
    if config.distribute == "mirrored" and backend != "tensorflow":
        hint = "; use --distribute data_parallel" if backend == "jax" else ""
        raise InputError(f"--distribute mirrored needs KERAS_BACKEND=tensorflow. Received: {backend}{hint}")
    if config.distribute != "data_parallel":
        return
    if backend == "jax":
        if config.deterministic:
            environment.make_deterministic()  # before JAX starts its devices
        require_divisible(config.batch_size, len(_jax_devices()))
    elif backend != "tensorflow":
        raise InputError(f"--distribute data_parallel needs KERAS_BACKEND=jax or tensorflow. Received: {backend}")
    elif config.jit_compile or config.gradient_accumulation_steps > 1:
        name = "jit_compile" if config.jit_compile else "gradient_accumulation_steps"
        raise InputError(f"--{name} with --distribute data_parallel needs KERAS_BACKEND=jax. Received: {backend}")


def create(config: Config) -> Distribution:
    """Returns the distribution of a run.

    Raises:
        InputError: The batch cannot be divided evenly among the devices, or the backend cannot distribute.
    """
    check(config)
    if keras.backend.backend() != "tensorflow":
        return DataParallel(config.batch_size) if config.distribute == "data_parallel" else Distribution()
    import tensorflow as tf

    if config.distribute == "none":
        return StrategyDistribution(tf.distribute.get_strategy())
    gpus = tf.config.list_logical_devices("GPU")
    devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    require_divisible(config.batch_size, len(devices))
    return StrategyDistribution(tf.distribute.MirroredStrategy(devices))


def require_divisible(batch_size: int, devices: int) -> None:
    """Checks that a batch can be divided evenly.

    Args:
        batch_size: Patches of a step, over all devices.
        devices: Number of devices.

    Raises:
        InputError: It cannot.
    """
    if batch_size % devices:
        raise InputError(f"batch_size must be a multiple of the {devices} devices. Received: {batch_size}")
