"""Another model that comes with the package for an image that a model was not made for: the one of the robust tier."""

import functools

import numpy as np
import pydicom

from tfmisr.edge import shipped
from tfmisr.edge.applicability import Applicability
from tfmisr.edge.upscaler import Upscaler

_TIER = "robust"


def name(upscaler: Upscaler, lr: np.ndarray, levels: float, header: pydicom.Dataset | None = None) -> str:
    """Returns the name of the model that has an image in scope; empty if there is none, or it is the given one.

    The image is upscaled by that model and tested by its card, pixels and header, as with `--model`.

    Args:
        upscaler: The model that the image is not in scope for.
        lr: Input (height, width, channels) in stored values, 0 to `levels`.
        levels: Stored value of full scale.
        header: Header of a DICOM input.
    """
    other = f"{_TIER}-x{upscaler.scale}"
    if upscaler.name == other or other not in shipped.names():
        return ""
    model, applicability = _loaded(other)
    sr = model(np.asarray(lr, np.float32) / np.float32(levels), model.scale, levels=levels)
    sr = np.clip(sr, 0, 1) * np.float32(levels)
    verdict = applicability.check(lr, np.rint(sr) if levels > 1 else sr, levels, header)
    return other if verdict.guarantee_applies else ""


@functools.lru_cache(maxsize=2)
def _loaded(other: str) -> tuple[Upscaler, Applicability]:
    from tfmisr.inference import upscalers

    model = upscalers.load(other)
    applicability = Applicability.of(model.card)
    if applicability is None:
        raise ValueError(f"the card of {other} has no field applicability")
    return model, applicability
