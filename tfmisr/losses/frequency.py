"""Distances of discrete Fourier transforms."""

import keras
from keras import ops

from tfmisr.losses._images import image_mean
from tfmisr.losses._loss import Choice, Loss, Number

# Added under the square root, whose derivative is unbounded at 0.
_TINY = 1e-12


@keras.saving.register_keras_serializable("tfmisr")
class Frequency(keras.losses.Loss):
    """Distance of the images' discrete Fourier transforms, each channel alone, mean over all frequencies.

    Transforms are orthonormal (divided by the root of the number of pixels), so a coefficient is of the size of a
    pixel for patches of any size.

    Args:
        kind: `complex`: `|Re(d)| + |Im(d)|` of the difference d; `amplitude`: the difference of the amplitudes, which
            ignores the phase, so positions; `focal`: `|d|**2` weighted by `(|d| / max |d|)**alpha`, which emphasizes
            the frequencies with the largest errors.
        alpha: Exponent of the weight of `focal`.

    Reference:
        complex: Cho et al., Rethinking Coarse-to-Fine Approach in Single Image Deblurring, ICCV 2021,
        https://arxiv.org/abs/2108.05054
        amplitude: Fuoli et al., Fourier Space Losses for Efficient Perceptual Image Super-Resolution, ICCV 2021,
        https://arxiv.org/abs/2106.00783
        focal: Jiang et al., Focal Frequency Loss for Image Reconstruction and Synthesis, ICCV 2021,
        https://arxiv.org/abs/2012.12821
    """

    def __init__(
        self,
        kind: str = "complex",
        alpha: float = 1.0,
        reduction: str = "sum_over_batch_size",
        name: str = "frequency",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.kind, self.alpha = kind, alpha

    def call(self, y_true, y_pred):
        if self.kind == "amplitude":
            return image_mean(ops.abs(_amplitude(*_transform(y_pred)) - _amplitude(*_transform(y_true))))
        real, imaginary = _transform(y_pred - y_true)
        if self.kind == "complex":
            return image_mean(ops.abs(real) + ops.abs(imaginary))
        return image_mean(self._focal(ops.square(real) + ops.square(imaginary)))

    def _focal(self, squares):
        # The weights are constants of the step, as in the authors' code.
        distance = ops.sqrt(ops.stop_gradient(squares))
        largest = ops.max(distance, axis=(2, 3), keepdims=True)
        return squares * (distance / ops.maximum(largest, _TINY)) ** self.alpha

    def get_config(self):
        return {**super().get_config(), "kind": self.kind, "alpha": self.alpha}


LOSS = Loss(
    "frequency",
    Frequency,
    {"kind": Choice(("complex", "amplitude", "focal")), "alpha": Number(1.0)},
    order=70,
)


def _transform(images):
    images = ops.transpose(images, (0, 3, 1, 2))
    height, width = ops.shape(images)[2:]
    size = ops.sqrt(ops.cast(height * width, images.dtype))
    real, imaginary = ops.fft2((images, ops.zeros_like(images)))
    return real / size, imaginary / size


def _amplitude(real, imaginary):
    return ops.sqrt(ops.square(real) + ops.square(imaginary) + _TINY)
