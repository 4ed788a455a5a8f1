"""Losses between a restored image and its ground truth, alone or in weighted sums (`tfmisr.losses.expression`).

A loss is one module here: a `keras.losses.Loss`, and a row `LOSS = Loss(...)` with its name, options and smallest
image. `names()` and expressions are read from these rows; the modules, and Keras, are imported when a loss is used.
"""

from tfmisr import _lazy
from tfmisr.layers import registration

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    old={"expression": ("NAMES",)},
    _creation=("get",),
    _loss=("Choice", "Integer", "Loss", "Number", "Text", "names"),
    _mixture=("LossSum",),
    frequency=("Frequency",),
    perceptual=("NetworkPerceptual", "VGG19Perceptual"),
    pixel=("Charbonnier", "Gradient", "TotalVariation"),
    structure=("SSIM", "MultiScaleSSIM"),
)

registration.when_keras_is_imported(*(f"{__name__}.{name}" for name in ("_mixture", *_lazy.modules_of(__path__))))
