"""The protocol of an evaluation: how its numbers were measured. Results of different protocols are not compared."""

import dataclasses
import hashlib
import json
import os
import typing
from collections.abc import Container, Iterable

from tfmisr import metrics
from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    import numpy as np

# Keys of earlier releases, which the hash is computed with, so that all earlier results keep theirs.
_OLD_KEYS = {"center_fraction": "centre_fraction"}

REFERENCE = "bicubic"  # what gains are over
PLANE_REFERENCE = "spline"  # for networks of planes: their input, interpolated along one axis by a cubic spline


def reference(models: Container[str]) -> str:
    """Returns the name of what gains are over, one of the `models`: `spline` for planes, else `bicubic`."""
    return PLANE_REFERENCE if PLANE_REFERENCE in models and REFERENCE not in models else REFERENCE


def definitions(measures: Iterable[str], features: str = "") -> str:
    """Returns the text of the protocol's `measures`.

    Definitions of the default metrics are always part of it, and those of optional metrics where these are measured:
    a new optional metric leaves the hash of all other results unchanged.

    Args:
        measures: Names of the metrics.
        features: Description of the feature network of the set-level metrics.
    """
    rows = [metric for metric in metrics.rows() if metric.default or metric.name in measures]
    return "; ".join(metric.definition.format(features=features) for metric in rows if metric.definition)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Everything that a score depends on besides the model.

    Attributes:
        dataset: Name of the dataset, with its configuration.
        split: Split that was evaluated.
        images: Number of images.
        images_sha256: 16 digits of the hash over the names, pixels and `max_val` of these images.
        scale: Upsampling factor.
        degradation: How LR was made, in words; seed 0 for its random steps.
        crop_border: Pixels cut off at each edge before the full-image metrics.
        center_fraction: Fraction of each side that the central crop of the `_center` metrics has.
        values: How pixel values are prepared.
        measures: Definition of each metric; see `definitions`.
        full_scale: `series`: images of more than 8 bits from a folder have the full scale of their series (Series
            Instance UID, else sub-folder). Empty: the dataset defines it, or, in results of earlier versions,
            each file; then it is not part of the hash, so that such results keep theirs.
    """

    dataset: str
    split: str
    images: int
    images_sha256: str
    scale: int
    degradation: str
    crop_border: int
    center_fraction: float = 0.625
    # Part of the hash: a change of this text would change all hashes.
    values: str = "SR clipped and rounded to the levels of HR; colour over all channels"
    measures: str = dataclasses.field(default_factory=lambda: definitions(()))
    full_scale: str = ""

    @property
    def hash(self) -> str:
        """Twelve digits that two results share if and only if they may be compared."""
        text = json.dumps({_OLD_KEYS.get(key, key): v for key, v in self._fields().items()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict:
        """Returns the fields and the hash, as `metrics.json` holds them."""
        return {**self._fields(), "hash": self.hash}

    def _fields(self):
        return {key: value for key, value in dataclasses.asdict(self).items() if value or key != "full_scale"}


def current_names(protocol: dict) -> dict:
    """Returns the fields of a protocol with this release's keys; earlier releases wrote `centre_fraction`."""
    new = {old: key for key, old in _OLD_KEYS.items()}
    return {new.get(key, key): value for key, value in protocol.items()}


def current_metrics(metrics: dict) -> dict:
    """Returns the content of a `metrics.json` with this release's keys; earlier releases wrote `psnr_centre`."""
    models = {
        model: {key.replace("_centre", "_center"): value for key, value in values.items()}
        for model, values in metrics["models"].items()
    }
    return {**metrics, "protocol": current_names(metrics["protocol"]), "models": models}


def require_same(expected: dict, other: dict, where: str | os.PathLike) -> None:
    """Raises an `InputError` with the first difference of two protocols.

    Args:
        expected: `Protocol.to_dict()` of these results.
        other: The same of other results, also of earlier releases.
        where: Origin of the others, for the message.

    Raises:
        InputError: The protocols differ.
    """
    expected, other = current_names(expected), current_names(other)
    differing = [k for k in {**expected, **other} if k != "hash" and other.get(k) != expected.get(k)]
    if differing:
        key = differing[0]
        raise InputError(
            f"{where} was measured by another protocol: {key} is {other.get(key)!r} there and "
            f"{expected.get(key)!r} here; numbers of different protocols are not compared"
        )


class ImagesHash:
    """Hash over the names, pixels and full-scale values of the evaluated images: the protocol's `images_sha256`."""

    def __init__(self):
        self._hash = hashlib.sha256()

    def add(self, name: str, hr: "np.ndarray", max_val: int) -> None:
        """Adds one image, an array of 8 or 16 bits, and its full-scale value."""
        self._hash.update(f"{name} {hr.shape} {hr.dtype.str} {max_val}".encode())
        self._hash.update(hr.tobytes())

    def hexdigest(self) -> str:
        """Returns the first 16 digits."""
        return self._hash.hexdigest()[:16]
