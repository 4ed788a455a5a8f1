"""How a number was measured. Numbers of different protocols are never put side by side."""

import dataclasses
import hashlib
import json

from tfmisr.edge.errors import InputError


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Everything that a score depends on besides the model.

    Attributes:
        dataset: Name of the dataset, with its configuration.
        split: Split that was judged.
        images: Number of images.
        images_sha256: 16 digits of the hash over the names, pixels and `max_val` of these images.
        scale: Upsampling factor.
        degradation: How LR was made, in words; seed 0 for its random steps.
        crop_border: Pixels cut off at each edge before the whole-image measures.
        centre_fraction: Linear fraction of the image that the `_centre` measures see.
        values: How pixels become numbers.
        measures: Which definition each measure follows.
    """

    dataset: str
    split: str
    images: int
    images_sha256: str
    scale: int
    degradation: str
    crop_border: int
    centre_fraction: float = 0.625
    values: str = "SR clipped and rounded to the levels of HR; colour over all channels"
    measures: str = (
        "PSNR; SSIM Gaussian 11x11 sigma 1.5 (Wang 2004); MS-SSIM five scales (Wang 2003); "
        "HaarPSI C=30 alpha=4.2 (Reisenhofer 2018), HaarPSI_MED C=5 alpha=4.9"
    )

    @property
    def hash(self) -> str:
        """Twelve digits that two results share if and only if they may be compared."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict:
        """Returns the fields and the hash, as `metrics.json` holds them."""
        return {**dataclasses.asdict(self), "hash": self.hash}


def require_same(expected: dict, found: dict, where) -> None:
    """Raises an `InputError` that names the first difference where two protocols are not one.

    Args:
        expected: `Protocol.to_dict()` of the results at hand.
        found: The same of other results.
        where: Where the others come from.
    """
    differing = [k for k in expected if k != "hash" and found.get(k) != expected[k]]
    if differing:
        key = differing[0]
        raise InputError(
            f"{where} was measured by another protocol: {key} is {found.get(key)!r} there and "
            f"{expected[key]!r} here; numbers of different protocols are not compared"
        )


class ImagesHash:
    """Collects the names, pixels and full-scale values of the judged images into the protocol's `images_sha256`."""

    def __init__(self):
        self._hash = hashlib.sha256()

    def add(self, name: str, hr, max_val: int) -> None:
        """Adds one image, an array of 8 or 16 bits, and its full-scale value."""
        self._hash.update(f"{name} {hr.shape} {hr.dtype.str} {max_val}".encode())
        self._hash.update(hr.tobytes())

    def hexdigest(self) -> str:
        """Returns the first 16 digits."""
        return self._hash.hexdigest()[:16]
