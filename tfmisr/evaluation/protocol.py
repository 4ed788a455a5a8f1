"""How a number was measured. Numbers of different protocols are never put side by side."""

import dataclasses
import hashlib
import json

from tfmisr.edge.errors import InputError

_USUAL = (
    "PSNR; SSIM Gaussian 11x11 sigma 1.5 (Wang 2004); MS-SSIM five scales (Wang 2003); "
    "HaarPSI C=30 alpha=4.2 (Reisenhofer 2018), HaarPSI_MED C=5 alpha=4.9"
)
_FURTHER = {
    "vif": "VIFp pixel domain, four scales, of the luma (Sheikh 2006)",
    "gmsd": "GMSD c=170, of the luma (Xue 2014)",
    "sharpness": "sharpness: Sobel gradient energy, SR over HR",
    "laplacian": "Laplacian: its variance, values 0 to 255",
    "noise": "noise: Immerkaer 1996, values 0 to 255",
    "psnr_lung": "PSNR of the lung window, -600 / 1500 HU",
    "ssim_lung": "SSIM of the lung window",
    "psnr_soft_tissue": "PSNR of the soft tissue window, 50 / 400 HU",
    "ssim_soft_tissue": "SSIM of the soft tissue window",
    "psnr_bone": "PSNR of the bone window, 400 / 1800 HU",
    "ssim_bone": "SSIM of the bone window",
    "psnr_brain": "PSNR of the brain window, 40 / 80 HU",
    "ssim_brain": "SSIM of the brain window",
    "lpips_alex": "LPIPS v0.1 AlexNet (Zhang 2018)",
    "lpips_vgg": "LPIPS v0.1 VGG16 (Zhang 2018)",
    "fid": "FID of {features}",
    "kid": "KID of {features}, cubic kernel, 100 subsets of at most 1000, seed 0",
}


def definitions(measures, features: str = "") -> str:
    """Returns the text of the protocol's `measures`.

    What is measured as always reads as always, so that such results keep their hash; a measure that is new since
    then is told, and changes the hash, where it was asked for.

    Args:
        measures: Names of the measures.
        features: What FID and KID look through.
    """
    further = [text.format(features=features) for name, text in _FURTHER.items() if name in measures]
    return "; ".join([_USUAL, *further])


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
        measures: Which definition each measure follows; see `definitions`.
        full_scale: `series`: images of more than 8 bits from a folder have the full scale of their series (Series
            Instance UID, else sub-folder). Empty: the dataset itself says it, or, in results of earlier versions,
            each file; then it is no part of the hash, so that such results keep theirs.
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
    measures: str = _USUAL
    full_scale: str = ""

    @property
    def hash(self) -> str:
        """Twelve digits that two results share if and only if they may be compared."""
        text = json.dumps(self._fields(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict:
        """Returns the fields and the hash, as `metrics.json` holds them."""
        return {**self._fields(), "hash": self.hash}

    def _fields(self):
        return {key: value for key, value in dataclasses.asdict(self).items() if value or key != "full_scale"}


def require_same(expected: dict, found: dict, where) -> None:
    """Raises an `InputError` that names the first difference where two protocols are not one.

    Args:
        expected: `Protocol.to_dict()` of the results at hand.
        found: The same of other results.
        where: Where the others come from.
    """
    differing = [k for k in {**expected, **found} if k != "hash" and found.get(k) != expected.get(k)]
    if differing:
        key = differing[0]
        raise InputError(
            f"{where} was measured by another protocol: {key} is {found.get(key)!r} there and "
            f"{expected.get(key)!r} here; numbers of different protocols are not compared"
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
