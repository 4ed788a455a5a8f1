"""How a run is distributed over devices: number of replicas, and the scope in which its variables are created.

`mirrored` is synchronous data parallelism over the devices of one machine, by `tf.distribute.MirroredStrategy`: each
device computes the gradients of its part of the batch, and all of them apply the sum.
"""

import contextlib
import typing

import keras

from tfmisr.config import Config
from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    import tensorflow as tf


class Distribution:
    """Training on one device; base class of the other distributions.

    Attributes:
        replicas: Number of devices that a batch is divided among. Batches of training and validation hold a multiple.
    """

    replicas = 1

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns the context in which the variables of a run are created and its model is compiled."""
        return contextlib.nullcontext()


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


def check(config: Config) -> None:
    """Checks that the backend can distribute the run as it asks, before any data is read.

    Raises:
        InputError: It cannot.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow" and config.distribute != "none":
        raise InputError(f"--distribute {config.distribute} needs KERAS_BACKEND=tensorflow. Received: {backend}")


def create(config: Config) -> Distribution:
    """Returns the distribution of a run.

    Raises:
        InputError: The batch cannot be divided evenly among the devices, or the backend cannot distribute.
    """
    check(config)
    if keras.backend.backend() != "tensorflow":
        return Distribution()
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
