"""Chooses the functions of the Keras backend that a training step of GAN trainers needs.

Losses and steps are written once, in `keras.ops`. What Keras has no common function for (gradients, the update by an
optimizer inside a step, sums over replicas and seeded random numbers) is in one module per backend with the same
functions: `tfmisr.training.tensorflow_step` and `tfmisr.training.jax_step`. Only the one in use is imported.
"""

import types

import keras

from tfmisr.edge.errors import InputError

SUPPORTED = ("tensorflow", "jax")


def adapter() -> types.ModuleType:
    """Returns the module with the step functions of the Keras backend.

    Raises:
        InputError: GANs cannot be trained with the backend.
    """
    name = keras.backend.backend()
    if name == "tensorflow":
        from tfmisr.training import tensorflow_step

        return tensorflow_step
    if name == "jax":
        from tfmisr.training import jax_step

        return jax_step
    raise InputError(f"training a GAN needs KERAS_BACKEND=tensorflow or jax. Received: {name}")
