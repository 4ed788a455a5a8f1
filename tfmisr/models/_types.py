"""Types in the signatures of models; Keras Tuner is imported by type checkers only."""

import typing

if typing.TYPE_CHECKING:
    from keras_tuner import HyperParameters as HyperParameters
else:
    HyperParameters = object
