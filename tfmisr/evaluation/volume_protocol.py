"""The protocol of an evaluation on volumes: how thick slices were made and how results were measured (V-13)."""

import dataclasses
import hashlib
import json
import typing

from tfmisr.evaluation.volume_measures import DEFINITIONS

if typing.TYPE_CHECKING:
    from tfmisr.edge.volumes import Volume

REFERENCE = "spline"  # what gains are over


@dataclasses.dataclass(frozen=True)
class VolumeProtocol:
    """Everything that a score depends on besides the method.

    Attributes:
        volumes: Number of volumes.
        volumes_sha256: 16 digits of the hash over their values and spacings.
        ratio: Distance between thick slices over that of the thin ones.
        slice_profile: Profile of the thick slices, in words.
        threshold: What the volume error counts voxels above.
        kind: `volumes`; results on images have no such key.
        values: How values are prepared.
        measures: Definition of each measure.
    """

    volumes: int
    volumes_sha256: str
    ratio: float
    slice_profile: str
    threshold: str = "Otsu's threshold of the truth"
    kind: str = "volumes"
    values: str = (
        "float32, neither rounded nor with noise added; thin slices within the outer faces of the thick ones, "
        "as many of which as fit the volume, in its middle"
    )
    measures: str = DEFINITIONS

    @property
    def hash(self) -> str:
        """Twelve digits that two results share if and only if they may be compared."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict:
        """Returns the fields and the hash, as `metrics.json` holds them."""
        return {**dataclasses.asdict(self), "hash": self.hash}


class VolumesHash:
    """Hash over the values and spacings of the evaluated volumes: the protocol's `volumes_sha256`."""

    def __init__(self):
        self._hash = hashlib.sha256()

    def add(self, volume: "Volume") -> None:
        """Adds one volume; names and places in the patient are not part of the hash."""
        spacing = " ".join(f"{step:.4f}" for step in volume.grid.spacing)
        self._hash.update(f"{volume.values.shape} {spacing}".encode())
        self._hash.update(volume.values.astype("<f4").tobytes())

    def hexdigest(self) -> str:
        """Returns the first 16 digits."""
        return self._hash.hexdigest()[:16]
