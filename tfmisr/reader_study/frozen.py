"""A frozen study, as `build` writes it: study.json with a hash over its content, and pixel files named by SHA-256."""

import dataclasses
import hashlib
import json
import os
import pathlib

import numpy as np

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.reader_study import ordering
from tfmisr.reader_study.windowing import Preset, Window

FORMAT = 1
FILE = "study.json"
PIXELS = "pixels"


@dataclasses.dataclass(frozen=True)
class Presentation:
    """How all images of a case are displayed.

    Attributes:
        height: Height in pixels.
        width: Width in pixels.
        offset: Added to the 16-bit numbers of a pixel file to get stored values.
        slope: Rescale Slope (0028,1053) of the stored values.
        intercept: Rescale Intercept (0028,1052) of the stored values.
        window: Initial window, in units after rescale.
        inverted: Whether low values are displayed bright: MONOCHROME1.
        padding: Lowest and highest 16-bit number that are Pixel Padding, or `None`.
        presets: Further windows to choose from; none in studies of earlier releases.
    """

    height: int
    width: int
    offset: int
    slope: float
    intercept: float
    window: Window
    inverted: bool
    padding: tuple[int, int] | None
    presets: tuple[Preset, ...] = ()


class Study:
    """A frozen study.

    Args:
        folder: Folder that `build` wrote.

    Attributes:
        folder: The same.
        values: Content of study.json.
        hash: SHA-256 over study.json, which includes the hashes of all pixel files.

    Raises:
        InputError: The folder is not a study, or study.json was changed.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)
        path = self.folder / FILE
        try:
            self.values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"expected a study at {self.folder}, found no {FILE}; build it first") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}") from error
        if not isinstance(self.values, dict) or self.values.get("format") != FORMAT:
            raise InputError(f"{path} is not a study of format {FORMAT}; build it again")
        self.hash = digest(self.values)
        if self.values.get("hash") != self.hash:
            raise InputError(f"{path} was changed after the study was frozen: its hash does not match")
        self._cases = {case["id"]: case for case in self.values["cases"]}

    @property
    def plan(self) -> ordering.Plan:
        """What the randomization of each reader's order is based on."""
        order, preference = self.values["order"], self.values["preference"]
        return ordering.Plan(
            cases=tuple(name for name, case in self._cases.items() if not case["training"]),
            training=tuple(name for name, case in self._cases.items() if case["training"]),
            arms=tuple(arm["name"] for arm in self.values["arms"]),
            pairs=tuple(map(tuple, preference["pairs"])) if preference else (),
            seed=self.values["seed"],
            **{key: order[key] for key in ("repeats", "repeat_distance", "min_distance", "sessions")},
        )

    def presentation(self, case: str) -> Presentation:
        """Returns how the images of a case are displayed."""
        entry = self._cases[case]
        values = {field.name: entry[field.name] for field in dataclasses.fields(Presentation) if field.name in entry}
        values["padding"] = tuple(values["padding"]) if values["padding"] else None
        values["presets"] = tuple(Preset(**preset) for preset in values.get("presets", ()))
        return Presentation(**{**values, "window": Window(**values["window"])})

    def panes(self, case: str, arms: tuple[str, ...]) -> list[tuple[str, str]]:
        """Returns the images of a trial from left to right.

        Args:
            case: Name of the case.
            arms: The rated arm, or the left and the right arm of a paired comparison.

        Returns:
            Pairs of a role (`lr`, `rated`, `truth` for the reference, `left`, `right`) and the digest of the pixels.
        """
        images, references = self._cases[case]["images"], self._cases[case]["references"]
        if len(arms) == 2:
            return [("left", images[arms[0]]), ("right", images[arms[1]])]
        panes = self.values["display"]["panes"]
        return [(role, images[arms[0]] if role == "rated" else references[role]) for role in panes]

    def body(self, digest: str) -> bytes:
        """Returns the pixels with that digest: little-endian 16-bit numbers in row-major order."""
        return (self.folder / PIXELS / f"{digest}.u16").read_bytes()

    def pixels(self, case: str, arm: str) -> np.ndarray:
        """Returns the 16-bit numbers of one image, shape (height, width)."""
        size = self.presentation(case)
        return np.frombuffer(self.body(self._cases[case]["images"][arm]), "<u2").reshape(size.height, size.width)

    def changed_pixels(self) -> list[str]:
        """Returns the digests whose pixel files are missing or have another content."""
        expected = {
            name for case in self._cases.values() for part in ("images", "references") for name in case[part].values()
        }
        return sorted(name for name in expected if not self._is_intact(name))

    def _is_intact(self, name: str) -> bool:
        try:
            return hashlib.sha256(self.body(name)).hexdigest() == name
        except OSError:
            return False


def digest(values: dict) -> str:
    """Returns the SHA-256 of the content of study.json without its `hash`."""
    rest = {key: value for key, value in values.items() if key != "hash"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


__getattr__ = renamed(__name__, Shown="Presentation")
