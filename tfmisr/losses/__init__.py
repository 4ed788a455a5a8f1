"""Losses between a restored image and its ground truth, alone or in weighted sums (`tfmisr.losses.expression`).

Imported when used: `expression` reads weighted sums without Keras.
"""

from tfmisr import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    creation=("get",),
    expression=("NAMES",),
    frequency=("Frequency",),
    mixture=("LossSum",),
    perceptual=("NetworkPerceptual", "VGG19Perceptual"),
    pixel=("Charbonnier", "Gradient", "TotalVariation"),
    structure=("SSIM", "MultiScaleSSIM"),
)
